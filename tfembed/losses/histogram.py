"""The histogram loss (Ustinova & Lempitsky, 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_count
from tfembed.ops.labels import flat_labels
from tfembed.ops.pairs import References, sum_over_rows
from tfembed.ops.soft_histograms import soft_histograms


def histogram(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    bins: int = 100,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Lowers the chance that a random negative pair is more alike than a positive one.

        h+, h-   histograms of the positive and of the negative pairs' similarities,
                 each of sum 1
        loss = sum{h-[r] * sum{h+[q] : q <= r} : r}

    Similarities are cosines, from -1 to 1: embeddings are normalised inside. The
    histograms interpolate linearly between `bins + 1` nodes, R in the paper. Each
    ordered pair of two rows is a valid term; without pairs of both kinds the loss is 0.
    Memory is O(batch^2), whatever the number of bins, and O(row_chunk x batch) in
    blocks.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        bins: Number of intervals of the histograms.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the batch's loss for every row, float32 or float64.

    Reference: Ustinova & Lempitsky, 2016, equations 1 to 4
    (https://arxiv.org/abs/1611.00822).
    """
    _check(bins)
    bins = int(bins)

    def rows(pairs):
        positions = tf.clip_by_value((pairs.similarity + 1) * (bins / 2), 0, bins)
        return soft_histograms(positions, [pairs.positive, pairs.negative], bins)

    positive, negative = tf.unstack(
        sum_over_rows(
            rows,
            (2, bins + 1),
            labels,
            embeddings,
            ref_labels,
            ref_embeddings,
            normalize=True,
            miner=miner,
            row_chunk=row_chunk,
        )
    )
    below = tf.reduce_sum(negative * tf.cumsum(positive))
    pairs = tf.reduce_sum(positive) * tf.reduce_sum(negative)
    loss = tf.math.divide_no_nan(below, tf.stop_gradient(pairs))
    return tf.fill(tf.shape(flat_labels(labels)), loss)


def _check(bins):
    check_count(bins=bins)


@keras.utils.register_keras_serializable(package="tfembed")
class Histogram(FunctionalLoss):
    """`histogram` as a Keras loss.

    >>> loss = Histogram(bins=4)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.0
    """

    function = staticmethod(histogram)
    check = staticmethod(_check)
