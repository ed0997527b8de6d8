"""From encoded image bytes to the pixels that a network is fed, in stock ops.

Training on a folder and a served model must see the same pixels, so both call
`decode_image`. It is a pure function of its bytes: no Keras, no state, no Python at
run time, fit for `tf.data`, `tf.map_fn` and a SavedModel.

Three steps, each with one rule:

1.  *decode* to RGB, 8 bits a channel (`decode_rgb`): JPEG, PNG, GIF (its first frame)
    and BMP. An alpha channel is dropped, not blended; 16-bit PNGs keep their high byte;
    a JPEG's orientation tag is not applied (TensorFlow does not read it). A palette is
    honoured in PNG and GIF, not in 8-bit BMP, which is read as gray.
2.  *channels* (`to_channels`): gray is the luma `0.2989 R + 0.587 G + 0.1141 B`,
    written so that R = G = B gives exactly that value.
3.  *resize* (`resize_images`): bilinear with antialiasing, half-pixel centres, the
    aspect ratio not kept: what Pillow's `resize(size, BILINEAR)` does, up to Pillow's
    rounding. An image that already has the size keeps its pixels exactly.
"""

import tensorflow as tf

__all__ = ["decode_image", "decode_rgb", "resize_images", "to_channels"]


def decode_rgb(encoded):
    """Decodes one image to RGB.

    Args:
        encoded: Scalar string tensor, the bytes of a JPEG, PNG, GIF or BMP file.

    Returns:
        uint8 tensor `[height, width, 3]`; of an animation, the first frame.

    Raises:
        tf.errors.InvalidArgumentError: When run on bytes that are no such image, or
            on one that is cut short.
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), b"\xff\xd8\xff")
    is_bmp = tf.equal(tf.strings.substr(encoded, 0, 2), b"BM")
    return tf.switch_case(
        tf.cast(is_jpeg, tf.int32) + 2 * tf.cast(is_bmp, tf.int32),
        [lambda: _other(encoded), lambda: _jpeg(encoded), lambda: _bmp(encoded)],
    )


def _other(encoded):
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(pixels, (None, None, 3))


def _jpeg(encoded):
    # The default transform is a fast one, off by up to 8 levels and free to change
    # between versions; the accurate one is what Pillow and browsers use.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _bmp(encoded):
    # The decoder refuses a number of channels that is not the file's own.
    pixels = tf.io.decode_bmp(encoded)
    channels = tf.shape(pixels)[2]
    # 1: gray, repeated; 3 and 4: the first three.
    pixels = tf.gather(pixels, tf.minimum(tf.range(3), channels - 1), axis=2)
    return tf.ensure_shape(pixels, (None, None, 3))


def to_channels(images, channels):
    """Converts images to 1 or 3 channels.

    Args:
        images: Tensor `[..., 1]` or `[..., 3]`, any real dtype, gray or RGB.
        channels: 1 or 3.

    Returns:
        Tensor `[..., channels]`: as it came where the number of channels is right
        already, else repeated (1 to 3) or float32 luma (3 to 1).

    Raises:
        ValueError: If `channels` or the static last dimension of `images` is neither
            1 nor 3.
    """
    if channels not in (1, 3):
        raise ValueError(
            "`channels` must be 1 (gray) or 3 (RGB). "
            f"Received: channels={channels!r}. Choose one of the two."
        )
    images = tf.convert_to_tensor(images)
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1:
        return tf.repeat(images, 3, axis=-1)
    if have != 3:
        raise ValueError(
            "`images` must have 1 or 3 channels in its last dimension. "
            f"Received: images.shape={images.shape}. Convert them first."
        )
    red, green, blue = tf.split(tf.cast(images, tf.float32), 3, axis=-1)
    return red + 0.587 * (green - red) + 0.1141 * (blue - red)


def resize_images(images, size):
    """Resizes images as every part of tfembed does.

    Args:
        images: Tensor `[h, w, c]` or `[b, h, w, c]`, any real dtype.
        size: `(height, width)`, Python integers.

    Returns:
        float32 tensor `[height, width, c]` or `[b, height, width, c]`; exactly the
        pixels given where they have that size already.
    """
    return tf.image.resize(
        tf.cast(images, tf.float32), size, method="bilinear", antialias=True
    )


def decode_image(encoded, image_shape):
    """Decodes one image to the pixels that a network is fed.

    Args:
        encoded: Scalar string tensor, the bytes of a JPEG, PNG, GIF or BMP file.
        image_shape: `(height, width, channels)`, Python integers, channels 1 or 3.

    Returns:
        float32 tensor `[height, width, channels]` in 0..255, not rounded after a
        resize.

    Raises:
        ValueError: If `image_shape` is not three positive integers, channels 1 or 3.
        tf.errors.InvalidArgumentError: When run on bytes that do not decode.
    """
    height, width, channels = _checked_shape(image_shape)
    pixels = to_channels(decode_rgb(encoded), channels)
    pixels = resize_images(pixels, (height, width))
    return tf.ensure_shape(pixels, (height, width, channels))


def _checked_shape(image_shape):
    try:
        height, width, channels = (int(side) for side in image_shape)
    except (TypeError, ValueError):
        height = width = channels = 0
    if height < 1 or width < 1 or channels not in (1, 3):
        raise ValueError(
            "`image_shape` must be (height, width, channels) with positive sides and "
            f"1 or 3 channels. Received: image_shape={image_shape!r}. "
            "Give, for example, (28, 28, 1)."
        )
    return height, width, channels
