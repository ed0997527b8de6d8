"""Projected affinities: deep spectral clustering (Law et al., 2017)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_fraction
from tfembed.ops.classes import class_numbers, whole_batch
from tfembed.ops.pairs import References
from tfembed.ops.projection import range_basis


def affinity_projection(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    tolerance: Number = 1e-6,
    normalize: bool = False,
) -> tf.Tensor:
    """Compares the space that the embeddings span with the one that the labels span.

        loss = ||P(E) - P(Y)||^2,  P(A) = A A^+

    P(A) projects to the columns of A: of the embeddings E `(batch, dim)`, and of the
    one-hot labels Y. Unlike `affinity_frobenius`, this leaves the scales of the
    embedding's axes out. It is `rank(E) + classes - 2 tr(P(E) P(Y))`, in O(batch x
    dim^2), from the eigenvalues of `E^T E`, in float64 inside. Its gradient,
    `-4 (I - P(E)) P(Y) (E^+)^T`, is that of the thin decomposition with everything left
    out that cancels: it is finite where singular values meet, while the derivative of
    a singular vector is not. A valid term is a positive pair: without any P(Y) is the
    identity, and the loss 0. With as many dimensions as rows P(E) is the identity, and
    the gradient 0: use it with batches larger than dim.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: Not supported: the batch is compared with itself.
        ref_embeddings: Likewise.
        tolerance: Singular values up to this part of the largest one count as 0.
        normalize: Whether embeddings are divided by their length first.

    Returns:
        `(batch,)`: the batch's loss for every row, float32 or float64.

    Reference: Law et al., 2017, Deep Spectral Clustering Learning (ICML); Ionescu et
    al., 2015 (https://arxiv.org/abs/1509.07838).
    """
    _check(tolerance)
    labels, rows, for_every_row = whole_batch(
        "affinity_projection",
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
    )
    numbers, classes = class_numbers(labels)
    count = tf.shape(rows)[0]
    basis, rank = range_basis(tf.cast(rows, tf.float64), tolerance)
    ones = tf.ones([count], basis.dtype)
    sizes = tf.math.unsorted_segment_sum(ones, numbers, count)
    sums = tf.math.unsorted_segment_sum(basis, numbers, count)
    shared = tf.math.divide_no_nan(tf.reduce_sum(sums * sums, axis=1), sizes)
    loss = rank + tf.cast(classes, rank.dtype) - 2 * tf.reduce_sum(shared)
    loss = tf.where(classes < count, loss, tf.zeros_like(loss))
    return for_every_row(tf.cast(loss, rows.dtype))


def _check(tolerance):
    check_fraction(tolerance=tolerance)


@keras.utils.register_keras_serializable(package="tfembed")
class AffinityProjection(FunctionalLoss):
    """`affinity_projection` as a Keras loss.

    >>> loss = AffinityProjection()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0], [1.0], [2.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.0
    """

    function = staticmethod(affinity_projection)
    check = staticmethod(_check)
