"""The normalised softmax with a temperature (Zhai and Wu, 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_positive
from tfembed.ops.floats import like
from tfembed.ops.proxies import over_classes


def norm_softmax(
    labels: Labels,
    similarities: Rows,
    *,
    temperature: Number = 0.05,
    per_class: int = 1,
) -> tf.Tensor:
    """Softmax cross-entropy of cosines to one proxy a class, over a temperature.

        loss[i] = -log softmax(S[i] / temperature)[labels[i]]

    S is what `tfembed.layers.Proxies` puts out, the cosine. Every row is a valid term.
    pytorch-metric-learning calls it `NormalizedSoftmaxLoss`.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float.
        temperature: Divides the similarities; sigma in the paper.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Zhai and Wu, 2019, section 3 (https://arxiv.org/abs/1811.12649).
    """
    _check(temperature)

    def rows(classes):
        sigma = like(temperature, classes.similarity)
        return classes.cross_entropy(classes.similarity / sigma)

    return over_classes(rows, labels, similarities, per_class=per_class)


def _check(temperature):
    check_positive(temperature=temperature)


@keras.utils.register_keras_serializable(package="tfembed")
class NormSoftmax(FunctionalLoss):
    """`norm_softmax` as a Keras loss, for a model that ends in `Proxies`.

    >>> from tfembed.layers import Proxies
    >>> model = keras.Sequential([keras.layers.Dense(8), Proxies(num_classes=10)])
    >>> model.compile("sgd", loss=NormSoftmax())
    """

    function = staticmethod(norm_softmax)
    check = staticmethod(_check)
