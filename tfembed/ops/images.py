"""From encoded image bytes to the pixels that a network is fed, in stock ops.

Training on a folder and a served model must see the same pixels, so both call
`decode_image`. It is a pure function of its bytes: no Keras, no state, no Python at
run time, fit for `tf.data`, `tf.map_fn` and a SavedModel.

Three steps, each with one rule:

1.  *decode* to RGB, 8 bits a channel (`decode_rgb`): JPEG, PNG, GIF (its first frame)
    and BMP (8 bits with a palette, 24 and 32, uncompressed), told by their whole magic;
    nothing else reaches a decoder, and nothing that declares too many pixels. What is
    transparent is blended onto white, EXIF's orientation is applied
    (`tfembed.ops.orientation`), and 16-bit PNGs keep their high byte.
2.  *channels* (`to_channels`): gray is the luma `0.2989 R + 0.587 G + 0.1141 B`,
    written so that R = G = B gives exactly that value.
3.  *resize* (`tfembed.ops.resize.resize_images`): bilinear with antialiasing and
    half-pixel centres, squashed, cropped or padded to the size. An image that already
    has the size keeps its pixels exactly.

When any of this changes, so does `tfembed.ops.image_formats.DECODER_VERSION`.
"""

import tensorflow as tf

from tfembed.ops.apart import apart
from tfembed.ops.arguments import as_shape, check_choice
from tfembed.ops.declared_size import bitmap, image_kind, jpeg_pixels, png_pixels
from tfembed.ops.gif_frame import gif_frame
from tfembed.ops.image_formats import MAX_PIXELS
from tfembed.ops.orientation import jpeg_exif, png_exif, turned
from tfembed.ops.resize import check_resize, resize_images

__all__ = ["decode_image", "decode_rgb", "is_decodable", "to_channels"]

_ENCODED = tf.TensorSpec([], tf.string)


