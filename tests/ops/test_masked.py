"""Masked log-sum-exps: values, gradients, rows with nothing, and what is masked out."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.masked import log1p_sum_exp, log_sum_exp


def both(function, logits, mask):
    """The values, and the gradient of their sum with weights 1, 2, 3, ..."""
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = function(logits, mask)
        weights = tf.range(1, 1 + len(values), dtype=tf.int32)
        total = tf.reduce_sum(values * tf.cast(weights, values.dtype))
    return values.numpy(), tape.gradient(total, logits).numpy()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("function, one", [(log_sum_exp, 0), (log1p_sum_exp, 1)])
def test_by_numpy(function, one, scale, jit):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 7)) * scale
    mask = rng.random((5, 7)) < 0.6
    mask[2] = False
    logits[3, :2], mask[3, :2] = [np.nan, np.inf], False
    compiled = tf.function(function, jit_compile=jit)
    values, gradient = both(compiled, logits, mask)
    for i in range(5):
        kept = [*logits[i][mask[i]], *[0.0] * one]
        top = max(kept, default=0)
        total = sum(np.exp(np.array(kept) - top))
        np.testing.assert_allclose(
            values[i], np.log(total) + top if kept else 0, rtol=1e-12, atol=1e-12
        )
        for j in range(7):
            share = np.exp(logits[i, j] - top) / total if mask[i, j] else 0
            np.testing.assert_allclose(gradient[i, j], (i + 1) * share, atol=1e-12)


def test_rows_with_nothing_have_a_value_to_choose():
    mask = np.array([[False, False], [True, False]])
    values, gradient = both(
        lambda logits, mask: log_sum_exp(logits, mask, empty=-5.0),
        np.ones((2, 2)),
        mask,
    )
    np.testing.assert_array_equal(values, [-5, 1])
    np.testing.assert_array_equal(gradient, [[0, 0], [2, 0]])


@pytest.mark.parametrize("function", [log_sum_exp, log1p_sum_exp])
def test_what_is_not_a_number_shows(function):
    values, _ = both(function, np.array([[np.nan, 1.0]]), np.array([[True, True]]))
    assert np.isnan(values).all()


@pytest.mark.parametrize("function", [log_sum_exp, log1p_sum_exp])
def test_second_derivatives(function):
    logits = tf.constant([[0.3, -1.0, 2.0]], tf.float64)
    mask = tf.constant([[True, True, False]])

    def gradient(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = function(logits, mask)
        return tape.gradient(value, logits)

    with tf.GradientTape() as tape:
        tape.watch(logits)
        first = gradient(logits)[0, 0]
    second = tape.gradient(first, logits).numpy()
    step = tf.constant([[0.0, 1e-6, 0.0]], tf.float64)
    numeric = (gradient(logits + step) - gradient(logits - step))[0, 0] / 2e-6
    np.testing.assert_allclose(second[0, 1], numeric, rtol=1e-6)
