"""Proxy-NCA (Movshovitz-Attias et al., 2017) and its form as a softmax."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_fraction, check_number, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp
from tfembed.ops.proxies import over_classes


def proxy_nca(
    labels: Labels,
    similarities: Rows,
    *,
    scale: Number = 18.0,
    positive_in_denominator: bool = False,
    label_smoothing: Number = 0.0,
    margin: Number = 0.0,
    per_class: int = 1,
) -> tf.Tensor:
    """Draws each row to its class's proxy and away from all others'.

        z[i, c] = scale * (S[i, c] - margin * [c is labels[i]])
        loss[i] = -sum{t[c] * z[i, c] : classes c} + log(sum{exp(z[i, c]) : c})

    t is 1 at the row's own class; with label smoothing 1 - label_smoothing, and an
    equal share of the rest at each other class. The second sum leaves the row's own
    class out, which is the paper's loss: it can be negative, and has no lower bound.
    With `positive_in_denominator=True` it runs over all classes, and the loss is a
    cross-entropy; the widely used re-implementations have it so, with a smoothing of
    0.1. The margin matters only there: without, it adds a constant.

    S is the cosine, or `Proxies(similarity="negative_squared_distance")`: as -D^2 =
    2 S - 2 of unit vectors, distances with half the scale give the same loss. Vectors
    of lengths s_x and s_p, as the re-implementations put it, are a scale of
    2 * s_x * s_p: the default is lengths of 3, the paper's unit vectors are 2.

    Every row is a valid term; with one class alone there is none, and the loss is 0.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float.
        scale: Multiplies the similarities.
        positive_in_denominator: Whether the own class is part of the sum.
        label_smoothing: Share of the target that goes to the other classes.
        margin: Taken from the similarity to the own class.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Movshovitz-Attias et al., 2017, equation 4
    (https://arxiv.org/abs/1703.07464).
    """
    _check(scale, label_smoothing, margin)

    def rows(classes):
        others = classes.count - 1
        if not others:
            return 0 * classes.similarity[:, 0]
        sharpness = like(scale, classes.similarity)
        change = tf.fill(
            tf.shape(classes.ids), -sharpness * like(margin, classes.similarity)
        )
        logits = classes.add_to_own(sharpness * classes.similarity, change)
        own = classes.own(logits)
        if positive_in_denominator:
            losses = classes.cross_entropy(logits)
        else:
            losses = log_sum_exp(logits, ~classes.mask()) - own
        if isinstance(label_smoothing, (int, float)) and not label_smoothing:
            return losses
        mean_of_others = (tf.reduce_sum(logits, axis=1) - own) / others
        return losses + like(label_smoothing, classes.similarity) * (
            own - mean_of_others
        )

    return over_classes(rows, labels, similarities, per_class=per_class)


def _check(scale, label_smoothing, margin):
    check_positive(scale=scale)
    check_fraction(label_smoothing=label_smoothing)
    check_number(margin=margin)


@keras.utils.register_keras_serializable(package="tfembed")
class ProxyNCA(FunctionalLoss):
    """`proxy_nca` as a Keras loss, for a model that ends in `Proxies`.

    >>> loss = ProxyNCA(scale=2.0)
    >>> print(round(float(loss([0], [[0.9, 0.5, -0.2]])), 4))
    -0.5796
    """

    function = staticmethod(proxy_nca)
    check = staticmethod(_check)
