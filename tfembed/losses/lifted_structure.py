"""The lifted structured loss (Oh Song et al., 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number
from tfembed.ops.ends import over_both_ends
from tfembed.ops.masked import log_sum_exp, masked_count, masked_max, masked_sum
from tfembed.ops.pairs import References


def lifted_structure(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 1.0,
    smooth: bool = True,
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Lifts each positive pair against all negatives of both of its ends.

        J[i, j]    = D[i, j] + log(sum{exp(margin - D[i, k]) : k negative of i}
                                 + sum{exp(margin - D[j, l]) : l negative of j})
        loss(i, j) = max(J[i, j], 0)^2 / 2

    D is the Euclidean distance, not squared; the authors found no need of unit rows.
    A valid term is a positive pair (i, j), ordered; without negatives at both ends it
    costs 0. The mean is over these, which is the paper's sum over unordered pairs
    divided by twice their number: the value of the Caffe code and of
    `tfa.losses.lifted_struct_loss` (NaN without positives). pytorch-metric-learning
    also sums over unordered pairs, but takes unit rows by default. With references j
    is one of these, and its negatives are the rows of the batch.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: Distance from which on a negative matters less and less.
        smooth: False: the largest `margin - D` instead of the log of the sum, the
            paper's first form and the survey's equation 3.
        normalize: Whether embeddings are divided by their length first.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs times batch / number of all pairs,
        float32 or float64.

    Reference: Oh Song et al., 2016 (https://arxiv.org/abs/1511.06452).
    """
    _check(margin)

    def push(pairs):
        closeness = margin - pairs.distance
        reduce = log_sum_exp if smooth else masked_max
        return reduce(closeness, pairs.negative, empty=closeness.dtype.min)

    def rows(pairs, own, other):
        pushed = tf.maximum(own, other)
        if smooth:
            pushed += tf.math.log1p(tf.exp(-tf.abs(own - other)))
        terms = tf.square(tf.nn.relu(pushed + pairs.distance)) / 2
        return (
            masked_sum(terms, pairs.positive),
            masked_count(pairs.positive, terms.dtype),
        )

    return over_both_ends(
        push,
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(margin):
    check_number(margin=margin)


@keras.utils.register_keras_serializable(package="tfembed")
class LiftedStructure(FunctionalLoss):
    """`lifted_structure` as a Keras loss.

    >>> loss = LiftedStructure()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5546
    """

    function = staticmethod(lifted_structure)
    check = staticmethod(_check)