def decode_rgb(encoded, max_pixels=MAX_PIXELS):
    """Decodes one image to RGB, upright and opaque.

    Args:
        encoded: Scalar string tensor, the bytes of a JPEG, PNG, GIF or BMP file.
        max_pixels: Height times width above which an image is not decoded.

    Returns:
        uint8 tensor `[height, width, 3]`; of an animation, the first frame.

    Raises:
        tf.errors.InvalidArgumentError: When run on bytes that are no such image, on
            one that is cut short, or on one that declares too many pixels.
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    # What is left out becomes nothing, which the decoders refuse.
    nothing = tf.constant(b"")

    most = tf.cast(max_pixels, tf.int64)

    def within(pixels):
        return tf.where(pixels <= most, encoded, nothing)

    pixels, exif = tf.switch_case(
        image_kind(encoded),
        [
            lambda: _jpeg(within(jpeg_pixels(encoded))),
            lambda: _png(within(png_pixels(encoded))),
            lambda: (_gif(encoded, most), nothing),
            lambda: (_bmp(encoded, most), nothing),
            lambda: (_rgb(tf.io.decode_png(nothing, channels=3)), nothing),
        ],
    )
    return tf.cond(
        exif == nothing,
        lambda: pixels,
        lambda: turned(pixels, exif),
    )


def is_decodable(encoded):
    """Whether a file is of a kind that `decode_rgb` reads; it may be damaged still.

    Args:
        encoded: Scalar string tensor.

    Returns:
        bool scalar.
    """
    kind = image_kind(encoded)
    of_bitmap = lambda: bitmap(encoded).bits > 0  # noqa: E731
    others = [lambda: tf.constant(True)] * 3
    return tf.switch_case(kind, [*others, of_bitmap, lambda: tf.constant(False)])


def _rgb(pixels):
    return tf.ensure_shape(pixels, (None, None, 3))


def _jpeg(encoded):
    # The default transform is a fast one, off by up to 8 levels and free to change
    # between versions; the accurate one is what Pillow and browsers use.
    pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return _rgb(pixels), jpeg_exif(encoded)


def _png(encoded):
    # Of the kinds of colour (byte 25) two have an alpha channel; in the others, a tRNS
    # chunk may tell what is transparent. Most files have neither, nor an eXIf chunk.
    kind = tf.strings.substr(encoded, tf.minimum(25, tf.strings.length(encoded)), 1)
    special = (kind == b"\4") | (kind == b"\6")
    special |= tf.strings.regex_full_match(encoded, r"\C*(?:tRNS|eXIf)\C*")
    return tf.cond(
        special,
        lambda: _special_png(encoded),
        lambda: (_rgb(tf.io.decode_png(encoded, channels=3)), tf.constant(b"")),
    )


@apart(_ENCODED)
def _special_png(encoded):
    return _on_white(tf.io.decode_png(encoded, channels=4)), png_exif(encoded)


@apart(_ENCODED, tf.TensorSpec([], tf.int64))
def _gif(encoded, max_pixels):
    frame = gif_frame(encoded)
    small = tf.reduce_prod(tf.cast(frame.canvas, tf.int64)) <= max_pixels
    pixels = tf.io.decode_gif(tf.where(small, frame.encoded, b""))[0]
    before = frame.corner
    behind = frame.canvas - before - tf.shape(pixels)[:2]
    around = tf.concat([tf.stack([before, behind], 1), [[0, 0]]], 0)
    filled = tf.reduce_all(around == 0)
    # What no frame covers is transparent.
    return tf.cond(
        filled,
        lambda: _rgb(pixels),
        lambda: _rgb(tf.pad(pixels, around, constant_values=255)),
    )


@apart(_ENCODED, tf.TensorSpec([], tf.int64))
def _bmp(encoded, max_pixels):
    header = bitmap(encoded)
    good = (header.bits > 0) & (header.pixels <= max_pixels)
    known = tf.where(good, encoded, b"")
    pixels = tf.io.decode_bmp(known)  # refuses a number of channels not the file's own
    opaque = lambda: _rgb(pixels[..., :3])  # noqa: E731
    return tf.case(
        [
            (
                header.bits == 8,
                lambda: _rgb(
                    tf.gather(header.palette, tf.cast(pixels[..., 0], tf.int32))
                ),
            ),
            (header.alpha, lambda: _on_white(pixels)),
        ],
        default=opaque,
    )


def _on_white(pixels):
    """Blends RGB with alpha onto white, each value rounded once."""
    pixels = tf.ensure_shape(pixels, (None, None, 4))
    alpha = tf.cast(pixels[..., 3:], tf.uint16)
    missing = tf.cast(255 - pixels[..., :3], tf.uint16) * alpha
    return 255 - tf.cast((missing + 127) // 255, tf.uint8)


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
    check_choice((1, 3), channels=channels)
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


def decode_image(encoded, image_shape, max_pixels=MAX_PIXELS, resize="squash"):
    """Decodes one image to the pixels that a network is fed.

    Args:
        encoded: Scalar string tensor, the bytes of a JPEG, PNG, GIF or BMP file.
        image_shape: `(height, width, channels)`, Python integers, channels 1 or 3.
        max_pixels: Height times width above which an image is not decoded.
        resize: `"squash"`, `"crop"` or `"pad"`, see `tfembed.ops.resize`.

    Returns:
        float32 tensor `[height, width, channels]` in 0..255, not rounded after a
        resize.

    Raises:
        ValueError: If `image_shape` is not three positive integers, channels 1 or 3,
            or `resize` is none of the three.
        tf.errors.InvalidArgumentError: When run on bytes that do not decode, or that
            declare too many pixels.
    """
    height, width, channels = as_shape("image_shape", image_shape, channels=(1, 3))
    check_resize(resize)
    pixels = to_channels(decode_rgb(encoded, max_pixels), channels)
    pixels = resize_images(pixels, (height, width), resize)
    return tf.ensure_shape(pixels, (height, width, channels))
