"""Euclidean distances of all pairs, exact at zero and with finite gradients."""

import tensorflow as tf


def squared_distances(left, right):
    """Computes the squared Euclidean distance of every pair.

    A difference of large terms, `|l|^2 + |r|^2 - 2 l.r`: what is left of rounding at
    (almost) equal rows is cut to exactly zero.

    Args:
        left: `(rows, dim)`, float32 or float64.
        right: `(refs, dim)`, of the same dtype.

    Returns:
        `(rows, refs)`, at least 0. At 0 the gradient is 0, as it should be.
    """
    lengths = tf.reduce_sum(left * left, axis=1)[:, None]
    lengths += tf.reduce_sum(right * right, axis=1)[None, :]
    squared = lengths - 2 * tf.matmul(left, right, transpose_b=True)
    noise = 4 * _EPSILON[left.dtype]
    return tf.where(squared > noise * lengths, squared, tf.zeros_like(squared))


def from_similarities(similarities):
    """Computes squared distances of unit rows from their cosine similarities."""
    squared = 2 - 2 * similarities
    noise = 8 * _EPSILON[similarities.dtype]
    return tf.where(squared > noise, squared, tf.zeros_like(squared))


def safe_sqrt(squared):
    """Takes the square root, with gradient 0 at 0 instead of infinity."""
    positive = squared > 0
    root = tf.sqrt(tf.where(positive, squared, tf.ones_like(squared)))
    return tf.where(positive, root, tf.zeros_like(root))


# Difference of 1 and the next larger number.
_EPSILON = {tf.float32: 2.0**-23, tf.float64: 2.0**-52}
