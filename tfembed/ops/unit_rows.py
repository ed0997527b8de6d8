"""Projection of vectors to the unit sphere, safe at the origin."""

import tensorflow as tf

EPSILON = 1e-12


def unit_rows(vectors, epsilon=EPSILON):
    """Divides each vector by its Euclidean length.

    Args:
        vectors: `(..., dim)`, float32 or float64.
        epsilon: Squared length up to which a vector counts as zero: it becomes zero,
            and so does its gradient.

    Returns:
        A tensor like `vectors`.
    """
    squared = tf.reduce_sum(vectors * vectors, axis=-1, keepdims=True)
    sound = squared > epsilon
    scale = tf.math.rsqrt(tf.where(sound, squared, tf.ones_like(squared)))
    return vectors * tf.where(sound, scale, tf.zeros_like(scale))
