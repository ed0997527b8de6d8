"""The multi-similarity loss (Wang et al., 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import MultiSimilarityMiner
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.masked import log1p_sum_exp
from tfembed.ops.pairs import References, over_pairs


def multi_similarity(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    alpha: Number = 2.0,
    beta: Number = 50.0,
    base: Number = 0.5,
    epsilon: float | None = 0.1,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Pulls each anchor's hard positives in and pushes its hard negatives out.

        pull[i] = log(1 + sum{exp(-alpha * (S[i, j] - base)) : j positive}) / alpha
        push[i] = log(1 + sum{exp( beta * (S[i, j] - base)) : j negative}) / beta
        loss[i] = pull[i] + push[i]

    S is the cosine similarity: embeddings are normalised inside. The sums run over
    the pairs that `MultiSimilarityMiner(epsilon)` keeps. A valid term is a kept pair:
    an anchor without any has loss 0, with mining also one that has pairs of one kind
    alone; the mean is over all rows, as in the official code. That code also drops
    positives with `S >= 1 - 1e-5`, to get rid of the row itself; here just the row
    itself is left out.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        alpha: Sharpness on positives, positive.
        beta: Sharpness on negatives, positive.
        base: Similarity at which a pair starts to matter (lambda in the paper, which
            has 1 and beta = 50; the official code has 0.5 and 40). At 1 every negative
            lies below it, and an embedding whose rows are all alike is hardly pushed
            apart: that of photos stays at a mean cosine of 0.98.
        epsilon: The miner's slack; `None` leaves the mining out.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`, the loss of each row, float32 or float64.

    Reference: Wang et al., 2019, equation 15 (https://arxiv.org/abs/1904.06627).
    """
    _check(alpha, beta, base, epsilon)

    def rows(pairs):
        distance = pairs.similarity - base
        pull = log1p_sum_exp(-alpha * distance, pairs.positive) / alpha
        return pull + log1p_sum_exp(beta * distance, pairs.negative) / beta

    return over_pairs(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
        miner=None if epsilon is None else MultiSimilarityMiner(epsilon),
        row_chunk=row_chunk,
    )


def _check(alpha, beta, base, epsilon):
    check_positive(alpha=alpha, beta=beta)
    check_number(base=base, **({} if epsilon is None else {"epsilon": epsilon}))


@keras.utils.register_keras_serializable(package="tfembed")
class MultiSimilarity(FunctionalLoss):
    """`multi_similarity` as a Keras loss.

    >>> loss = MultiSimilarity()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.6044
    """

    function = staticmethod(multi_similarity)
    check = staticmethod(_check)
