"""The threshold-consistent margin loss (Zhang et al., 2024)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_not_negative, check_number
from tfembed.ops.floats import like
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, over_pairs, similarities_once, sum_over_rows


def threshold_consistent_margin(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    positive_margin: Number = 0.9,
    negative_margin: Number = 0.5,
    positive_weight: Number = 1.0,
    negative_weight: Number = 1.0,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Brings the hard pairs of all classes to the same two similarities.

        pull = mean{positive_margin - S : positive pairs, S <= positive_margin}
        push = mean{S - negative_margin : negative pairs, S >= negative_margin}
        loss = positive_weight * pull + negative_weight * push

    S is the cosine similarity: embeddings are normalised inside. It is a regulariser:
    beside another loss of the same embeddings it makes one threshold of similarity fit
    all classes. A valid term is an ordered pair on the wrong side of its margin, each
    kind being averaged by itself; a kind without any adds 0. The numbers of pairs are
    constants to the gradient. Value and defaults are those of pytorch-metric-learning.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        positive_margin: Similarity up to which a positive pair costs; m+ in the paper.
        negative_margin: Similarity from which on a negative pair costs; m-.
        positive_weight: Of the positive pairs' mean, at least 0; lambda+.
        negative_weight: Of the negative pairs' mean, at least 0; lambda-.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs of each kind times batch / number of all
        valid pairs of that kind, float32 or float64.

    Reference: Zhang et al., 2024, Threshold-Consistent Margin Loss for Open-World Deep
    Metric Learning (https://arxiv.org/abs/2307.04047).
    """
    _check(positive_margin, negative_margin, positive_weight, negative_weight)
    alone = ref_labels is None and ref_embeddings is None
    if alone and row_chunk is None and miner is None:
        embeddings = similarities_once(labels, embeddings)
    batch = labels, embeddings, ref_labels, ref_embeddings
    settings = {"normalize": True, "miner": miner, "row_chunk": row_chunk}

    def kinds(pairs):
        lack = like(positive_margin, pairs.similarity) - pairs.similarity
        excess = pairs.similarity - like(negative_margin, pairs.similarity)
        return [
            (lack, pairs.positive & (lack >= 0)),
            (excess, pairs.negative & (excess >= 0)),
        ]

    def numbers(pairs):
        counts = [masked_count(kind, costs.dtype) for costs, kind in kinds(pairs)]
        return tf.stack([*counts, tf.ones_like(counts[0])], axis=1)

    total = tf.stop_gradient(sum_over_rows(numbers, [3], *batch, **settings))
    shares = tf.math.divide_no_nan(total[2], total[:2])
    shares *= tf.stack([like(positive_weight, total), like(negative_weight, total)])

    def rows(pairs):
        (share,) = pairs.row_inputs
        pull, push = [masked_sum(*kind) for kind in kinds(pairs)]
        return share[:, 0] * pull + share[:, 1] * push

    to_each_row = tf.broadcast_to(shares[None], [tf.size(labels), 2])
    return over_pairs(rows, *batch, row_inputs=[to_each_row], **settings)


def _check(positive_margin, negative_margin, positive_weight, negative_weight):
    check_number(positive_margin=positive_margin, negative_margin=negative_margin)
    check_not_negative(positive_weight=positive_weight, negative_weight=negative_weight)


@keras.utils.register_keras_serializable(package="tfembed")
class ThresholdConsistentMargin(FunctionalLoss):
    """`threshold_consistent_margin` as a Keras loss.

    >>> loss = ThresholdConsistentMargin()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.6
    """

    function = staticmethod(threshold_consistent_margin)
    check = staticmethod(_check)
