"""Brings images to the size of the network, in one of three ways.

All are bilinear with antialiasing and half-pixel centres: a pixel of the result is the
mean of the image under a triangle whose centre is the pixel's own and whose half width
is a pixel of the coarser of the two grids, the triangle cut off at the image's edges:
what Pillow's `resize(size, BILINEAR)` does, up to Pillow's rounding. With `h`, `w` of
the image, and `H`, `W` wanted:

`squash`
    Each side is scaled by itself, to H and to W. Everything is seen, the aspect ratio
    is not kept.
`crop`
    The image is scaled as far as it takes to cover H x W: one side becomes H (or W),
    the other `w H / h` (or `h W / w`), rounded down. Of that the middle is cut out.
    What lies at the rim of the longer side is not seen. For a square this is what
    torchvision's `Resize(H)` and `CenterCrop(H)` do.
`pad`
    The image is scaled as far as it fits into H x W: one side becomes H (or W), the
    other `w H / h` (or `h W / w`), rounded down, to no less than 1. It is put into the
    middle, and the rest is white, as what is transparent is: a cut-out on a transparent
    margin, the same without its margin and a product on a white ground are alike.

The middle is half of what is over away from the top and the left; halves of a pixel are
rounded to the even number. An image that already has the size keeps its pixels exactly,
and so does one that only has to be cut or padded.
"""

import tensorflow as tf

from tfembed.ops.arguments import check_choice
from tfembed.ops.image_formats import RESIZES

__all__ = ["check_resize", "resize_images"]

_FILL = 255.0
_MOST_BETWEEN = 1 << 24  # pixels of a channel that are no more than usual


def check_resize(resize):
    """Raises a ValueError unless `resize` is `"squash"`, `"crop"` or `"pad"`."""
    check_choice(RESIZES, resize=resize)


def resize_images(images, size, resize="squash"):
    """Resizes images as every part of tfembed does.

    Args:
        images: Tensor `[h, w, c]` or `[b, h, w, c]`, any real dtype, in 0..255.
        size: `(height, width)`, Python integers.
        resize: `"squash"`, `"crop"` or `"pad"`, as told above.

    Returns:
        float32 tensor `[height, width, c]` or `[b, height, width, c]`; exactly the
        pixels given where they have that size already.

    Raises:
        ValueError: If `resize` is none of the three.
    """
    check_resize(resize)
    images = tf.convert_to_tensor(images)
    if tuple(images.shape[-3:-1]) == tuple(size):
        return tf.cast(images, tf.float32)
    resized = {"squash": _squash, "crop": _crop, "pad": _pad}[resize](images, size)
    return tf.ensure_shape(resized, (*images.shape[:-3], *size, images.shape[-1]))


def _squash(images, size):
    """Scales each side by itself.

    TensorFlow scales the height first, which of an image of 1 x 60 million pixels, a
    PNG of 60 kB, makes 160 GB on the way to 224 x 224. Such ones are turned over
    before and after.
    """
    have = _sides(images)
    between = size[0] * have[1]
    turned = (between > _MOST_BETWEEN) & (between > 4 * tf.reduce_prod(have))
    rank = images.shape.rank
    swap = [*range(rank - 3), rank - 2, rank - 3, rank - 1]
    return tf.cond(
        turned,
        lambda: tf.transpose(_scaled(tf.transpose(images, swap), size[::-1]), swap),
        lambda: _scaled(images, size),
    )


def _scaled(images, size):
    images = tf.cast(images, tf.float32)
    return tf.image.resize(images, size, method="bilinear", antialias=True)


def _crop(images, size):
    """Scales only the part that the cut keeps, with the pixels that it is made of.

    (Of an image of 1 x 4,000 the whole, scaled to 224 rows, would have 200 million
    pixels.)
    """
    have, want = _sides(images), tf.constant(size, tf.int64)
    whole = _proportional(have, want, covers=True)
    corner = _middle(whole - want)
    scale = tf.cast(whole, tf.float64) / tf.cast(have, tf.float64)
    touch = tf.maximum(1 / scale, 1.0) + 1
    first = tf.math.floor(tf.cast(corner, tf.float64) / scale - touch)
    last = tf.math.ceil(tf.cast(corner + want, tf.float64) / scale + touch)
    first = tf.maximum(tf.cast(first, tf.int64), 0)
    last = tf.minimum(tf.cast(last, tf.int64), have)
    images = images[..., first[0] : last[0], first[1] : last[1], :]
    shift = tf.cast(first, tf.float64) * scale - tf.cast(corner, tf.float64)
    one = images.shape.rank == 3
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(images[None] if one else images, tf.float32),
        size=tf.constant(size, tf.int32),
        scale=tf.cast(scale, tf.float32),
        translation=tf.cast(shift, tf.float32),
        kernel_type="triangle",
        antialias=True,
    )
    return scaled[0] if one else scaled


def _pad(images, size):
    have, want = _sides(images), tf.constant(size, tf.int64)
    inner = _proportional(have, want, covers=False)
    before = _middle(want - inner)
    around = tf.stack([before, want - inner - before], axis=1)
    nothing = tf.zeros((1, 2), tf.int64)
    around = tf.concat([nothing] * (images.shape.rank - 3) + [around, nothing], 0)
    scaled = _scaled(images, tf.cast(inner, tf.int32))
    return tf.pad(scaled, around, constant_values=_FILL)


def _sides(images):
    return tf.shape(images, tf.int64)[-3:-1]


def _proportional(have, want, covers):
    """The size, int64 `[2]`, that covers `want`, or fits into it."""
    by_height = have[1] * want[0] // have[0]
    by_width = have[0] * want[1] // have[1]
    low = have[0] * want[1] < have[1] * want[0]  # lower than what is wanted is
    return tf.where(
        low if covers else tf.logical_not(low),
        tf.stack([want[0], tf.maximum(by_height, 1)]),
        tf.stack([tf.maximum(by_width, 1), want[1]]),
    )


def _middle(over):
    """Half of it; halves are rounded to the even number."""
    half = over // 2
    return half + over % 2 * (half % 2)
