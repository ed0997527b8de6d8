"""The angular loss (Wang et al., 2017)."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number, check_untrained
from tfembed.ops.masked import log_sum_exp, masked_count
from tfembed.ops.pairs import References, Similarities, over_terms, similarities_once
from tfembed.ops.positives import entry, sum_over_positives


def angular(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    alpha: float = 45.0,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Bounds the angle at the negative in each triangle with a positive pair.

        f[i, j, k] = 4 * tan(alpha)^2 * (x[i] + x[j]) . x[k]
                     - 2 * (1 + tan(alpha)^2) * x[i] . x[j]
        term[i, j] = log(1 + sum{exp(f[i, j, k]) : k negative})

    x are normalised embeddings: the division is inside. A valid term is an ordered
    positive pair (i, j), and the mean is over these; without negatives it is 0. The
    terms go over every positive pair and all negatives of i, as in
    pytorch-metric-learning (whose angle is 40 by default), where the paper draws two
    rows of each class. No tensor has three axes of the batch's size: the positives of
    an anchor take their turns.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        alpha: Upper bound of the angle, in degrees, above 0 and below 90.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's positive pairs times batch / number of all
        positive pairs, float32 or float64.

    Reference: Wang et al., 2017 (https://arxiv.org/abs/1708.01682).
    """
    _check(alpha)
    alone = ref_labels is None and ref_embeddings is None
    if alone and row_chunk is None and miner is None:
        embeddings = similarities_once(labels, embeddings)
    values = [embeddings.values] if isinstance(embeddings, Similarities) else []
    given = bool(values)
    if given and ref_labels is not None:
        raise ValueError(
            "`angular` compares references with each other, and cannot do that with "
            "`Similarities` of a batch to them. Received: `ref_labels`."
        )
    slope = math.tan(math.radians(alpha)) ** 2

    def rows(pairs):
        def by_similarities(column, own, refs):
            against = log_sum_exp(own + tf.gather(refs, column), pairs.negative)
            return against - (1 + slope) / (2 * slope) * entry(own, column)

        def by_embeddings(column, own, refs):
            positives = tf.gather(refs, column)
            to_positive = tf.reduce_sum(own * positives, axis=-1)
            to_refs = tf.matmul(own + positives, refs, transpose_b=True)
            against = log_sum_exp(4 * slope * to_refs, pairs.negative)
            return against - 2 * (1 + slope) * to_positive

        if given:
            inputs = [4 * slope * x for x in (pairs.similarity, *pairs.ref_inputs)]
            excess = by_similarities
        else:
            inputs, excess = [pairs.anchors, pairs.refs], by_embeddings
        sums = sum_over_positives(
            lambda *inputs: tf.math.softplus(excess(*inputs)), pairs, inputs
        )
        possible = tf.reduce_any(pairs.negative, axis=-1)
        return (
            tf.where(possible, sums, tf.zeros_like(sums)),
            masked_count(pairs.positive, sums.dtype),
        )

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
        ref_inputs=values,
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(alpha):
    check_untrained(alpha=alpha)
    check_number(alpha=alpha)
    if not 0 < alpha < 90:
        raise ValueError(
            "`alpha` must be an angle in degrees, above 0 and below 90. "
            f"Received: alpha={alpha}."
        )


@keras.utils.register_keras_serializable(package="tfembed")
class Angular(FunctionalLoss):
    """`angular` as a Keras loss.

    >>> loss = Angular()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.1711
    """

    function = staticmethod(angular)
    check = staticmethod(_check)
