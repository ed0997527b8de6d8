"""Rows of a batch by number, with a gradient that is a plain tensor."""

import tensorflow as tf


@tf.custom_gradient
def pick_rows(values, index):
    """Gathers rows.

    The gradient of `tf.gather` is an `IndexedSlices`, which the collectives between
    replicas do not take.

    Args:
        values: `(rows, dim)`, float.
        index: `(picked,)`, integer.

    Returns:
        `(picked, dim)`.
    """
    rows = tf.shape(values)[0]

    def gradient(upstream):
        return tf.math.unsorted_segment_sum(upstream, index, rows), None

    return tf.gather(values, index), gradient
