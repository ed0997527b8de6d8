"""Projection to the unit sphere."""

import tensorflow as tf
from tensorflow import keras


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
        squared = tf.reduce_sum(wide * wide, axis=-1, keepdims=True)
        sound = squared > self.epsilon
        scale = tf.math.rsqrt(tf.where(sound, squared, 1.0))
        return tf.cast(wide * tf.where(sound, scale, 0.0), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
