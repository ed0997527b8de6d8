"""The intra-pair variance loss (Yu and Tao, 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_not_negative
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, over_pairs, similarities_once, sum_over_rows


def intra_pair_variance(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    positive_epsilon: Number = 0.01,
    negative_epsilon: Number = 0.01,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Draws the pairs of each kind towards their mean, from the wrong side only.

        pull = mean{max((1 - positive_epsilon) * P - S[i, j], 0)^2 : positive pairs}
        push = mean{max(S[i, j] - (1 + negative_epsilon) * N, 0)^2 : negative pairs}
        loss = pull + push

    S is the cosine similarity: embeddings are normalised inside. P and N are the mean
    similarities of all positive and of all negative pairs; they take part in the
    gradient. A valid term is an ordered pair, each kind being averaged by itself. It
    is a companion of `tuplet_margin`, in the paper and here.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        positive_epsilon: Slack of the positives, a share of their mean, at least 0.
        negative_epsilon: Slack of the negatives, likewise.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs of each kind times batch / number of all
        pairs of that kind, float32 or float64.

    Reference: Yu and Tao, Deep Metric Learning with Tuplet Margin Loss, ICCV 2019.
    """
    _check(positive_epsilon, negative_epsilon)
    alone = ref_labels is None and ref_embeddings is None
    if alone and row_chunk is None and miner is None:
        embeddings = similarities_once(labels, embeddings)
    batch = labels, embeddings, ref_labels, ref_embeddings
    settings = {"normalize": True, "miner": miner, "row_chunk": row_chunk}

    def totals(pairs):
        similarity, kinds = pairs.similarity, (pairs.positive, pairs.negative)
        sums = [masked_sum(similarity, kind) for kind in kinds]
        counts = [masked_count(kind, similarity.dtype) for kind in kinds]
        return tf.stack([*sums, *counts, tf.ones_like(counts[0])], axis=1)

    total = sum_over_rows(totals, [5], *batch, **settings)
    sums, counts, everyone = total[:2], total[2:4], total[4]
    means = tf.math.divide_no_nan(sums, counts)
    shares = tf.stop_gradient(tf.math.divide_no_nan(everyone, counts))

    def rows(pairs):
        mean, share = pairs.row_inputs
        lack = (1 - positive_epsilon) * mean[:, :1] - pairs.similarity
        excess = pairs.similarity - (1 + negative_epsilon) * mean[:, 1:]
        pull = masked_sum(tf.square(tf.nn.relu(lack)), pairs.positive)
        push = masked_sum(tf.square(tf.nn.relu(excess)), pairs.negative)
        return share[:, 0] * pull + share[:, 1] * push

    to_each_row = [tf.size(labels), 2]
    return over_pairs(
        rows,
        *batch,
        row_inputs=[tf.broadcast_to(value, to_each_row) for value in (means, shares)],
        **settings,
    )


def _check(positive_epsilon, negative_epsilon):
    check_not_negative(
        positive_epsilon=positive_epsilon, negative_epsilon=negative_epsilon
    )


@keras.utils.register_keras_serializable(package="tfembed")
class IntraPairVariance(FunctionalLoss):
    """`intra_pair_variance` as a Keras loss.

    >>> loss = IntraPairVariance()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.0784
    """

    function = staticmethod(intra_pair_variance)
    check = staticmethod(_check)
