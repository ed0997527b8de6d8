"""The tuplet margin loss (Yu and Tao, 2019)."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number, check_positive, check_untrained
from tfembed.ops.distances import safe_sqrt
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp, masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms


def tuplet_margin(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 0.1,
    scale: Number = 64.0,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Tells each positive from all negatives, forgiving it a small angle.

        term[i, j] = log(1 + sum{exp(scale * (S[i, k] - cos(t[i, j] - margin))) :
                                 k negative})

    S is the cosine similarity and t its angle: embeddings are normalised inside. A
    valid term is an ordered positive pair (i, j), and the mean is over these; without
    negatives it is 0. Where two rows point the same way their angle has no gradient.
    In pytorch-metric-learning the margin is in degrees, 5.73 by default, and such
    pairs have no finite gradient.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: Slack of the positives' angle, in radians.
        scale: Multiplies the cosines, positive.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's positive pairs times batch / number of all
        positive pairs, float32 or float64.

    Reference: Yu and Tao, Deep Metric Learning with Tuplet Margin Loss, ICCV 2019.
    """
    _check(margin, scale)

    def rows(pairs):
        similarity = pairs.similarity
        # cos(t - margin), without the arc cosine; what rounding leaves of sin(t) at
        # 0 and pi counts as 0.
        squared_sine = (1 - similarity) * (1 + similarity)
        noise = 8 * (2.0**-23 if similarity.dtype == tf.float32 else 2.0**-52)
        squared_sine = tf.where(
            squared_sine > noise, squared_sine, tf.zeros_like(squared_sine)
        )
        nearer = math.cos(margin) * similarity
        nearer += math.sin(margin) * safe_sqrt(squared_sine)
        factor = like(scale, similarity)
        against = log_sum_exp(factor * similarity, pairs.negative)
        costs = tf.math.softplus(against[:, None] - factor * nearer)
        terms = masked_sum(costs, pairs.positive)
        possible = tf.reduce_any(pairs.negative, axis=-1)
        return (
            tf.where(possible, terms, tf.zeros_like(terms)),
            masked_count(pairs.positive, similarity.dtype),
        )

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


def _check(margin, scale):
    check_untrained(margin=margin)
    check_number(margin=margin)
    check_positive(scale=scale)


@keras.utils.register_keras_serializable(package="tfembed")
class TupletMargin(FunctionalLoss):
    """`tuplet_margin` as a Keras loss.

    >>> loss = TupletMargin(scale=4.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.517
    """

    function = staticmethod(tuplet_margin)
    check = staticmethod(_check)
