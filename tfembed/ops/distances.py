"""Inner products and Euclidean distances of all pairs.

Distances are exact at zero, and their gradients finite. What is compared with itself,
the same tensor on both sides, has one product in the backward pass and not two.
"""

import tensorflow as tf

from tfembed.ops.zero_rows import at_least_one_row


def inner_products(left, right):
    """Computes the inner product of every pair.

    Args:
        left: `(rows, dim)`, float32 or float64; there may be no rows, on either side.
        right: `(refs, dim)`, of the same dtype; may be `left` itself.

    Returns:
        `(rows, refs)`.
    """
    return _of_every_pair(_inner_products, left, right)


def _of_every_pair(function, left, right):
    """Calls a function of `left` and `right` with at least one row of each."""
    (rows,) = at_least_one_row(left)
    refs = rows if left is right else at_least_one_row(right)[0]
    values = function(rows, refs)
    if left.shape[0] and right.shape[0]:
        return values
    values = tf.slice(values, [0, 0], [tf.shape(left)[0], tf.shape(right)[0]])
    return tf.ensure_shape(values, [left.shape[0], right.shape[0]])


def _inner_products(left, right):
    if left is not right:
        return tf.matmul(left, right, transpose_b=True)

    @tf.custom_gradient
    def of_all(rows):
        products = tf.matmul(rows, rows, transpose_b=True)
        return products, lambda upstream: tf.matmul(_both_ways(upstream), rows)

    return of_all(left)


def squared_distances(left, right):
    """Computes the squared Euclidean distance of every pair.

    A difference of large terms, `|l|^2 + |r|^2 - 2 l.r`: what is left of rounding at
    (almost) equal rows is cut to exactly zero.

    Args:
        left: `(rows, dim)`, float32 or float64; there may be no rows, on either side.
        right: `(refs, dim)`, of the same dtype; may be `left` itself.

    Returns:
        `(rows, refs)`, at least 0. At 0 the gradient is 0, as it should be.
    """
    return _of_every_pair(_squared_distances, left, right)


def _squared_distances(left, right):
    if left is not right:
        lengths = tf.reduce_sum(left * left, axis=1)[:, None]
        squared = tf.matmul(-2 * left, right, transpose_b=True) + lengths
        squared += tf.reduce_sum(right * right, axis=1)[None, :]
        return _cut(squared, _far(squared, lengths))

    @tf.custom_gradient
    def of_all(rows):
        lengths = tf.reduce_sum(rows * rows, axis=1)[:, None]
        squared = tf.matmul(-2 * rows, rows, transpose_b=True) + lengths
        squared += tf.transpose(lengths)
        far = _far(squared, lengths)

        def gradient(upstream):
            weights = _both_ways(_cut(upstream, far))
            sums = tf.reduce_sum(weights, axis=1, keepdims=True)
            return 2 * (sums * rows - tf.matmul(weights, rows))

        return _cut(squared, far), gradient

    return of_all(left)


def from_similarities(similarities):
    """Computes squared distances of unit rows from their cosine similarities."""
    squared = 2 - 2 * similarities
    return _cut(squared, _far(squared, tf.ones([], squared.dtype)))


@tf.custom_gradient
def safe_sqrt(squared):
    """Takes the square root of what is at least 0; its gradient at 0 is 0."""

    def gradient(upstream):
        return tf.math.divide_no_nan(upstream / 2, safe_sqrt(squared))

    return tf.sqrt(squared), gradient


def _both_ways(weights):
    """Returns the weights of pairs that are the same either way round."""
    return weights + tf.transpose(weights)


def _far(squared, lengths):
    """Tells what is more than rounding, 1 or 0; of close rows the lengths agree."""
    far = squared > 8 * _EPSILON[squared.dtype] * lengths
    return tf.stop_gradient(tf.cast(far, squared.dtype))


@tf.custom_gradient
def _cut(values, far):
    """Returns the values where `far` is 1, and 0 elsewhere; the gradient likewise."""

    def gradient(upstream):
        return _cut(upstream, far), None

    return tf.math.multiply_no_nan(values, far), gradient


# Difference of 1 and the next larger number.
_EPSILON = {tf.float32: 2.0**-23, tf.float64: 2.0**-52}
