"""Embeddings divided by their length, whatever it is."""

import tensorflow as tf


def unit_embeddings(embeddings):
    """Divides embeddings by their length, without overflow.

    Args:
        embeddings: `(batch, dim)`, float32.

    Returns:
        Rows of length 1, zero where there is none; and bool `(batch,)`, whether there
        is one: not of those of length 0, and not of those that are not finite.
    """
    largest = tf.reduce_max(tf.abs(embeddings), axis=1, keepdims=True)
    valid = tf.math.is_finite(largest) & (largest > 0)
    rows = tf.where(valid, embeddings / tf.where(valid, largest, 1.0), 0.0)
    length = tf.norm(rows, axis=1, keepdims=True)
    return tf.math.divide_no_nan(rows, length), valid[:, 0]
