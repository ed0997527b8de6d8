"""The supervised contrastive loss (Khosla et al., 2020)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_choice, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp, masked_count, masked_mean
from tfembed.ops.pairs import References, over_terms

FORMS = ("out", "in")


def sup_con(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    temperature: Number = 0.1,
    form: str = "out",
    base_temperature: Number | None = None,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Tells each positive of an anchor from everything else in the batch.

        p[i, j] = exp(S[i, j] / temperature) / sum{exp(S[i, k] / temperature) : k != i}

        form    loss[i]
        out     -mean{log p[i, j] : j positive}
        in      -log mean{p[i, j] : j positive}

    S is the cosine similarity: embeddings are normalised inside. A valid term is an
    anchor with at least one positive, and the mean is over these; without negatives
    it still tells its positives from each other. The official code multiplies by
    `temperature / base_temperature`, base 0.07, has a temperature of 0.07, and counts
    anchors without positives in the mean; pytorch-metric-learning leaves out of its
    mean every anchor whose loss is 0, and is 0 without a negative in the batch.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        temperature: Divides the similarities, positive.
        form: `"out"` or `"in"`: whether the mean over the positives stands outside of
            the logarithm (the paper's choice) or in it.
        base_temperature: Scales the loss by `temperature / base_temperature`; `None`
            (the paper): not at all.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the loss of each row times batch / number of anchors with a
        positive, float32 or float64.

    Reference: Khosla et al., 2020, equations 2 (out) and 3 (in)
    (https://arxiv.org/abs/2004.11362).
    """
    _check(temperature, form, base_temperature)

    def rows(pairs):
        logits = pairs.similarity / like(temperature, pairs.similarity)
        everything = log_sum_exp(logits, pairs.positive | pairs.negative)
        if form == "out":
            loss = everything - masked_mean(logits, pairs.positive)
        else:
            number = masked_count(pairs.positive, logits.dtype)
            loss = everything - log_sum_exp(logits, pairs.positive)
            loss += tf.math.log(tf.maximum(number, tf.ones_like(number)))
        if base_temperature is not None:
            loss *= like(temperature / base_temperature, loss)
        valid = tf.reduce_any(pairs.positive, axis=-1)
        return tf.where(valid, loss, tf.zeros_like(loss)), valid

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


def _check(temperature, form, base_temperature):
    check_positive(temperature=temperature)
    check_choice(FORMS, form=form)
    if base_temperature is not None:
        check_positive(base_temperature=base_temperature)


@keras.utils.register_keras_serializable(package="tfembed")
class SupCon(FunctionalLoss):
    """`sup_con` as a Keras loss.

    >>> loss = SupCon(temperature=1.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.0032
    """

    function = staticmethod(sup_con)
    check = staticmethod(_check)
