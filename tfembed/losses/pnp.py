"""Penalising negatives before positives (Li et al., 2022)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_choice, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms
from tfembed.ops.positives import entry, sum_over_positives

FORMS = ("O", "Iu", "Ib", "Ds", "Dq")


def pnp(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    form: str = "O",
    temperature: Number = 0.01,
    alpha: Number = 1.0,
    b: Number = 2.0,
    include_anchor: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Counts the negatives that rank before each positive, with sigmoids for steps.

        R(j)    = sum{sigmoid((S[i, k] - S[i, j]) / tau) : k negative}
        loss[i] = mean{f(R(j)) : j positive}

        form   f(R)
        O      R
        Iu     (1 + R) log(1 + R)
        Ib     (b R - log(1 + b R)) / b^2
        Ds     log(1 + R)
        Dq     1 - 1 / (1 + R)^alpha

    S is the cosine similarity: embeddings are normalised inside. The slope of f is what
    a positive with R negatives before it is pulled with: it grows with R in the forms
    "Iu" and "Ib", falls in "Ds" and "Dq" (of which the paper finds "Dq" the best), and
    is the same for all in "O". A valid term is an anchor with a positive; the mean is
    over them, and one without negatives has loss 0. The official code and
    pytorch-metric-learning's `PNPLoss` count the anchor as one of its own positives:
    `include_anchor=True` has their value. Memory is O(batch^2): a step for each of an
    anchor's positives, computed again in the backward pass.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        form: `"O"`, `"Iu"`, `"Ib"`, `"Ds"` or `"Dq"`, as the paper names them.
        temperature: Width of the sigmoid's step, positive: tau.
        alpha: Exponent of the form "Dq", positive.
        b: Of the form "Ib", positive: the larger, the sooner the slope is constant.
        include_anchor: Whether the anchor itself is one of the positives.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: row i's loss times batch / number of valid rows, float32 or float64.

    Reference: Li et al., 2022, Rethinking the Optimization of Average Precision, AAAI
    (https://arxiv.org/abs/2102.04640).
    """
    _check(form, temperature, alpha, b)

    def penalty(before):
        if form == "Iu":
            return (1 + before) * tf.math.log1p(before)
        if form == "Ib":
            scale = like(b, before)
            return (scale * before - tf.math.log1p(scale * before)) / scale**2
        if form == "Ds":
            return tf.math.log1p(before)
        if form == "Dq":
            return -tf.math.expm1(-like(alpha, before) * tf.math.log1p(before))
        return before

    def rows(pairs):
        valid = tf.reduce_any(pairs.positive, axis=1)
        if include_anchor:
            pairs.positive |= pairs.itself

        def term(column, similarity):
            above = similarity - entry(similarity, column)[:, None]
            above = tf.sigmoid(above / like(temperature, similarity))
            return penalty(masked_sum(above, pairs.negative))

        sums = sum_over_positives(term, pairs, [pairs.similarity])
        losses = tf.math.divide_no_nan(sums, masked_count(pairs.positive, sums.dtype))
        losses = tf.where(valid, losses, tf.zeros_like(losses))
        return losses, tf.cast(valid, losses.dtype)

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


def _check(form, temperature, alpha, b):
    check_choice(FORMS, form=form)
    check_positive(temperature=temperature, alpha=alpha, b=b)


@keras.utils.register_keras_serializable(package="tfembed")
class PNP(FunctionalLoss):
    """`pnp` as a Keras loss.

    >>> loss = PNP(form="Dq", temperature=0.1)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.4808
    """

    function = staticmethod(pnp)
    check = staticmethod(_check)
