"""Generalised-mean pooling of a feature map (GeM)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.ops.arguments import check_positive
from tfembed.ops.floats import widen


@keras.utils.register_keras_serializable(package="tfembed")
class GeneralizedMean(keras.layers.Layer):
    """The p-mean of each feature over the image, with a trained p.

        y_c = (mean over the image of max(x_c, floor)^p)^(1/p)

    p = 1 is the average of a map without negative values, p towards infinity its
    maximum. Computed in float32 at least. Radenovic et al. 2018, equation 3, with one p
    for all features (https://arxiv.org/abs/1711.02512).

    Args:
        power: p at the beginning, 3 in the paper.
        floor: Values count at least as much, so that every power can be taken.

    Call arguments:
        inputs: `(batch, height, width, features)`, float.

    Returns:
        `(batch, features)`, in the layer's compute dtype.
    """

    def __init__(self, power: float = 3.0, floor: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(power=power, floor=floor)
        self.power, self.floor = float(power), float(floor)

    def build(self, input_shape: Any) -> None:
        initializer = keras.initializers.Constant(self.power)
        self.exponent = compat.add_float32_weight(self, "exponent", (), initializer)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        inputs = tf.convert_to_tensor(inputs)
        x = tf.maximum(widen(inputs), self.floor)
        power = tf.cast(compat.variable(self.exponent), x.dtype)
        # Relative to the largest value, so that no power runs over.
        largest = tf.stop_gradient(tf.reduce_max(x, axis=(1, 2), keepdims=True))
        mean = tf.reduce_mean(tf.pow(x / largest, power), axis=(1, 2))
        pooled = tf.squeeze(largest, (1, 2)) * tf.pow(mean, 1 / power)
        return tf.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": self.power, "floor": self.floor}
