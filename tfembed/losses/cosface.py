"""The softmax with an additive cosine margin (Wang et al., 2018)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.floats import like
from tfembed.ops.proxies import over_classes


def cosface(
    labels: Labels,
    similarities: Rows,
    *,
    scale: Number = 64.0,
    margin: Number = 0.35,
    per_class: int = 1,
) -> tf.Tensor:
    """Softmax cross-entropy, the cosine of a row's own class lowered by a margin.

        z[i, c] = scale * (S[i, c] - margin * [c is labels[i]])
        loss[i] = -log softmax(z[i])[labels[i]]

    S is the cosine, from `tfembed.layers.Proxies`. Every row is a valid term.
    Wang et al. (AM-Softmax) have the same loss with a scale of 30.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float, cosines.
        scale: Multiplies the cosines; s in the paper.
        margin: Of the cosine; m in the paper.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Wang et al., 2018, equation 4 (https://arxiv.org/abs/1801.09414).
    """
    _check(scale, margin)

    def rows(classes):
        sharpness = like(scale, classes.similarity)
        change = tf.fill(
            tf.shape(classes.ids), -sharpness * like(margin, classes.similarity)
        )
        logits = classes.add_to_own(sharpness * classes.similarity, change)
        return classes.cross_entropy(logits)

    return over_classes(rows, labels, similarities, per_class=per_class)


def _check(scale, margin):
    check_positive(scale=scale)
    check_number(margin=margin)


@keras.utils.register_keras_serializable(package="tfembed")
class CosFace(FunctionalLoss):
    """`cosface` as a Keras loss, for a model that ends in `Proxies`.

    >>> loss = CosFace(scale=10.0, margin=0.35)
    >>> print(round(float(loss([0], [[0.9, 0.5, -0.2]])), 4))
    0.4744
    """

    function = staticmethod(cosface)
    check = staticmethod(_check)
