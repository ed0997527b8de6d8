"""Histograms with a gradient: each value counts for the two nodes that it is between.

The usual formulation compares every value with every node. Here values are counted by
the node to their left, twice: how many there are, and how far right they stand.
"""

import tensorflow as tf


def soft_histograms(positions, masks, bins):
    """Counts the values of each row, by linear interpolation between nodes.

    A value between node k and node k + 1 counts `k + 1 - position` for the one and
    `position - k` for the other.

    Args:
        positions: `(rows, refs)`, float32 or float64, from 0 to `bins`, in units of
            the distance of two nodes.
        masks: List of masks `(rows, refs)`, bool, no two of which overlap: a
            histogram for each.
        bins: Number of intervals.

    Returns:
        `(rows, len(masks), bins + 1)`, the histograms.
    """
    left = tf.minimum(tf.floor(positions), tf.cast(bins - 1, positions.dtype))
    left = tf.maximum(tf.cast(left, tf.int32), 0)
    nodes = bins + 1
    size = len(masks) * nodes + 1  # the last one for what is in no mask
    columns = tf.fill(tf.shape(left), size - 1)
    for number, mask in enumerate(masks):
        columns = tf.where(mask, left + number * nodes, columns)

    @tf.custom_gradient
    def count(positions):
        right = positions - tf.cast(left, positions.dtype)
        counts = _counts(columns, tf.ones_like(right), size)
        rights = _counts(columns, right, size)
        histograms = counts - rights
        histograms += tf.pad(rights[:, :-1], [[0, 0], [1, 0]])

        def gradient(upstream):
            slopes = upstream[:, 1:] - upstream[:, :-1]
            slopes = tf.pad(slopes[:, : size - 2], [[0, 0], [0, 2]])
            first = size * tf.range(tf.shape(columns)[0])
            return tf.gather(tf.reshape(slopes, [-1]), columns + first[:, None])

        return histograms, gradient

    histograms = count(positions)[:, : size - 1]
    return tf.reshape(histograms, [-1, len(masks), nodes])


def _counts(columns, weights, size):
    """Sums the weights of each column, row by row: `(rows, size)`."""
    return tf.raw_ops.DenseBincount(
        input=columns, size=size, weights=weights, binary_output=False
    )
