"""The coupled clusters loss (Liu et al., 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_number
from tfembed.ops.classes import pick_rows, refuse_similarities
from tfembed.ops.distances import squared_distances
from tfembed.ops.pairs import References, over_terms


def coupled_clusters(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 1.0,
    stop_gradient_center: bool = True,
    normalize: bool = False,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Gathers each class around its centre, nearer than the nearest foreign row.

        loss[i] = max(|x_i - c|^2 + margin - |x* - c|^2, 0) / 2

    c is the mean of the rows of i's class, and x* the row of another class that is
    nearest to c. A valid term is an anchor with a positive and a negative; the mean is
    over them (the paper has the sum over one class). With references, c is the mean of
    the anchor's positives among them.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: How much nearer, in squared distance; alpha in the paper.
        stop_gradient_center: Whether c is a constant of the gradient, as in the paper.
        normalize: Whether embeddings are divided by their length first.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: row i's loss times batch / number of valid rows, float32 or float64.

    Reference: Liu et al., 2016, Deep Relative Distance Learning: Tell the Difference
    Between Similar Vehicles (CVPR).
    """
    _check(margin)
    refuse_similarities("coupled_clusters", embeddings)

    def rows(pairs):
        members = tf.cast(pairs.positive | pairs.itself, pairs.anchors.dtype)
        size = tf.reduce_sum(members, axis=1, keepdims=True)
        center = tf.math.divide_no_nan(tf.matmul(members, pairs.refs), size)
        if stop_gradient_center:
            center = tf.stop_gradient(center)
        own = tf.reduce_sum(tf.square(pairs.anchors - center), axis=1)
        # Which one is nearest is a constant: all else would be computed for the
        # gradient of one entry of each row.
        others = squared_distances(
            tf.stop_gradient(center), tf.stop_gradient(pairs.refs)
        )
        largest = others.dtype.max
        others = tf.where(pairs.negative, others, largest)
        others = tf.pad(others, [[0, 0], [0, 1]], constant_values=largest)  # never bare
        valid = tf.reduce_any(pairs.positive, axis=1)
        valid &= tf.reduce_any(pairs.negative, axis=1)
        nearest = tf.where(valid, tf.argmin(others, axis=1), 0)
        other = pick_rows(pairs.refs, nearest) - center
        other = tf.reduce_sum(tf.square(other), axis=1)
        losses = tf.nn.relu(own + margin - other) / 2
        losses = tf.where(valid, losses, tf.zeros_like(losses))
        return losses, tf.cast(valid, losses.dtype)

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
        row_chunk=row_chunk,
    )


def _check(margin):
    check_number(margin=margin)


@keras.utils.register_keras_serializable(package="tfembed")
class CoupledClusters(FunctionalLoss):
    """`coupled_clusters` as a Keras loss.

    >>> loss = CoupledClusters(margin=1.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5
    """

    function = staticmethod(coupled_clusters)
    check = staticmethod(_check)
