"""Which side of a picture is up: EXIF's orientation, read and applied in stock ops.

A camera writes the pixels as its sensor lies and notes how it was held. Read is the
tag 0x0112 of the first directory (IFD0), in the first `Exif` segment (APP1) of a JPEG
or the first `eXIf` chunk of a PNG, in both byte orders. Nothing else is asked: not XMP,
not raw profiles. What is absent or damaged is upright.

The walk jumps from segment to segment, at most `MAX_SEGMENTS` of them; that the name of
the segment is in the file at all is looked up first, in one pass, so that a file
without it costs no walk.
"""

import tensorflow as tf

from tfembed.ops.apart import apart
from tfembed.ops.image_formats import MAX_ENTRIES, MAX_SEGMENTS

__all__ = ["jpeg_exif", "make_upright", "orientation_in", "png_exif", "turned"]

_ENCODED = tf.TensorSpec([], tf.string)
# In a value's row: whether to transpose first, then which axes to reverse.
_MOVES = (
    (False, ()),
    (False, (1,)),
    (False, (0, 1)),
    (False, (0,)),
    (True, ()),
    (True, (1,)),
    (True, (0, 1)),
    (True, (0,)),
)
# Where the 10 bytes of an entry's tag, type, count and value stand, from high to low.
_BIG_ENDIAN = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
_LITTLE_ENDIAN = [1, 0, 3, 2, 7, 6, 5, 4, 9, 8]


@apart(tf.TensorSpec([None, None, 3], tf.uint8), _ENCODED)
def turned(pixels, exif):
    """Turns a picture as its EXIF says.

    Args:
        pixels: uint8 tensor `[height, width, 3]`.
        exif: Scalar string tensor, a TIFF structure.

    Returns:
        uint8 tensor `[height, width, 3]`.
    """
    return make_upright(pixels, orientation_in(exif))


def make_upright(pixels, orientation):
    """Turns a picture as its orientation says.

    Args:
        pixels: Tensor `[height, width, channels]`.
        orientation: int32 scalar, 1 to 8, as EXIF numbers them.

    Returns:
        Tensor of the same pixels; height and width are swapped for 5 to 8.
    """
    shape = [None, None, pixels.shape[2]]

    def move(transpose, axes):
        moved = tf.transpose(pixels, [1, 0, 2]) if transpose else pixels
        moved = tf.reverse(moved, axes) if axes else tf.identity(moved)
        return tf.ensure_shape(moved, shape)

    branches = [lambda way=way: move(*way) for way in _MOVES]
    return tf.switch_case(orientation - 1, branches)


def jpeg_exif(encoded):
    """Returns the TIFF structure of a JPEG's first Exif segment: scalar string."""
    return tf.cond(
        tf.strings.regex_full_match(encoded, r"\C*Exif\x00\x00\C*"),
        lambda: _jpeg_exif(encoded),
        lambda: tf.constant(b""),
    )


def png_exif(encoded):
    """Returns the TIFF structure of a PNG's first eXIf chunk: scalar string."""
    return tf.cond(
        tf.strings.regex_full_match(encoded, r"\C*eXIf\C*"),
        lambda: _png_exif(encoded),
        lambda: tf.constant(b""),
    )


def _bytes(encoded, at, count):
    """`count` bytes as int32; zeros where the file has ended."""
    piece = tf.strings.substr(encoded, at, count)
    values = tf.io.decode_raw(piece, tf.uint8, fixed_length=count)
    return tf.cast(tf.ensure_shape(values, [count]), tf.int32)


