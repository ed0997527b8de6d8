"""How large an encoded image says it is, from its header alone, in stock ops.

A file of a few kilobytes may declare a picture of billions of pixels, and a decoder
makes room for it before it looks at the rest. This looks first.
"""

import tensorflow as tf

_MAX_STEPS = 4096

__all__ = ["declared_pixels", "first_frame"]


def declared_pixels(encoded):
    """Returns the number of pixels that the header of an image declares.

    Args:
        encoded: Scalar string tensor, the bytes of a JPEG, PNG, GIF or BMP file. Of a
            GIF the first frame counts, or its canvas where that is larger.

    Returns:
        int64 scalar, height times width; 0 for bytes of another kind, or too few.

    Raises:
        tf.errors.InvalidArgumentError: When run on a JPEG file without a whole header.
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    kinds = [b"\xff\xd8\xff", b"\x89PN", b"GIF", b"BM"]
    starts = [tf.equal(tf.strings.substr(encoded, 0, len(k)), k) for k in kinds]
    enough = tf.strings.length(encoded) >= 26
    kind = tf.argmax(tf.stack([*starts, True]), output_type=tf.int32)
    return tf.switch_case(
        tf.where(enough, kind, len(kinds)),
        [
            lambda: _product(tf.image.extract_jpeg_shape(encoded, tf.int64)[:2]),
            lambda: _product(_numbers(encoded, 16, tf.int32, little_endian=False)),
            lambda: tf.maximum(
                _product(_numbers(encoded, 6, tf.uint16)),
                _frame_pixels(encoded),
            ),
            lambda: _product(_numbers(encoded, 18, tf.int32)),
            lambda: tf.constant(0, tf.int64),
        ],
    )


def first_frame(encoded):
    """Cuts a GIF file behind its first frame; other files stay as they are.

    The decoder would unpack all frames to give the first, also those of a small file
    that unpacks to gigabytes.

    Args:
        encoded: Scalar string tensor.

    Returns:
        Scalar string tensor; empty for a GIF without a whole first frame, or with its
        data in more than 4096 runs of blocks of equal length (encoders write two).
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    is_gif = tf.equal(tf.strings.substr(encoded, 0, 3), b"GIF")
    return tf.cond(is_gif, lambda: _cut_gif(encoded), lambda: encoded)


def _frame_pixels(encoded):
    start = _first_descriptor(_bytes_of(encoded))
    return _product(_numbers(encoded, start + 5, tf.uint16))


def _product(sides):
    # As unsigned numbers they may be huge; as signed ones, a height may be negative.
    return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64)))


def _numbers(encoded, start, dtype, little_endian=True):
    """Reads two numbers that follow each other; zeros where the file has ended."""
    size = 2 * dtype.size
    data = tf.strings.substr(
        encoded, tf.minimum(start, tf.strings.length(encoded)), size
    )
    data = tf.strings.join([data, tf.constant(b"\0" * size)])
    numbers = tf.io.decode_raw(tf.strings.substr(data, 0, size), dtype, little_endian)
    return tf.ensure_shape(numbers, [2])


def _bytes_of(encoded):
    """All bytes of a file as int32, and zeros behind its end."""
    return tf.cast(
        tf.io.decode_raw(tf.strings.join([encoded, b"\0" * 1024]), tf.uint8), tf.int32
    )


def _colors(flags):
    """Bytes of a colour table, of which the flags tell."""
    size = 3 * tf.bitwise.left_shift(2, tf.bitwise.bitwise_and(flags, 7))
    return tf.where(flags >= 128, size, 0)


def _behind_blocks(data, start):
    """The position behind a chain of sub-blocks, each led by its length.

    Encoders write blocks of one length and a shorter last one: each step takes all
    that follow each other with the same length.
    """
    size = tf.shape(data)[0]

    def step(place, steps):
        length = data[place]
        places = tf.range(place, size, length + 1)
        other = tf.gather(data, places) != length
        first = tf.where(
            tf.reduce_any(other),
            tf.argmax(other, output_type=tf.int32),
            tf.size(places),
        )
        return tf.minimum(place + first * (length + 1), size - 1), steps + 1

    place, _ = tf.while_loop(
        lambda place, steps: (data[place] > 0) & (steps < _MAX_STEPS),
        step,
        [tf.minimum(start, size - 1), 0],
    )
    return place + 1


def _first_descriptor(data):
    """The position of a GIF's first image descriptor.

    In front of it may stand extensions, each `!`, a label and a chain of sub-blocks.
    """
    start = tf.minimum(13 + _colors(data[10]), tf.shape(data)[0] - 1)
    last = tf.shape(data)[0] - 1
    place, _ = tf.while_loop(
        lambda place, steps: (data[place] == 0x21) & (steps < _MAX_STEPS),
        lambda place, steps: (
            tf.minimum(_behind_blocks(data, place + 2), last),
            steps + 1,
        ),
        [start, 0],
    )
    return place


def _cut_gif(encoded):
    data = _bytes_of(encoded)
    last = tf.shape(data)[0] - 1
    start = _first_descriptor(data)  # a comma, then 9 bytes, the last one flags
    colors = _colors(data[tf.minimum(start + 9, last)])
    end = _behind_blocks(data, start + 10 + colors + 1)  # 1: the code size
    # Bytes that are no chain, or of too many steps, are cut short: they do not decode.
    whole = (data[end - 1] == 0) & (end <= tf.strings.length(encoded))
    kept = tf.strings.substr(encoded, 0, tf.minimum(end, tf.strings.length(encoded)))
    return tf.where(whole, tf.strings.join([kept, b";"]), b"")
