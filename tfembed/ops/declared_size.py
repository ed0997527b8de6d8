"""What the header of an encoded image says, before anything is decoded, in stock ops.

A file of a few kilobytes may declare a picture of billions of pixels, and a decoder
makes room for it before it looks at the rest. This looks first. (Of a GIF,
`tfembed.ops.gif_frame` does.)
"""

import typing

import tensorflow as tf

from tfembed.ops.gif_frame import gif_frame
from tfembed.ops.image_formats import BMP_BITS, BMP_HEADERS, BMP_MASKS, IN_GRAPH

_JPEG, _PNG, _GIF, _BMP, _NONE = range(len(IN_GRAPH) + 1)

__all__ = [
    "Bitmap",
    "bitmap",
    "declared_pixels",
    "image_kind",
    "jpeg_pixels",
    "png_pixels",
]


def image_kind(encoded):
    """Tells an image's format by its magic.

    Args:
        encoded: Scalar string tensor.

    Returns:
        int32 scalar: the format's place in `IN_GRAPH`, or their number for any other.
    """
    kinds, tests = [], []
    for kind, one in enumerate(IN_GRAPH):
        for ((start, magic),) in one.magics:
            begins = tf.strings.substr(encoded, start, len(magic)) == magic
            kinds.append(kind)
            tests.append(begins)
    first = tf.argmax(tf.stack([*tests, True]), output_type=tf.int32)
    return tf.gather([*kinds, len(IN_GRAPH)], first)


def declared_pixels(encoded):
    """Returns the number of pixels that the header of an image declares.

    Args:
        encoded: Scalar string tensor, the bytes of a JPEG, PNG, GIF or BMP file. Of a
            GIF its canvas counts, which the first frame may enlarge.

    Returns:
        int64 scalar, height times width; 0 for bytes of another kind, or too few.

    Raises:
        tf.errors.InvalidArgumentError: When run on a JPEG file without a whole header.
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    return tf.switch_case(
        tf.where(tf.strings.length(encoded) >= 26, image_kind(encoded), _NONE),
        [
            lambda: jpeg_pixels(encoded),
            lambda: png_pixels(encoded),
            lambda: _product(gif_frame(encoded).canvas),
            lambda: bitmap(encoded).pixels,
            lambda: tf.constant(0, tf.int64),
        ],
    )


def jpeg_pixels(encoded):
    """Returns the pixels that a JPEG file declares, as its decoder reads it: int64."""
    return _product(tf.image.extract_jpeg_shape(encoded, tf.int64)[:2])


def png_pixels(encoded):
    """Returns the pixels that a PNG file declares, int64 scalar."""
    return _product(_values(encoded, 16, 2, tf.int32, little_endian=False))


class Bitmap(typing.NamedTuple):
    """What the header of a BMP file says.

    Attributes:
        pixels: int64 scalar, height times width.
        bits: int32 scalar, bits a pixel: 8, 24 or 32; 0 if the graph does not read it.
        alpha: bool scalar, whether a fourth channel tells what is transparent.
        palette: uint8 `[256, 3]`, the colours of 8 bits, black where there are none.
    """

    pixels: tf.Tensor
    bits: tf.Tensor
    alpha: tf.Tensor
    palette: tf.Tensor


def bitmap(encoded):
    """Reads the header of a BMP file.

    The graph reads 24 and 32 bits a pixel and 8 with a palette, uncompressed; of 32
    with masks (as GIMP and Windows write them) the usual order alone.

    Args:
        encoded: Scalar string tensor, bytes that begin as a BMP does.

    Returns:
        A `Bitmap`.
    """
    size, width, height = tf.unstack(_values(encoded, 14, 3, tf.int32))
    bits = _values(encoded, 28, 1, tf.uint16)[0]
    compression = _values(encoded, 30, 1, tf.int32)[0]
    colors = _values(encoded, 46, 1, tf.int32)[0]
    masks = _values(encoded, 54, 4, tf.int32)
    usual = tf.reduce_all(masks[:3] == BMP_MASKS)
    masked = (compression == 3) & (bits == 32) & usual & (size != 64)
    alpha = masked & (size >= 56) & (masks[3] == -(1 << 24))
    plain = (compression == 0) & tf.reduce_any(bits == BMP_BITS)
    masked &= alpha | (size < 56) | (masks[3] == 0)
    known = tf.reduce_any(size == BMP_HEADERS)
    colors = tf.where((colors > 0) & (colors < 256), colors, 256)
    table = _bytes(encoded, 14 + tf.where(known, size, 0), 4 * 256)
    table = tf.reshape(table, [256, 4])[:, 2::-1]
    inside = tf.range(256)[:, None] < colors
    return Bitmap(
        _product([width, height]),
        tf.where(known & (plain | masked), bits, 0),
        alpha,
        tf.where(inside, table, 0),
    )


def _product(sides):
    # As unsigned numbers they may be huge; as signed ones, a height may be negative.
    return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64)))


def _bytes(encoded, start, count):
    """`count` bytes, uint8; zeros where the file has ended."""
    start = tf.minimum(start, tf.strings.length(encoded))
    piece = tf.strings.substr(encoded, start, count)
    values = tf.io.decode_raw(piece, tf.uint8, fixed_length=count)
    return tf.ensure_shape(values, [count])


def _values(encoded, start, count, dtype, little_endian=True):
    """Reads numbers that follow each other, as int32; zeros where the file ends."""
    size = count * dtype.size
    start = tf.minimum(start, tf.strings.length(encoded))
    piece = tf.strings.substr(encoded, start, size)
    values = tf.io.decode_raw(piece, dtype, little_endian, fixed_length=size)
    return tf.cast(tf.ensure_shape(values, [count]), tf.int32)
