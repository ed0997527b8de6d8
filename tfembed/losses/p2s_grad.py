"""The gradient of similarities instead of probabilities (Zhang et al., 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.proxies import over_classes


def p2s_grad(labels: Labels, similarities: Rows, *, per_class: int = 1) -> tf.Tensor:
    """Squares what each cosine lacks: to 1 of the own class, to 0 of all others.

        loss[i] = sum{(S[i, c] - [c is labels[i]])^2 : classes c} / 2

    S is the cosine, from `tfembed.layers.Proxies`. Every row is a valid term. The paper
    gives a gradient, the cosine softmax's with the cosines in the place of the
    probabilities; it is that of this loss. There is no scale, margin or temperature.
    pytorch-metric-learning's `P2SGradLoss` takes the mean over the classes, so that the
    gradient falls with their number: 2 / classes times this.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float, cosines.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Zhang et al., 2019, equation 11 (https://arxiv.org/abs/1905.02479).
    """

    def rows(classes):
        wanted = tf.cast(classes.mask(), classes.similarity.dtype)
        return tf.reduce_sum(tf.square(classes.similarity - wanted), axis=1) / 2

    return over_classes(rows, labels, similarities, per_class=per_class)


@keras.utils.register_keras_serializable(package="tfembed")
class P2SGrad(FunctionalLoss):
    """`p2s_grad` as a Keras loss, for a model that ends in `Proxies`.

    >>> loss = P2SGrad()
    >>> print(round(float(loss([0], [[0.9, 0.5, -0.2]])), 4))
    0.15
    """

    function = staticmethod(p2s_grad)
