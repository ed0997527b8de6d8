"""The softmax with a temperature, on soft targets too (Hinton et al., 2015)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_choice, check_positive
from tfembed.ops.floats import like, widen
from tfembed.ops.proxies import over_classes, pooled

TARGETS = ("probabilities", "logits")


def temperature_softmax(
    labels: Labels,
    similarities: Rows,
    *,
    temperature: Number = 1.0,
    targets: str = "probabilities",
    per_class: int = 1,
) -> tf.Tensor:
    """Cross-entropy of a softened softmax with class numbers or soft targets.

        q[i] = softmax(S[i] / temperature)
        loss[i] = -sum{p[i, c] * log q[i, c] : classes c}

    p is one at the class of a row, or, where `labels` are `(batch, classes)`, the soft
    target that they give: the probabilities themselves, or a teacher's logits, and
    then `p[i] = softmax(labels[i] / temperature)`. Gradients fall with the square of
    the temperature: beside another loss, Hinton et al. multiply by it (Keras'
    `loss_weights`). Every row is a valid term.

    S may be any logits, `Proxies(similarity="product")` or cosines. The heated-up
    softmax is this loss on cosines with `TemperatureSchedule`: its code divides by a
    temperature of 1/16 and, in the last epochs, of 1/4.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`, or
            `(batch, classes)`, soft targets.
        similarities: `(batch, classes * per_class)`, float.
        temperature: Divides the similarities.
        targets: What `(batch, classes)` labels are, `"probabilities"` or `"logits"`.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64; NaN for a label that is no class.

    Reference: Hinton et al., 2015, section 2 (https://arxiv.org/abs/1503.02531); Zhang
    et al., 2018 (https://arxiv.org/abs/1809.04157).
    """
    _check(temperature, targets)
    given = tf.convert_to_tensor(labels)
    wide = widen(similarities)
    heat = like(temperature, wide)
    if given.shape.rank != 2 or given.shape[1] == 1:
        return over_classes(
            lambda classes: classes.cross_entropy(classes.similarity / heat),
            given,
            wide,
            per_class=per_class,
        )
    wide = pooled(wide, per_class)
    if not given.shape.is_compatible_with(wide.shape):
        raise ValueError(
            "`labels` must be class numbers `(batch,)`, or soft targets `(batch, "
            f"classes)`. Received: shapes {tuple(given.shape)} and, of the "
            f"similarities to classes, {tuple(wide.shape)}."
        )
    given = tf.ensure_shape(tf.cast(given, wide.dtype), wide.shape)
    if targets == "logits":
        given = tf.nn.softmax(given / heat)
    return -tf.reduce_sum(given * tf.nn.log_softmax(wide / heat), axis=1)


def _check(temperature, targets):
    check_positive(temperature=temperature)
    check_choice(TARGETS, targets=targets)


@keras.utils.register_keras_serializable(package="tfembed")
class TemperatureSoftmax(FunctionalLoss):
    """`temperature_softmax` as a Keras loss.

    >>> loss = TemperatureSoftmax(temperature=2.0, targets="logits")
    >>> teacher, student = [[4.0, 0.0, 2.0]], [[3.0, 1.0, 2.0]]
    >>> print(round(float(loss(teacher, student)), 4))
    0.8927
    """

    function = staticmethod(temperature_softmax)
    check = staticmethod(_check)
