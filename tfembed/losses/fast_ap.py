"""The FastAP loss (Cakir et al., 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_count
from tfembed.ops.masked import masked_count
from tfembed.ops.pairs import References, over_terms
from tfembed.ops.soft_histograms import soft_histograms


def fast_ap(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    bins: int = 10,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Raises each anchor's average precision, computed from histograms of distances.

        h+[l], h[l]   histograms of D^2, of the positives and of all other rows
        H+[l], H[l]   their running sums
        loss[i] = 1 - sum{h+[l] * H+[l] / H[l]} / number of positives

    D^2 = 2 - 2 S, from 0 to 4, is the squared distance of unit rows: embeddings are
    normalised inside. The histograms interpolate linearly between `bins + 1` nodes. A
    valid term is an anchor with a positive; the mean is over them, and one without
    negatives has loss 0. Memory is O(batch^2), whatever the number of bins.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        bins: Number of intervals of the histograms, L in the paper.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: row i's loss times batch / number of valid rows, float32 or float64.

    Reference: Cakir et al., 2019, Deep Metric Learning to Rank, equations 8 to 11
    (CVPR).
    """
    _check(bins)

    def rows(pairs):
        positions = (1 - pairs.similarity) * (bins / 2)
        positions = tf.clip_by_value(positions, 0, bins)
        histograms = soft_histograms(
            positions, [pairs.positive, pairs.negative], int(bins)
        )
        here = histograms[:, 0]
        positive = tf.cumsum(here, axis=1)
        everything = tf.cumsum(tf.reduce_sum(histograms, axis=1), axis=1)
        precision = tf.math.divide_no_nan(positive, everything)
        count = masked_count(pairs.positive, positions.dtype)
        average = tf.math.divide_no_nan(tf.reduce_sum(here * precision, axis=1), count)
        valid = count > 0
        lossy = valid & tf.reduce_any(pairs.negative, axis=1)
        losses = tf.where(lossy, 1 - average, tf.zeros_like(average))
        return losses, tf.cast(valid, losses.dtype)

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(bins):
    check_count(bins=bins)


@keras.utils.register_keras_serializable(package="tfembed")
class FastAP(FunctionalLoss):
    """`fast_ap` as a Keras loss.

    >>> loss = FastAP()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5
    """

    function = staticmethod(fast_ap)
    check = staticmethod(_check)