@apart(_ENCODED)
def _jpeg_exif(encoded):
    """The directory in the first Exif segment of a JPEG; empty if there is none."""
    length = tf.strings.length(encoded)

    def step(at, start, size, steps):
        values = _bytes(encoded, at, 10)
        marker, long = values[1], 256 * values[2] + values[3]
        fill = marker == 0xFF
        bare = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD7))
        over = (values[0] != 0xFF) | (marker == 0)
        over |= (marker >= 0xD8) & (marker <= 0xDA)  # the picture begins, or ends
        over |= (long < 2) & ~fill & ~bare
        found = (marker == 0xE1) & (long >= 8) & ~over
        found &= tf.reduce_all(values[4:] == list(b"Exif\0\0"))
        jump = tf.where(fill, 1, tf.where(bare, 2, 2 + long))
        ahead = tf.where(over | found, length, tf.minimum(at + jump, length))
        start, size = tf.where(found, at + 10, start), tf.where(found, long - 8, size)
        return ahead, start, size, steps + 1

    _, start, size, _ = tf.while_loop(
        lambda at, start, size, steps: (at < length) & (steps < MAX_SEGMENTS),
        step,
        [2, 0, 0, 0],
    )
    return tf.strings.substr(encoded, tf.minimum(start, length), size)


@apart(_ENCODED)
def _png_exif(encoded):
    """The first eXIf chunk of a PNG; empty if there is none."""
    length = tf.cast(tf.strings.length(encoded), tf.int64)

    def step(at, start, size, steps):
        values = _bytes(encoded, at, 8)
        bytes_of_size = tf.cast(values[:4], tf.int64)
        long = tf.reduce_sum(bytes_of_size * [1 << 24, 1 << 16, 1 << 8, 1])
        found = tf.reduce_all(values[4:] == list(b"eXIf"))
        over = found | tf.reduce_all(values[4:] == list(b"IEND"))
        ahead = tf.where(over, length, tf.minimum(at + 12 + long, length))
        start, size = tf.where(found, at + 8, start), tf.where(found, long, size)
        return ahead, start, size, steps + 1

    zero = tf.constant(0, tf.int64)
    _, start, size, _ = tf.while_loop(
        lambda at, start, size, steps: (at < length) & (steps < MAX_SEGMENTS),
        step,
        [zero + 8, zero, zero, 0],
    )
    return tf.strings.substr(encoded, tf.minimum(start, length), size)


def orientation_in(tiff):
    """Reads the orientation in IFD0 of a TIFF structure.

    Args:
        tiff: Scalar string tensor.

    Returns:
        int32 scalar, 1 to 8; 1 where there is none, or it is damaged.
    """
    length = tf.cast(tf.strings.length(tiff), tf.int64)
    head = _bytes(tiff, 0, 8)
    big = tf.reduce_all(head[:4] == list(b"MM\0*"))
    known = big | tf.reduce_all(head[:4] == list(b"II*\0"))
    place = tf.cast(tf.where(big, head[4:], head[:3:-1]), tf.int64)
    place = tf.reduce_sum(place * [1 << 24, 1 << 16, 1 << 8, 1])
    place = tf.where(known, tf.minimum(place, length), length)
    size = _bytes(tiff, place, 2)
    size = tf.where(big, 256 * size[0] + size[1], 256 * size[1] + size[0])
    size = tf.minimum(size, MAX_ENTRIES)
    whole = tf.cast(tf.maximum(length - place - 2, 0) // 12, tf.int32)
    size = tf.minimum(size, whole)
    entries = tf.strings.substr(
        tiff, tf.minimum(place + 2, length), 12 * tf.cast(size, tf.int64)
    )
    entries = tf.cast(tf.io.decode_raw(entries, tf.uint8), tf.int32)
    entries = tf.reshape(entries, [size, 12])
    order = tf.where(big, _BIG_ENDIAN, _LITTLE_ENDIAN)
    entries = tf.gather(entries, order, axis=1)
    tags = 256 * entries[:, 0] + entries[:, 1]
    entries = tf.boolean_mask(entries, tags == 0x0112)[:1]
    # A short, and one of it.
    right = tf.reduce_all(entries[:, 2:8] == [0, 3, 0, 0, 0, 1], axis=1)
    values = tf.where(right, 256 * entries[:, 8] + entries[:, 9], 0)
    value = tf.reduce_sum(values)
    return tf.where((value >= 1) & (value <= 8), value, 1)
