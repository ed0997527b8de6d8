"""Projection to the unit sphere."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.ops.arguments import check_positive
from tfembed.ops.floats import widen
from tfembed.ops.unit_rows import EPSILON, unit_rows


@keras.utils.register_keras_serializable(package="tfembed")
class UnitNorm(keras.layers.Layer):
    """Divides each embedding by its Euclidean length.

    Computed in float32 at least, whatever the mixed-precision policy. A zero vector
    stays zero, and its gradient is zero.

    >>> print(UnitNorm()(tf.constant([[3.0, 4.0]])).numpy())
    [[0.6 0.8]]

    Args:
        epsilon: Squared length up to which a vector counts as zero.

    Call arguments:
        inputs: `(..., dim)`, float.

    Returns:
        A tensor like `inputs`, in the layer's compute dtype.
    """

    def __init__(self, epsilon: float = EPSILON, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(epsilon=epsilon)
        self.epsilon = epsilon
        self.supports_masking = True

    def call(self, inputs: Any) -> tf.Tensor:
        inputs = tf.convert_to_tensor(inputs)
        return tf.cast(unit_rows(widen(inputs), self.epsilon), inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}
