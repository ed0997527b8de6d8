"""The Smooth-AP loss (Brown et al., 2020)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_positive
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms
from tfembed.ops.positives import entry, sum_over_positives


def smooth_ap(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    temperature: Number = 0.01,
    include_anchor: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Raises each anchor's average precision, with sigmoids for the steps of ranks.

        rank(j, A) = 1 + sum{sigmoid((S[i, k] - S[i, j]) / tau) : k in A, k != j}
        loss[i] = 1 - mean{rank(j, positives) / rank(j, all) : j positive}

    S is the cosine similarity: embeddings are normalised inside. A valid term is an
    anchor with a positive; the mean is over them, and one without negatives has loss 0.
    The official code, and `SmoothAPLoss` of pytorch-metric-learning, count the anchor
    as the first of its own positives and need classes of one size:
    `include_anchor=True` has their value, for classes of any size. Memory is
    O(batch^2): a step for each of an anchor's positives, computed again in the
    backward pass.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        temperature: Width of the sigmoid's step, positive: tau.
        include_anchor: Whether the anchor itself is one of the positives to rank.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: row i's loss times batch / number of valid rows, float32 or float64.

    Reference: Brown et al., 2020, equations 3 to 6 (https://arxiv.org/abs/2007.12163).
    """
    _check(temperature)

    def rows(pairs):
        valid = tf.reduce_any(pairs.positive, axis=1)
        if include_anchor:
            pairs.positive |= pairs.itself
        positive, negative = pairs.positive, pairs.negative

        def precision(column, similarity):
            above = similarity - entry(similarity, column)[:, None]
            above = tf.sigmoid(above / temperature)
            # The positive itself, sigmoid(0), is in the sum: 1 - 1 / 2.
            rank = masked_sum(above, positive) + 0.5
            return rank / (rank + masked_sum(above, negative))

        average = sum_over_positives(precision, pairs, [pairs.similarity])
        count = masked_count(positive, average.dtype)
        lossy = valid & tf.reduce_any(negative, axis=1)
        losses = 1 - tf.math.divide_no_nan(average, count)
        losses = tf.where(lossy, losses, tf.zeros_like(losses))
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


def _check(temperature):
    check_positive(temperature=temperature)


@keras.utils.register_keras_serializable(package="tfembed")
class SmoothAP(FunctionalLoss):
    """`smooth_ap` as a Keras loss.

    >>> loss = SmoothAP()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5
    """

    function = staticmethod(smooth_ap)
    check = staticmethod(_check)
