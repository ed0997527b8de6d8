"""Half floats are widened before anything is summed up."""

import tensorflow as tf


def widen(tensor):
    """Returns a float tensor as float32 at least; float64 stays float64."""
    tensor = tf.convert_to_tensor(tensor)
    if tensor.dtype in (tf.float32, tf.float64):
        return tensor
    return tf.cast(tensor, tf.float32)
