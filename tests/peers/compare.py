"""What the comparisons with other libraries share."""

import numpy as np
import tensorflow as tf


def value_and_gradients(function, *arrays):
    """Returns a function's scalar value, and its gradient by each array."""
    arrays = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        value = function(*arrays)
    gradients = tape.gradient(value, arrays)
    return [value.numpy(), *[tf.convert_to_tensor(g).numpy() for g in gradients]]


def check_equal(ours, theirs, x, **close):
    """Compares two functions of embeddings: value and gradient."""
    for one, other in zip(value_and_gradients(ours, x), value_and_gradients(theirs, x)):
        np.testing.assert_allclose(one, other, **close)


def batch(seed, sizes=(5, 4, 3, 2, 2), unit=False):
    """Returns labels, int32, and embeddings, float32, about 1 long or exactly."""
    rng = np.random.default_rng(seed)
    labels = np.int32(rng.permutation(np.repeat(np.arange(len(sizes)), sizes)))
    x = rng.normal(size=(len(labels), 6)) / np.sqrt(6)
    if unit:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return labels, np.float32(x)
