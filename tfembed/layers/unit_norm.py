"""Projection to the unit sphere."""

import tensorflow as tf
from tensorflow import keras


@keras.utils.register_keras_serializable(package="tfembed")
class UnitNorm(keras.layers.Layer):
    """Divides each embedding by its Euclidean length.

    Computed in float32 at least, whatever the mixed-precision policy. A zero vector
    stays zero and its gradient is finite.

    >>> UnitNorm()(tf.constant([[3.0, 4.0]])).numpy().round(2).tolist()
    [[0.6, 0.8]]

    Args:
        epsilon: Smallest squared length that is divided by.

    Call arguments:
        inputs: `(..., dim)`, float.

    Returns:
        A tensor like `inputs`, in the layer's compute dtype.
    """

    def __init__(self, epsilon=1e-12, **kwargs):
        super().__init__(**kwargs)
        if epsilon <= 0:
            raise ValueError(
                f"`epsilon` must be positive. Received: epsilon={epsilon}."
            )
        self.epsilon = epsilon
        self.supports_masking = True

    def call(self, inputs):
        inputs = tf.convert_to_tensor(inputs)
        wide = inputs if inputs.dtype == tf.float64 else tf.cast(inputs, tf.float32)
        unit = tf.math.l2_normalize(wide, axis=-1, epsilon=self.epsilon)
        return tf.cast(unit, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
