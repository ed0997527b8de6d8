"""The ranked list loss (Wang et al., 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_fraction, check_not_negative, check_number
from tfembed.ops.masked import masked_max
from tfembed.ops.pairs import References, over_pairs


def ranked_list(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    alpha: Number = 1.2,
    margin: Number = 0.4,
    positive_temperature: Number = 0.0,
    negative_temperature: Number = 10.0,
    balance: Number = 0.5,
    stop_gradient_weights: bool = True,
    normalize: bool = True,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Keeps positives within one sphere around the anchor, negatives out of a wider.

        P = {j positive : D[i, j] > alpha - margin},  N = {j negative : D[i, j] < alpha}

        pull[i] = mean{D[i, j] - (alpha - margin) : j in P},
                  weighted by exp(positive_temperature * D[i, j])
        push[i] = mean{alpha - D[i, j] : j in N},
                  weighted by exp(-negative_temperature * D[i, j])
        loss[i] = (1 - balance) * pull[i] + balance * push[i]

    D is the Euclidean distance of normalised embeddings (`normalize=False` takes them
    as they are). A valid term is a pair in P or in N: a row without any has loss 0;
    the mean is over all rows. The weights are constants to the gradient, as in the
    paper; in pytorch-metric-learning they are not, and each pair of the batch adds
    1e-5 to the sum of weights that it divides by.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        alpha: Distance from where on a negative costs nothing.
        margin: By how much less a positive must have to cost nothing.
        positive_temperature: How much more far positives weigh, at least 0; 0: all
            the same.
        negative_temperature: How much more near negatives weigh, at least 0.
        balance: Weight of the negatives' side, 0 to 1.
        stop_gradient_weights: Whether the gradient takes the weights as constants.
        normalize: Whether embeddings are divided by their length first.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`, the loss of each row, float32 or float64.

    Reference: Wang et al., 2019 (https://arxiv.org/abs/1903.03238).
    """
    settings = alpha, margin, positive_temperature, negative_temperature, balance
    _check(*settings)

    def rows(pairs):
        distance = pairs.distance
        fixed = tf.stop_gradient(distance) if stop_gradient_weights else distance

        def weighted_mean(excess, temperature, kind):
            kept = kind & (excess > 0)
            weight = tf.cast(kept, excess.dtype)
            if tf.is_tensor(temperature) or temperature != 0:
                # Not cut at 0: the largest less itself may be a rounding above, once
                # a compiler fuses the two, and a cut would take its gradient away.
                exponent = temperature * fixed
                largest = tf.stop_gradient(masked_max(exponent, kept))
                below = tf.where(kept, exponent - largest[:, None], 0)
                weight *= tf.exp(below)
            weighted = tf.math.multiply_no_nan(excess, weight)
            return tf.math.divide_no_nan(
                tf.reduce_sum(weighted, axis=1), tf.reduce_sum(weight, axis=1)
            )

        pull = weighted_mean(
            distance - (alpha - margin), positive_temperature, pairs.positive
        )
        push = weighted_mean(alpha - distance, -negative_temperature, pairs.negative)
        return (1 - balance) * pull + balance * push

    return over_pairs(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
        row_chunk=row_chunk,
    )


def _check(alpha, margin, positive_temperature, negative_temperature, balance):
    check_number(alpha=alpha, margin=margin)
    check_not_negative(
        positive_temperature=positive_temperature,
        negative_temperature=negative_temperature,
    )
    check_fraction(balance=balance)


@keras.utils.register_keras_serializable(package="tfembed")
class RankedList(FunctionalLoss):
    """`ranked_list` as a Keras loss.

    >>> loss = RankedList()
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.4419
    """

    function = staticmethod(ranked_list)
    check = staticmethod(_check)
