"""The contrastive loss of signal-to-noise ratios (Yuan et al., 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_not_negative, check_number
from tfembed.ops.distances import squared_distances
from tfembed.ops.floats import like, widen
from tfembed.ops.ignored_labels import kept_rows, share_of_kept
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, Similarities, over_terms
from tfembed.ops.unit_rows import EPSILON, unit_rows


def snr(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 1.0,
    positive_margin: Number = 0.0,
    zero_mean: Number = 0.0,
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Contrasts pairs by the variance of their difference over the anchor's own.

        R[i, j]        = var(x[j] - x[i]) / var(x[i])
        positive pair    max(R[i, j] - positive_margin, 0)
        negative pair    max(margin - R[i, j], 0)
        each row         zero_mean * |sum{x[i, k] : k}|

    The anchor is the signal, what the other row differs by is the noise, and the
    variance is over the numbers of one embedding: R is one over the signal-to-noise
    ratio. It is not symmetric, and does not change when all rows are scaled.

    A valid term is an ordered pair of the batch, each row with every other, but for an
    anchor whose numbers are all equal (it has no signal); the mean is over them. The
    last line is the paper's regulariser, a mean over the rows.

    pytorch-metric-learning's `SignalToNoiseRatioContrastiveLoss` normalises first,
    averages the pairs of each kind apart, over those that cost something, and has the
    regulariser as a class of its own. Of `Similarities` alone the rows count as centred
    and of one length: R = 2 - 2 S.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float; dim at least 2.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: From where on a negative pair costs nothing; alpha in the paper.
        positive_margin: Up to where a positive pair costs nothing; 0 in the paper.
        zero_mean: Weight of the regulariser, at least 0; lambda in the paper.
        normalize: Whether embeddings are divided by their length first.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs times batch / number of all pairs, and its
        part of the regulariser, float32 or float64.

    Reference: Yuan et al., 2019, Signal-to-Noise Ratio: A Robust Distance Metric for
    Deep Metric Learning (https://arxiv.org/abs/1904.02616).
    """
    _check(margin, positive_margin, zero_mean)

    def rows(pairs):
        ratio, signal = _noise_to_signal(pairs)
        kinds = [
            (ratio - like(positive_margin, ratio), pairs.positive & signal),
            (like(margin, ratio) - ratio, pairs.negative & signal),
        ]
        sums = [masked_sum(tf.nn.relu(costs), kind) for costs, kind in kinds]
        counts = [masked_count(kind, ratio.dtype) for _, kind in kinds]
        return tf.add_n(sums), tf.add_n(counts)

    losses = over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
        miner=miner,
        row_chunk=row_chunk,
    )
    given = isinstance(embeddings, Similarities)
    if given or isinstance(zero_mean, (int, float)) and not zero_mean:
        return losses
    embeddings = widen(embeddings)
    if normalize:
        embeddings = unit_rows(embeddings)
    off = like(zero_mean, losses) * tf.abs(tf.reduce_sum(embeddings, axis=1))
    ignored = getattr(miner, "ignore_label", None)
    if ignored is not None:
        off *= tf.cast(kept_rows(labels, ignored), off.dtype)
        off *= share_of_kept(labels, ignored, off.dtype)
    return losses + off


def _noise_to_signal(pairs):
    """Returns R, `(rows, refs)`, and which anchors have a signal, `(rows, 1)`."""
    if pairs.anchors is None:
        return pairs.squared_distance, tf.ones([1, 1], tf.bool)
    anchors = _centred(pairs.anchors)
    refs = anchors if pairs.refs is pairs.anchors else _centred(pairs.refs)
    signal = tf.reduce_sum(anchors * anchors, axis=1, keepdims=True)
    # What rounding leaves of numbers that are equal is none.
    whole = tf.reduce_sum(pairs.anchors * pairs.anchors, axis=1, keepdims=True)
    noise = 2.0**-38 if signal.dtype == tf.float32 else 2.0**-96
    there = signal > tf.maximum(noise * whole, EPSILON)
    signal = tf.where(there, signal, tf.ones_like(signal))
    return squared_distances(anchors, refs) / signal, there


def _centred(rows):
    return rows - tf.reduce_mean(rows, axis=1, keepdims=True)


def _check(margin, positive_margin, zero_mean):
    check_number(margin=margin, positive_margin=positive_margin)
    check_not_negative(zero_mean=zero_mean)


@keras.utils.register_keras_serializable(package="tfembed")
class SNR(FunctionalLoss):
    """`snr` as a Keras loss.

    >>> loss = SNR()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    6.3
    """

    function = staticmethod(snr)
    check = staticmethod(_check)
