"""The binomial deviance loss (Yi et al., 2014), as general pair weighting has it."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import masked_mean
from tfembed.ops.pairs import References, over_pairs


def binomial_deviance(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    alpha: Number = 2.0,
    beta: Number = 50.0,
    base: Number = 0.5,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Judges every pair by itself, softly, on both sides of one similarity.

        pull[i] = mean{log(1 + exp(alpha * (base - S[i, j]))) : j positive}
        push[i] = mean{log(1 + exp(beta * (S[i, j] - base))) : j negative}
        loss[i] = pull[i] + push[i]

    S is the cosine similarity: embeddings are normalised inside. A valid term is a
    pair: an anchor without positives has no pull, one without negatives no push; the
    mean is over all rows. Yi et al. have one sharpness for both kinds, and a weight
    on the negatives inside of the exponential (a cost of 25: `beta = 25 * alpha`).

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        alpha: Sharpness on positives, positive.
        beta: Sharpness on negatives, positive.
        base: Similarity that tells positives from negatives (lambda in the paper).
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`, the loss of each row, float32 or float64.

    Reference: Yi et al., 2014 (https://arxiv.org/abs/1407.4979); Wang et al., 2019,
    section 3 (https://arxiv.org/abs/1904.06627).
    """
    _check(alpha, beta, base)

    def rows(pairs):
        distance = pairs.similarity - base
        sharpness = tf.where(
            pairs.positive, -like(alpha, distance), like(beta, distance)
        )
        cost = tf.math.softplus(sharpness * distance)
        return masked_mean(cost, pairs.positive) + masked_mean(cost, pairs.negative)

    return over_pairs(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(alpha, beta, base):
    check_positive(alpha=alpha, beta=beta)
    check_number(base=base)


@keras.utils.register_keras_serializable(package="tfembed")
class BinomialDeviance(FunctionalLoss):
    """`binomial_deviance` as a Keras loss.

    >>> loss = BinomialDeviance()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    13.3755
    """

    function = staticmethod(binomial_deviance)
    check = staticmethod(_check)
