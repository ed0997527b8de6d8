"""Invariant and spreading instance features (Ye et al., 2019)."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops import replicas
from tfembed.ops.arguments import (
    check_choice,
    check_number,
    check_positive,
    check_untrained,
)
from tfembed.ops.floats import like, widen
from tfembed.ops.labels import flat_labels
from tfembed.ops.masked import log_sum_exp, masked_mean, masked_sum
from tfembed.ops.pair_checks import check_pairs, closed_batch
from tfembed.ops.pairs import (
    References,
    Similarities,
    over_pairs,
    over_terms,
)

FORMS = ("code", "paper")


def invariant_spread(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    temperature: Number = 0.1,
    form: str = "code",
    negative_weight: Number = 1.0,
    negative_share: Number = 1.0,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Draws the two views of an image together, and all images apart.

    The batch holds two views of each image, in any order: two rows with the same
    label, that of the image. With `e[i, j] = exp(S[i, j] / temperature)`, S the cosine
    similarity (embeddings are normalised inside), and M the negative weight:

        code: each row i with its partner p, and the other images' rows j

            den[i] = e[i, p] + M * sum{e[i, j] : j}
            loss[i] = -log(e[i, p] / den[i]) - M * sum{log(1 - e[i, j] / den[i]) : j}

        paper: the first view i of each image, the second view p, other first views j

            den[r] = sum{e[r, k] : all first views k, r too if it is one}
            loss[p] = -log(e[p, i] / den[p])
            loss[i] = -sum{log(1 - e[i, j] / den[i]) : j}

    The two differ in four ways. In the official code both views are anchors and
    candidates; a row is no candidate of its own; the loss is the mean over the rows,
    and in the paper the sum; and the gradient takes the candidates as constants: it
    reaches a row only where that is the anchor. A valid term is a row whose label
    comes twice; others are candidates alone. Which view is the first is told by the
    order of the rows, first replica first.

    Args:
        labels: `(batch,)` or `(batch, 1)`: the image of each row.
        embeddings: `(batch, dim)`, float.
        ref_labels: Refused: it is a loss of a closed batch.
        ref_embeddings: Likewise.
        temperature: Divides the similarities, positive.
        form: `"code"` or `"paper"`.
        negative_weight: Weight of the negatives, at least 1; 1 in the paper's form.
        negative_share: Share of a row's negatives that count at all, in the
            denominator too: its most similar ones, at least one, and what is as
            similar as the last of them. The paper's ablation has one half.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`, float32 or float64: in the code's form the loss of each row, times
        batch / number of rows with a partner; in the paper's that of each row times
        batch, so that the mean is the paper's sum.

    Reference: Ye et al., 2019 (https://arxiv.org/abs/1904.03436).
    """
    _check(temperature, form, negative_weight, negative_share)
    closed_batch("invariant_spread", ref_labels, ref_embeddings)
    settings = {"normalize": True, "row_chunk": row_chunk}

    def code(pairs):
        if pairs.refs is None:
            similarity = pairs.similarity
        else:
            candidates = tf.stop_gradient(pairs.refs)
            similarity = tf.matmul(pairs.anchors, candidates, transpose_b=True)
        logits = similarity / like(temperature, similarity)
        negative = _most_similar(logits, pairs.negative, negative_share)
        if negative_weight > 1:
            more = tf.constant(math.log(negative_weight), logits.dtype)
            logits += tf.where(negative, more, tf.zeros_like(more))
        whole = log_sum_exp(logits, pairs.positive | negative)
        spread = _log_of_the_rest(
            logits, negative, pairs.positive, whole, negative_weight
        )
        loss = whole - masked_mean(logits, pairs.positive) - negative_weight * spread
        valid = tf.reduce_any(pairs.positive, axis=-1)
        return tf.where(valid, loss, tf.zeros_like(loss)), valid

    def paper(pairs):
        logits = pairs.similarity / like(temperature, pairs.similarity)
        first_views = pairs.ref_inputs[0][None, :] > 0
        own_first = pairs.row_inputs[0] > 0
        others = _most_similar(logits, pairs.negative & first_views, negative_share)
        originals = others | (first_views & (pairs.positive | pairs.itself))
        whole = log_sum_exp(logits, originals)
        invariance = whole - masked_mean(logits, pairs.positive & first_views)
        spread = _log_of_the_rest(logits, others, originals & ~others, whole, 1.0)
        loss = tf.where(own_first, -spread, invariance)
        valid = tf.reduce_any(pairs.positive, axis=-1)
        return tf.where(valid, loss, tf.zeros_like(loss))

    if form == "code":
        return over_terms(code, labels, embeddings, **settings)
    views = _first_views(labels, embeddings, row_chunk)
    losses = over_pairs(
        paper,
        labels,
        embeddings,
        row_inputs=[views],
        ref_inputs=[views],
        **settings,
    )
    _, batch = replicas.position(tf.shape(losses)[0])
    return losses * tf.cast(batch, losses.dtype)


