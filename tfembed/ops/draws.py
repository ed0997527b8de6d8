"""Random draws that are functions of the data, and of nothing else.

A row's bits are its seed: no state, and the same draws on one replica and on many, in
any order of the rows, eager, compiled and block by block. Other values, as after each
training step, are other draws.
"""

import tensorflow as tf

_BITS = 0xFFFFFFFF
_ODD = 0x45D9F3B  # below 2^31, so that a product stays below 2^63
_STEP = 0x9E3779B9  # the golden ratio of 2^32


def row_keys(values, ordered=True):
    """Hashes each row's bits.

    Args:
        values: `(rows, columns)`, float; the bits are those of float32.
        ordered: Whether the order of the columns matters.

    Returns:
        `(rows,)`, float64: integers from 0 to 2^32 - 1.
    """
    bits = tf.bitcast(tf.cast(values, tf.float32), tf.int32)
    bits = tf.bitwise.bitwise_and(tf.cast(bits, tf.int64), _BITS)
    if ordered:
        columns = tf.range(1, tf.shape(values, out_type=tf.int64)[1] + 1)
        places = tf.bitwise.bitwise_and(columns * _STEP, _BITS)
        bits = tf.bitwise.bitwise_xor(_mix(bits), places[None, :])
    total = tf.reduce_sum(_mix(bits), axis=1)
    return tf.cast(_mix(tf.bitwise.bitwise_and(total, _BITS)), tf.float64)


def uniform(keys, other_keys):
    """Draws a number of `(0, 1)` for each pair of keys, float64."""
    keys, other_keys = tf.cast(keys, tf.int64), tf.cast(other_keys, tf.int64)
    both = tf.bitwise.bitwise_and(_mix(keys) * 3 + other_keys, _BITS)
    return (tf.cast(_mix(both), tf.float64) + 0.5) / 2.0**32


def _mix(x):
    """Mixes the lower 32 bits of int64 numbers."""
    for _ in range(2):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, 16))
        x = tf.bitwise.bitwise_and(x * _ODD, _BITS)
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, 16))
