"""Sums of recomputed steps: value and gradient as without recomputing."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.recompute import sum_of_steps


@pytest.mark.parametrize("jit", [None, False, True])
def test_one_tensor_may_be_several_inputs(jit):
    x = tf.constant([0.5, -1.5, 2.0])

    def step(i, a, b):
        return [tf.cast(i + 1, a.dtype) * a * tf.square(b)]

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            (total,) = sum_of_steps(step, 3, [tf.zeros_like(x)], [x, x])
        return tape.gradient(total, x)

    gradient = gradient if jit is None else tf.function(gradient, jit_compile=jit)
    np.testing.assert_allclose(gradient(x), 6 * 3 * np.square(x), rtol=1e-6)