def _most_similar(logits, negative, share):
    """Leaves the share of each row's negatives with the largest logits."""
    if share == 1:
        return negative
    values = tf.where(negative, logits, tf.fill(tf.shape(logits), logits.dtype.min))
    values = tf.stop_gradient(values)
    total = tf.reduce_sum(tf.cast(negative, tf.int32), axis=1)
    count = tf.math.ceil(tf.cast(total, logits.dtype) * like(share, logits) - 1e-4)
    last = tf.clip_by_value(tf.cast(count, tf.int32) - 1, 0, tf.shape(values)[1] - 1)
    ordered = tf.sort(values, axis=1, direction="DESCENDING")
    least = tf.gather(ordered, last[:, None], batch_dims=1)
    return negative & (values >= least)


def _log_of_the_rest(logits, negative, others, whole, weight):
    """Sums `log(1 - P[i, j])` over the negatives, `P = exp(logits - whole) / weight`.

    Only one P of a row can be over 3/4, whatever rounding does. For it 1 - P is summed
    up from all that is not it: the difference might round to 0, its logarithm to minus
    infinity.

    Args:
        logits: `(rows, refs)`; those of negatives with the logarithm of `weight`.
        negative: `(rows, refs)`, bool.
        others: `(rows, refs)`, bool: what else is in the denominator.
        whole: `(rows,)`, the logarithm of the denominator.
        weight: Number of times that a negative is in the denominator, at least 1.

    Returns:
        `(rows,)`, finite; the sum where a row has any `others`.
    """
    nothing = tf.zeros_like(logits)
    share = tf.exp(tf.where(negative, logits - whole[:, None], nothing)) / weight
    large = negative & (share > 0.75)
    small = negative & ~large
    spread = masked_sum(tf.math.log1p(-tf.where(small, share, nothing)), small)
    rest = log_sum_exp(logits, small | others)
    if weight > 1:  # and the large one itself, but once
        again = masked_sum(logits, large) + math.log1p(-1 / weight)
        rest += tf.math.softplus(again - rest)
    there = tf.reduce_any(large, axis=-1)
    return spread + tf.where(there, rest - whole, tf.zeros_like(whole))


def _first_views(labels, embeddings, row_chunk):
    """Returns 1 for each row that is the first with its label, 0 for others."""
    if isinstance(embeddings, Similarities):
        embeddings = embeddings.values
    embeddings = widen(embeddings)
    check_pairs(flat_labels(labels), embeddings)

    def rows(pairs):
        columns = tf.range(tf.shape(pairs.itself)[1])[None, :]
        last = tf.fill(tf.shape(pairs.itself), tf.int32.max)
        own = tf.reduce_min(tf.where(pairs.itself, columns, last), axis=-1)
        other = tf.reduce_min(tf.where(pairs.positive, columns, last), axis=-1)
        return tf.cast(own < other, embeddings.dtype)

    nothing = tf.zeros_like(embeddings[:, :1])
    first = over_pairs(rows, labels, nothing, normalize=False, row_chunk=row_chunk)
    return tf.stop_gradient(first)


def _check(temperature, form, negative_weight, negative_share):
    check_untrained(negative_weight=negative_weight)
    check_positive(temperature=temperature, negative_share=negative_share)
    if negative_share > 1:
        raise ValueError(
            "`negative_share` must be above 0 and at most 1. "
            f"Received: negative_share={negative_share}."
        )
    check_choice(FORMS, form=form)
    check_number(negative_weight=negative_weight)
    if negative_weight < 1 or (form == "paper" and negative_weight != 1):
        raise ValueError(
            "`negative_weight` must be at least 1, and 1 in the paper's form. "
            f"Received: negative_weight={negative_weight}, form={form!r}."
        )


@keras.utils.register_keras_serializable(package="tfembed")
class InvariantSpread(FunctionalLoss):
    """`invariant_spread` as a Keras loss.

    >>> loss = InvariantSpread(temperature=1.0)
    >>> images = [0, 1, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.0, 1.0]]
    >>> print(round(float(loss(images, embeddings)), 4))
    1.3786
    """

    function = staticmethod(invariant_spread)
    check = staticmethod(_check)
