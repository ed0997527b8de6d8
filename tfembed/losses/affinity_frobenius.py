"""The affinity loss of deep clustering (Hershey et al., 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.classes import class_numbers, whole_batch
from tfembed.ops.pairs import References


def affinity_frobenius(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
) -> tf.Tensor:
    """Compares all cosine similarities with the label affinities, at once.

        loss = sum{(S[i, j] - Y[i, j])^2 : i, j},  Y[i, j] = 1 for equal labels, else 0

    S is the cosine similarity: embeddings are normalised inside. With unit rows E and
    one-hot labels Y the loss is `||E E^T - Y Y^T||^2`, computed as
    `||E^T E||^2 - 2 ||E^T Y||^2 + ||Y^T Y||^2`: in O(batch x dim^2), without a matrix
    of pairs. A valid term is an ordered pair of two different rows; a row with itself
    is 0 in the paper's sum, as both affinities are 1. It is a sum, as in the paper:
    divide the learning rate, or weigh the loss, by batch^2 for a mean.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: Not supported: the batch is compared with itself.
        ref_embeddings: Likewise.

    Returns:
        `(batch,)`: the batch's loss for every row, float32 or float64.

    Reference: Hershey et al., 2016, equation 1 (https://arxiv.org/abs/1508.04306).
    """
    labels, rows, for_every_row = whole_batch(
        "affinity_frobenius",
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
    )
    numbers, _ = class_numbers(labels)
    count = tf.shape(rows)[0]
    sums = tf.math.unsorted_segment_sum(rows, numbers, count)
    ones = tf.ones([count], rows.dtype)
    sizes = tf.math.unsorted_segment_sum(ones, numbers, count)
    lengths = tf.reduce_sum(rows * rows, axis=1)
    gram = tf.matmul(rows, rows, transpose_a=True)
    # Of each of the three, without the rows' own part.
    loss = tf.reduce_sum(gram * gram) - tf.reduce_sum(lengths * lengths)
    loss -= 2 * (tf.reduce_sum(sums * sums) - tf.reduce_sum(lengths))
    loss += tf.reduce_sum(sizes * sizes - sizes)
    # Rounding can leave less than 0; that is no reason to lose the gradient.
    loss += tf.stop_gradient(tf.maximum(loss, 0) - loss)
    return for_every_row(tf.where(count > 1, loss, tf.zeros_like(loss)))


@keras.utils.register_keras_serializable(package="tfembed")
class AffinityFrobenius(FunctionalLoss):
    """`affinity_frobenius` as a Keras loss.

    >>> loss = AffinityFrobenius()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.6
    """

    function = staticmethod(affinity_frobenius)
