"""Classes as numbers, and rows by number."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.classes import class_numbers, pick_rows


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "float64"])
@pytest.mark.parametrize("jit", [False, True])
def test_class_numbers_are_those_of_unique(dtype, jit):
    labels = np.random.default_rng(3).choice([0, 3, 7, 8, 200], 40).astype(dtype)
    numbers, classes = tf.function(class_numbers, jit_compile=jit)(tf.constant(labels))
    unique, expected = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(numbers, expected)
    assert numbers.dtype == tf.int32 and classes == len(unique)


def test_class_numbers_of_few():
    for labels, expected in [([], 0), ([-5], 1), ([-5, -5], 1), ([2, -2], 2)]:
        numbers, classes = class_numbers(tf.constant(labels, tf.int64))
        assert numbers.shape == (len(labels),) and classes == expected
    large = tf.constant([2**62 + 1, -(2**62), 2**62])
    np.testing.assert_array_equal(class_numbers(large)[0], [2, 0, 1])


def test_pick_rows_has_a_dense_gradient():
    values = tf.constant(np.random.default_rng(0).normal(size=(4, 3)))
    index = tf.constant([2, 0, 2])
    with tf.GradientTape() as tape:
        tape.watch(values)
        picked = pick_rows(values, index)
    np.testing.assert_array_equal(picked, values.numpy()[[2, 0, 2]])
    weights = np.arange(9.0).reshape(3, 3)
    gradient = tape.gradient(picked, values, output_gradients=tf.constant(weights))
    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_array_equal(
        gradient, [weights[1], np.zeros(3), weights[0] + weights[2], np.zeros(3)]
    )
