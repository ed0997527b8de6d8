"""The marginal loss (Deng et al., 2017)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms


def marginal(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    threshold: Number = 1.2,
    margin: Number = 0.3,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Parts positive from negative pairs at one distance, with a margin to both sides.

        positive pair   max(margin - (threshold - D^2), 0)
        negative pair   max(margin + (threshold - D^2), 0)

    D is the Euclidean distance of unit rows: embeddings are normalised inside. The
    valid terms are all ordered pairs of the batch, each row with every other; the mean
    is over them, `1 / (batch^2 - batch)` in the paper. The paper adds the softmax
    classifier's loss to it.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        threshold: Squared distance that parts the two, theta in the paper.
        margin: Distance that is kept from the threshold, xi in the paper.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs times batch / number of all pairs,
        float32 or float64.

    Reference: Deng et al., 2017, Marginal Loss for Deep Face Recognition (CVPR
    Workshops).
    """
    _check(threshold, margin)

    def rows(pairs):
        gap = pairs.squared_distance - threshold
        terms = tf.nn.relu(margin + tf.where(pairs.positive, gap, -gap))
        pair = pairs.positive | pairs.negative
        return masked_sum(terms, pair), masked_count(pair, terms.dtype)

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


def _check(threshold, margin):
    check_number(threshold=threshold, margin=margin)


@keras.utils.register_keras_serializable(package="tfembed")
class Marginal(FunctionalLoss):
    """`marginal` as a Keras loss.

    >>> loss = Marginal()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.9667
    """

    function = staticmethod(marginal)
    check = staticmethod(_check)
