"""The softmax with a multiplied angle, on the sphere (Liu et al., 2017)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.angles import cosine_of_multiple_angle
from tfembed.ops.arguments import check_count, check_not_negative, check_positive
from tfembed.ops.floats import like
from tfembed.ops.proxies import over_classes


def sphereface(
    labels: Labels,
    similarities: Rows,
    *,
    scale: Number = 30.0,
    margin: int = 4,
    annealing: Number = 0.0,
    per_class: int = 1,
) -> tf.Tensor:
    """Softmax cross-entropy, the angle to a row's own class multiplied by a margin.

        z[i, c] = scale * S[i, c], but of the row's own class y
        z[i, y] = scale * (annealing * S[i, y] + psi(theta)) / (1 + annealing)
        psi(theta) = (-1)^k cos(margin * theta) - 2k,
                     k pi <= margin * theta <= (k + 1) pi, theta = arccos(S[i, y])

    S is the cosine, from `tfembed.layers.Proxies`. Every row is a valid term. psi falls
    from 1 at theta = 0 to 1 - 2 * margin at pi; it is computed as a polynomial of the
    cosine, so that its gradient is finite everywhere.

    The paper multiplies by the embedding's length where here a fixed `scale` stands,
    as in CosFace and ArcFace. Its own form, and that of pytorch-metric-learning's
    `SphereFaceLoss`, is `LargeMarginSoftmax` on
    `Proxies(similarity="product_and_length", normalize="proxies")`.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float, cosines.
        scale: Multiplies the cosines.
        margin: Multiplies the angle, a positive integer; m in the paper.
        annealing: Weight of the plain cosine, at least 0; lambda in Liu et al., 2016,
            which starts high and falls, because training from 0 on is hard.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Liu et al., 2017, equation 7 (https://arxiv.org/abs/1704.08063).
    """
    _check(scale, margin, annealing)

    def rows(classes):
        sharpness, plain = (
            like(scale, classes.similarity),
            like(annealing, classes.similarity),
        )
        cosine = classes.own(classes.similarity)
        change = cosine_of_multiple_angle(cosine, int(margin)) - cosine
        logits = classes.add_to_own(
            sharpness * classes.similarity, sharpness * change / (1 + plain)
        )
        return classes.cross_entropy(logits)

    return over_classes(rows, labels, similarities, per_class=per_class)


def _check(scale, margin, annealing):
    check_positive(scale=scale)
    check_count(margin=margin)
    check_not_negative(annealing=annealing)


@keras.utils.register_keras_serializable(package="tfembed")
class SphereFace(FunctionalLoss):
    """`sphereface` as a Keras loss, for a model that ends in `Proxies`.

    >>> loss = SphereFace(scale=10.0, margin=2)
    >>> print(round(float(loss([0], [[0.9, 0.5, -0.2]])), 4))
    0.2635
    """

    function = staticmethod(sphereface)
    check = staticmethod(_check)
