"""The first frame of a GIF file, as a file of its own, in stock ops.

TensorFlow's decoder unpacks all frames to give the first, also those of a small file
that unpacks to gigabytes; it forgets the place of a frame that is smaller than the
canvas; and it paints transparent pixels black. So the file is written anew before it
is decoded: one frame, alone, its transparent colour white in the table of colours.

The walk takes blocks of equal length in leaps that double, so that it touches few more
bytes than there are blocks, and ends after `MAX_SEGMENTS` steps in all.
"""

import typing

import tensorflow as tf

from tfembed.ops.image_formats import MAX_SEGMENTS

__all__ = ["GifFrame", "gif_frame"]

_LEAP = 16  # blocks that a step looks at; twice as many after each that is all alike
# Where the walk is: before a block, in the data of an extension, or of the frame; or
# at its end, or lost.
_BLOCK, _EXTENSION, _FRAME, _END, _LOST = range(5)


class GifFrame(typing.NamedTuple):
    """The first frame of a GIF.

    Attributes:
        encoded: Scalar string, a GIF file of that frame alone; empty if there is no
            whole frame, or if its data takes more than `MAX_SEGMENTS` leaps (encoders
            write blocks of one length, and one shorter).
        corner: int32 `[2]`, its top and left on the canvas.
        canvas: int32 `[2]`, height and width, as large as the frame needs.
    """

    encoded: tf.Tensor
    corner: tf.Tensor
    canvas: tf.Tensor


def gif_frame(encoded):
    """Finds the first frame of a GIF file.

    Args:
        encoded: Scalar string tensor, bytes that begin as a GIF does.

    Returns:
        A `GifFrame`.
    """
    length = tf.strings.length(encoded)
    data = tf.io.decode_raw(tf.strings.join([encoded, b"\0" * 16]), tf.uint8)
    data = tf.ensure_shape(data, [None])
    tail = tf.shape(data)[0] - 16  # a place behind it is moved here: 16 zeros follow

    def at(place, count):
        place = tf.minimum(place, tail)
        return tf.cast(tf.ensure_shape(data[place : place + count], [count]), tf.int32)

    screen = at(6, 5)
    first = 13 + _table_size(screen[4])
    where, start, end, transparent = _walk(data, at, tail, first)
    descriptor = at(start, 10)
    corner = 256 * descriptor[4:1:-2] + descriptor[3:0:-2]  # top, left
    size = 256 * descriptor[8:5:-2] + descriptor[7:4:-2]  # height, width
    canvas = 256 * screen[3::-2] + screen[2::-2]
    canvas = tf.where(start < tail, tf.maximum(canvas, corner + size), canvas)
    own_table = _table_size(descriptor[9])
    cut = _cutter(encoded, length)
    parts = [
        cut(0, 6),
        cut(start + 5, 4),  # the frame is the canvas
        cut(10, 3),
        _whitened(
            cut, 13, _table_size(screen[4]), tf.where(own_table > 0, -1, transparent)
        ),
        b",\0\0\0\0",
        cut(start + 5, 5),
        _whitened(cut, start + 10, own_table, transparent),
        cut(start + 10 + own_table, end - start - 10 - own_table),
        b";",
    ]
    whole = (where == _END) & (end <= length)
    frame = tf.where(whole, tf.strings.join(parts), b"")
    return GifFrame(frame, corner, canvas)


def _table_size(flags):
    """Bytes of a table of colours, of which the flags tell."""
    size = 3 * tf.bitwise.left_shift(2, tf.bitwise.bitwise_and(flags, 7))
    return tf.where(flags >= 128, size, 0)


def _cutter(encoded, length):
    def cut(start, size):
        start = tf.minimum(start, length)
        return tf.strings.substr(encoded, start, tf.maximum(size, 0))

    return cut


def _whitened(cut, start, size, color):
    """A table of colours, one of which (if it is there) becomes white."""
    before = tf.where((color >= 0) & (3 * color < size), 3 * color, size)
    behind = before + 3
    white = tf.where(before < size, b"\xff\xff\xff", b"")
    return tf.strings.join(
        [cut(start, before), white, cut(start + behind, size - behind)]
    )


def _walk(data, at, tail, first):
    """Walks to the end of the first frame.

    Returns:
        Where it ended, the place of the frame's descriptor (`tail` without one), the
        place behind the frame's data, and the transparent colour or -1.
    """

    def block(place, start, transparent):
        values = at(place, 10)
        extension, frame = values[0] == 0x21, values[0] == 0x2C
        # A graphic control extension, of four bytes or more, with a transparent colour.
        control = extension & (values[1] == 0xF9) & (values[2] >= 4)
        control &= tf.bitwise.bitwise_and(values[3], 1) == 1
        jump = tf.where(frame, 11 + _table_size(values[9]), 2)
        where = tf.where(extension, _EXTENSION, tf.where(frame, _FRAME, _LOST))
        return (
            where,
            tf.minimum(place + jump, tail),
            tf.where(frame, place, start),
            tf.where(control, values[6], transparent),
            _LEAP,
        )

    def blocks(where, place, start, transparent, leap):
        length = tf.cast(data[place], tf.int32)
        stride = length + 1
        leap = tf.minimum(leap, (tail - place) // stride + 1)
        sizes = tf.ensure_shape(data[place : place + leap * stride : stride], [None])
        sizes = tf.cast(sizes, tf.int32)
        other = sizes != length
        run = tf.where(
            tf.reduce_any(other),
            tf.argmax(other, output_type=tf.int32),
            tf.size(sizes),
        )
        ahead = tf.minimum(place + run * stride, tail)
        over = (length == 0) | (data[ahead] == 0)
        ahead = tf.where(length == 0, place + 1, ahead + tf.cast(over, tf.int32))
        following = tf.where(where == _FRAME, _END, _BLOCK)
        leap = tf.where(run == leap, 2 * leap, _LEAP)
        return tf.where(over, following, where), ahead, start, transparent, leap

    def step(where, place, start, transparent, leap, steps):
        taken = tf.cond(
            where == _BLOCK,
            lambda: block(place, start, transparent),
            lambda: blocks(where, place, start, transparent, leap),
        )
        return *taken, steps + 1

    where, place, start, transparent, _, _ = tf.while_loop(
        lambda where, place, start, transparent, leap, steps: (
            (where < _END) & (place <= tail) & (steps < MAX_SEGMENTS)
        ),
        step,
        [_BLOCK, tf.minimum(first, tail), tail, -1, _LEAP, 0],
    )
    return where, start, place, transparent
