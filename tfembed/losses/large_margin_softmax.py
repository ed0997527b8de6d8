"""The large-margin softmax (Liu et al., 2016), on embeddings of any length."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.angles import cosine_of_multiple_angle
from tfembed.ops.arguments import check_count, check_not_negative, check_positive
from tfembed.ops.floats import like, widen
from tfembed.ops.proxies import check_similarities, over_classes


def large_margin_softmax(
    labels: Labels,
    similarities: Rows,
    *,
    margin: int = 4,
    annealing: Number = 0.0,
    scale: Number = 1.0,
    per_class: int = 1,
) -> tf.Tensor:
    """Softmax cross-entropy of products, the angle to the own class multiplied.

        z[i, c] = scale * w[c] . x[i], but of the row's own class y
        z[i, y] = scale * |w[y]| |x[i]| * (annealing * cos(theta) + psi(theta))
                  / (1 + annealing)
        psi(theta) = (-1)^k cos(margin * theta) - 2k,
                     k pi <= margin * theta <= (k + 1) pi

    theta is the angle of embedding x[i] and proxy w[y], both of any length. It does not
    follow from the product alone: the loss takes the products of all proxies and beside
    them the products of the lengths, which is what
    `Proxies(similarity="product_and_length")` puts out. With `normalize="proxies"`
    there, |w| = 1, it is SphereFace as in its paper (Liu et al., 2017).

    Every row is a valid term. Where a length is 0 the logit is the product as it is.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, 2 * classes * per_class)`, float: `w . x` of all proxies,
            then `|w| |x|` of all proxies.
        margin: Multiplies the angle, a positive integer; m in the paper.
        annealing: Weight of the plain cosine, at least 0; lambda in the paper, which
            starts high and falls, because training from 0 on is hard.
        scale: Multiplies all logits; 1 in the paper.
        per_class: Proxies of a class; that of the largest product stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Liu et al., 2016, equations 4 to 6 (https://arxiv.org/abs/1612.02295).
    """
    _check(margin, annealing, scale)
    wide = widen(similarities)
    check_similarities(wide)
    if wide.shape[1] % 2:
        raise ValueError(
            "`similarities` must be products and lengths, `(batch, 2 * classes * "
            'per_class)`, as from `Proxies(similarity="product_and_length")`. '
            f"Received: shape {tuple(wide.shape)}."
        )
    products, lengths = tf.split(wide, 2, axis=1)
    check_count(per_class=per_class)
    if per_class > 1 and products.shape[1] % per_class == 0:
        parts = [-1, products.shape[1] // int(per_class), int(per_class)]
        products, lengths = tf.reshape(products, parts), tf.reshape(lengths, parts)
        best = tf.argmax(products, axis=2, output_type=tf.int32)
        products = tf.gather(products, best, axis=2, batch_dims=2)
        lengths = tf.gather(lengths, best, axis=2, batch_dims=2)
        per_class = 1

    def rows(classes):
        sharpness, plain = like(scale, products), like(annealing, products)
        product, length = classes.own(products), classes.own(lengths)
        there = length > 0
        divisor = tf.where(there, length, tf.ones_like(length))
        psi = cosine_of_multiple_angle(product / divisor, int(margin))
        change = (length * psi - product) / (1 + plain)
        change = tf.where(there, change, tf.zeros_like(change))
        logits = classes.add_to_own(sharpness * products, sharpness * change)
        return classes.cross_entropy(logits)

    return over_classes(rows, labels, products, per_class=per_class)


def _check(margin, annealing, scale):
    check_count(margin=margin)
    check_not_negative(annealing=annealing)
    check_positive(scale=scale)


@keras.utils.register_keras_serializable(package="tfembed")
class LargeMarginSoftmax(FunctionalLoss):
    """`large_margin_softmax` as a Keras loss.

    >>> from tfembed.layers import Proxies
    >>> products = Proxies(num_classes=10, similarity="product_and_length")
    >>> model = keras.Sequential([keras.layers.Dense(8), products])
    >>> model.compile("sgd", loss=LargeMarginSoftmax(margin=2))
    """

    function = staticmethod(large_margin_softmax)
    check = staticmethod(_check)
