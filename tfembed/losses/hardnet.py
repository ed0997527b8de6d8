"""The HardNet loss (Mishchuk et al., 2017)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number
from tfembed.ops.ends import over_both_ends
from tfembed.ops.masked import masked_count, masked_min, masked_sum
from tfembed.ops.pairs import References


def hardnet(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 1.0,
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Wants each positive pair closer than the nearest negative of either end.

        loss(i, j) = max(margin + D[i, j] - min(n(i), n(j)), 0)
        n(i)       = min{D[i, k] : k negative}

    D is the Euclidean distance. A valid term is a positive pair (i, j) that has a
    negative at either end, ordered; the mean is over them. With references j is one
    of these, and its negatives are the rows of the batch: a batch of first views
    against their second views is the paper's loss. Without, each pair comes twice and
    its negatives are all rows of other labels, both views of them.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: How much closer the positive shall be.
        normalize: Whether embeddings are divided by their length first, as in the
            paper.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs times batch / number of all pairs,
        float32 or float64.

    Reference: Mishchuk et al., 2017 (https://arxiv.org/abs/1705.10872).
    """
    _check(margin)

    def nearest(pairs):
        distance = pairs.distance
        return masked_min(distance, pairs.negative, empty=distance.dtype.max)

    def rows(pairs, own, other):
        hardest = tf.minimum(own, other)
        there = pairs.positive & (hardest < hardest.dtype.max)
        terms = tf.nn.relu(margin + pairs.distance - hardest)
        return masked_sum(terms, there), masked_count(there, terms.dtype)

    return over_both_ends(
        nearest,
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
class HardNet(FunctionalLoss):
    """`hardnet` as a Keras loss.

    >>> loss = HardNet()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5
    """

    function = staticmethod(hardnet)
    check = staticmethod(_check)
