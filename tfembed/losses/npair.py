"""The multi-class N-pair loss (Sohn, 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_choice, check_not_negative
from tfembed.ops.distances import safe_sqrt
from tfembed.ops.masked import log_sum_exp, masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms

FORMS = ("paper", "survey")


def npair(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    l2: Number = 0.001,
    form: str = "paper",
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Wants each positive's inner product above those of all negatives together.

        loss(i, j) = log(1 + sum{exp(x[i].x[k] - x[i].x[j]) : k negative of i})
                     + l2 * (norm(i) + norm(j)) / 2

        form     row i                                mean over             norm(i)
        paper    the mean of its positive pairs       rows with positives   |x[i]|^2
        survey   all its positive pairs, batch-wide   positive pairs        |x[i]|

    Inner products of rows that are not normalised: `l2` keeps them from growing. A
    valid term is a positive pair (i, j), ordered. The paper's batch, N anchors and
    their N positives, is a batch with the positives as references. Without these each
    row is an anchor, and all rows of other labels are negatives.
    TensorFlow's contrib version (`l2` 0.001 is its `reg_lambda` 0.002) and
    `tfa.losses.npairs_loss` (on similarities, without `l2`) have an anchor's other
    positives in the denominator too; pytorch-metric-learning draws one pair a label.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        l2: Weight of the norms, at least 0.
        form: `"paper"` or `"survey"`, see above.
        normalize: Whether embeddings are divided by their length first; `l2` is then
            idle.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: row i's part times batch / number of terms, float32 or float64.

    Reference: Sohn, 2016 (Improved deep metric learning with multi-class N-pair loss
    objective, NIPS).
    """
    _check(l2, form)

    def norm(rows):
        squared = tf.reduce_sum(tf.square(rows), axis=1)
        return squared if form == "paper" else safe_sqrt(squared)

    def rows(pairs):
        similarity, positive = pairs.similarity, pairs.positive
        counts = masked_count(positive, similarity.dtype)
        sums = tf.cond(
            tf.reduce_all(counts <= 1),
            lambda: _one_positive(similarity, pairs),
            lambda: _all_positives(similarity, pairs),
        )
        if l2 and pairs.anchors is not None and not normalize:
            of_refs = tf.linalg.matvec(tf.cast(positive, sums.dtype), norm(pairs.refs))
            sums += l2 / 2 * (counts * norm(pairs.anchors) + of_refs)
        if form == "survey":
            return sums, counts
        there = tf.cast(counts > 0, counts.dtype)
        return tf.math.divide_no_nan(sums, counts), there

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
        miner=miner,
        row_chunk=row_chunk,
    )


def _all_positives(similarity, pairs):
    """Returns the sum over each row's positives, `(rows,)`, without the norms."""
    push = log_sum_exp(similarity, pairs.negative, empty=similarity.dtype.min)
    return masked_sum(tf.nn.softplus(push[:, None] - similarity), pairs.positive)


def _one_positive(similarity, pairs):
    """The same of rows with one positive at most: a softmax, in one operation."""
    if not pairs.complete:
        either = pairs.positive | pairs.negative
        left_out = tf.constant(-1e30, similarity.dtype)
        similarity = tf.where(either, similarity, left_out)
    one = tf.cast(pairs.positive, similarity.dtype)
    # The operation itself: `tf.nn` reshapes, and an empty batch has no shape to keep.
    values, _ = tf.raw_ops.SoftmaxCrossEntropyWithLogits(
        features=similarity, labels=one
    )
    # Without a positive the value is 0, but the operation's gradient is not.
    return tf.where(
        tf.reduce_any(pairs.positive, axis=1), values, tf.zeros_like(values)
    )


def _check(l2, form):
    check_not_negative(l2=l2)
    check_choice(FORMS, form=form)


@keras.utils.register_keras_serializable(package="tfembed")
class NPair(FunctionalLoss):
    """`npair` as a Keras loss.

    >>> loss = NPair(l2=0.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.3133
    """

    function = staticmethod(npair)
    check = staticmethod(_check)
