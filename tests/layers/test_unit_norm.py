"""Unit length, safe at zero."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.layers import UnitNorm


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3)])
def test_rows_have_unit_length(shape, rng, run):
    values = rng.normal(size=shape).astype("float32")
    expected = values / np.linalg.norm(values, axis=-1, keepdims=True)
    np.testing.assert_allclose(run(UnitNorm(), tf.constant(values)), expected, 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_zero_is_safe_and_half_floats_do_not_overflow(dtype):
    keras.backend.set_floatx("float32")
    layer = UnitNorm(dtype=dtype)
    values = tf.cast([[0.0, 0.0], [300.0, 400.0]], dtype)  # 300^2 > float16's largest
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = layer(values)
        total = tf.reduce_sum(outputs)
    assert outputs.dtype == values.dtype
    np.testing.assert_allclose(
        tf.cast(outputs, "float32"), [[0, 0], [0.6, 0.8]], atol=4e-3
    )
    assert np.isfinite(tf.cast(tape.gradient(total, values), "float32")).all()


def test_gradient_is_tangential(rng):
    values = tf.constant(rng.normal(size=(6, 4)), tf.float32)
    weights = tf.constant(rng.normal(size=(6, 4)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(UnitNorm()(values) * weights)
    gradient = tape.gradient(total, values)
    np.testing.assert_allclose(tf.reduce_sum(gradient * values, 1), 0, atol=1e-5)


def test_epsilon_must_be_positive():
    with pytest.raises(ValueError, match="`epsilon` must be a positive number"):
        UnitNorm(epsilon=0)
