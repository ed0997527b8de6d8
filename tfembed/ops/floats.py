"""Half floats are widened before anything is summed up."""

import tensorflow as tf


def widen(tensor):
    """Returns a float tensor as float32 at least; float64 stays float64."""
    tensor = tf.convert_to_tensor(tensor)
    if tensor.dtype in (tf.float32, tf.float64):
        return tensor
    return tf.cast(tensor, tf.float32)


def like(value, tensor):
    """Returns a hyperparameter, a number, tensor or variable, in a tensor's dtype."""
    if tf.is_tensor(value) or isinstance(value, tf.Variable):
        return tf.cast(value, tensor.dtype)
    return tf.constant(value, tensor.dtype)
