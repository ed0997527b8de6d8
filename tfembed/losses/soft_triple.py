"""SoftTriple (Qian et al., 2019): several proxies a class, weighed softly."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.floats import like
from tfembed.ops.proxies import over_classes


def soft_triple(
    labels: Labels,
    similarities: Rows,
    *,
    per_class: int = 10,
    scale: Number = 20.0,
    gamma: Number = 0.1,
    margin: Number = 0.01,
) -> tf.Tensor:
    """Softmax cross-entropy of similarities to classes with several centres.

        class[i, c] = sum{softmax(S[i, c, :] / gamma)[k] * S[i, c, k] : centres k}
        z[i, c] = scale * (class[i, c] - margin * [c is labels[i]])
        loss[i] = -log softmax(z[i])[labels[i]]

    S is the cosine, from `tfembed.layers.Proxies` with the same `per_class`. Every row
    is a valid term. The paper's regulariser, which draws the centres of a class
    together until few are left, is one of proxies: `Proxies(merge=0.2)`.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float, cosines.
        per_class: Centres of a class; K in the paper.
        scale: Multiplies the similarities; lambda in the paper.
        gamma: Temperature of the weights of a class's centres.
        margin: Of the similarity to the own class; delta in the paper.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Qian et al., 2019, equation 7 (https://arxiv.org/abs/1909.05235).
    """
    _check(scale, gamma, margin)

    def pool(parts):
        weights = tf.nn.softmax(parts / like(gamma, parts), axis=2)
        return tf.reduce_sum(weights * parts, axis=2)

    def rows(classes):
        sharpness = like(scale, classes.similarity)
        change = tf.fill(
            tf.shape(classes.ids), -sharpness * like(margin, classes.similarity)
        )
        logits = classes.add_to_own(sharpness * classes.similarity, change)
        return classes.cross_entropy(logits)

    return over_classes(rows, labels, similarities, per_class=per_class, pool=pool)


def _check(scale, gamma, margin):
    check_positive(scale=scale, gamma=gamma)
    check_number(margin=margin)


@keras.utils.register_keras_serializable(package="tfembed")
class SoftTriple(FunctionalLoss):
    """`soft_triple` as a Keras loss, for a model that ends in `Proxies`.

    >>> from tfembed.layers import Proxies
    >>> centres = Proxies(num_classes=10, per_class=5, merge=0.2)
    >>> model = keras.Sequential([keras.layers.Dense(8), centres])
    >>> model.compile("sgd", loss=SoftTriple(per_class=5))
    """

    function = staticmethod(soft_triple)
    check = staticmethod(_check)
