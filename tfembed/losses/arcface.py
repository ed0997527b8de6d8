"""The softmax with an additive angular margin (Deng et al., 2019)."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.angles import BEYOND_PI, cosine_of_wider_angle
from tfembed.ops.arguments import (
    check_choice,
    check_number,
    check_positive,
    check_untrained,
)
from tfembed.ops.floats import like
from tfembed.ops.proxies import over_classes


def arcface(
    labels: Labels,
    similarities: Rows,
    *,
    scale: Number = 64.0,
    margin: Number = 0.5,
    beyond_pi: str = "shifted",
    per_class: int = 1,
) -> tf.Tensor:
    """Softmax cross-entropy, the angle to a row's own class widened by a margin.

        z[i, c] = scale * S[i, c], but of the row's own class y
        z[i, y] = scale * cos(theta + margin), theta = arccos(S[i, y])

    S is the cosine, from `tfembed.layers.Proxies`. Every row is a valid term. The
    formula grows again where theta + margin passes pi: further away would be better.
    There the authors' code, and so the default, `"shifted"`, goes on with
    `cos(theta) - margin * sin(margin)`; `beyond_pi="formula"` leaves the formula.

    No arc cosine is taken: `cos(theta + margin)` is a sum of products, and its
    gradient is finite, at a cosine of 1 and -1 too, where the angle's is not. With
    `per_class` above 1 it is the sub-center ArcFace of Deng et al., 2020.
    pytorch-metric-learning takes the margin in degrees, 28.6.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float, cosines.
        scale: Multiplies the cosines; s in the paper.
        margin: Added to the angle, in radians, from 0 to pi / 2; m in the paper.
        beyond_pi: `"shifted"` or `"formula"`.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Deng et al., 2019, equation 3 (https://arxiv.org/abs/1801.07698).
    """
    _check(scale, margin, beyond_pi)

    def rows(classes):
        sharpness = like(scale, classes.similarity)
        cosine = classes.own(classes.similarity)
        change = cosine_of_wider_angle(cosine, margin, beyond_pi) - cosine
        logits = classes.add_to_own(sharpness * classes.similarity, sharpness * change)
        return classes.cross_entropy(logits)

    return over_classes(rows, labels, similarities, per_class=per_class)


def _check(scale, margin, beyond_pi):
    check_positive(scale=scale)
    check_untrained(margin=margin)
    check_number(margin=margin)
    if not 0 <= margin <= math.pi / 2:
        raise ValueError(
            "`margin` must be an angle in radians, from 0 to pi / 2. "
            f"Received: margin={margin!r}."
        )
    check_choice(BEYOND_PI, beyond_pi=beyond_pi)


@keras.utils.register_keras_serializable(package="tfembed")
class ArcFace(FunctionalLoss):
    """`arcface` as a Keras loss, for a model that ends in `Proxies`.

    >>> loss = ArcFace(scale=10.0, margin=0.5)
    >>> print(round(float(loss([0], [[0.9, 0.5, -0.2]])), 4))
    0.3688
    """

    function = staticmethod(arcface)
    check = staticmethod(_check)
