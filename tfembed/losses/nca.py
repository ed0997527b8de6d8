"""Neighbourhood components analysis (Goldberger et al., 2004)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_choice, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp
from tfembed.ops.pairs import References, over_terms

FORMS = ("log", "expected")


def nca(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    temperature: Number = 1.0,
    form: str = "log",
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Makes a stochastic nearest neighbour of each anchor have its label.

        e[i, j] = exp(-D[i, j]^2 / temperature)
        p[i] = sum{e[i, j] : j positive} / sum{e[i, j] : j != i}

        form        loss[i]
        log         -log p[i]
        expected    1 - p[i]

    D is the Euclidean distance. A valid term is an anchor with a positive, and the
    mean is over these; without negatives it is 0. The paper maximises the sum of
    p[i], and names that of log p[i] as the alternative, which is what deep networks
    are trained with. pytorch-metric-learning normalises by default; its
    `softmax_scale` is 1 / temperature.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        temperature: Divides the squared distances, positive.
        form: `"log"` or `"expected"` (the share of wrong neighbours to expect).
        normalize: Whether embeddings are divided by their length first.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the loss of each row times batch / number of anchors with a
        positive, float32 or float64.

    Reference: Goldberger et al., Neighbourhood Components Analysis, 2004, section 2.
    """
    _check(temperature, form)

    def rows(pairs):
        logits = -pairs.squared_distance
        logits /= like(temperature, logits)
        odds = log_sum_exp(logits, pairs.negative) - log_sum_exp(logits, pairs.positive)
        cost = tf.math.softplus(odds) if form == "log" else tf.math.sigmoid(odds)
        positive = tf.reduce_any(pairs.positive, axis=-1)
        wrong = positive & tf.reduce_any(pairs.negative, axis=-1)
        return tf.where(wrong, cost, tf.zeros_like(cost)), positive

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


def _check(temperature, form):
    check_positive(temperature=temperature)
    check_choice(FORMS, form=form)


@keras.utils.register_keras_serializable(package="tfembed")
class NCA(FunctionalLoss):
    """`nca` as a Keras loss.

    >>> loss = NCA()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.5032
    """

    function = staticmethod(nca)
    check = staticmethod(_check)
