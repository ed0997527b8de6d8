"""The streamed divergence against plain softmaxes, at every chunk size."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import rounding

from tfembed.ops.streamed_divergence import streamed_divergence

SIZE, BATCH, DIM = 37, 6, 5


def plain(embeddings, others, apart, rows, temperature):
    log_p = tf.nn.log_softmax(
        tf.matmul(embeddings, rows, transpose_b=True) / temperature
    )
    log_q = tf.nn.log_softmax(tf.matmul(others, rows, transpose_b=True) / temperature)
    log_sum = tf.reduce_logsumexp(
        tf.matmul(embeddings, rows, transpose_b=True) / temperature, axis=1
    )
    divergence = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
    return log_sum, tf.where(apart, divergence, 0)


def given(scale=1.0):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(SIZE, DIM)) * scale
    embeddings, others = rng.normal(size=(2, BATCH, DIM))
    return rows, embeddings, others, rng.normal(size=(2, BATCH))


def values_and_gradient(function, embeddings, weights):
    embeddings = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        found = function(embeddings)
        total = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(found, weights)])
    return [*found, tape.gradient(total, embeddings)]


@pytest.mark.thin(3)
@pytest.mark.parametrize("chunk", [1, 7, 36, 37, 8192])
@pytest.mark.parametrize(
    ("temperature", "scale", "accuracy"),
    # Scores in the thousands have 4 digits behind the point no more in float32.
    [(0.1, 1.0, 1e-4), (5.0, 1.0, 1e-4), (0.01, 10.0, 5e-3)],
)
def test_values_and_gradient(chunk, temperature, scale, accuracy, run):
    rows, embeddings, others, weights = given(scale)
    apart = np.arange(BATCH) % 3 > 0
    bank = tf.Variable(np.float32(rows))
    expected = values_and_gradient(
        lambda e: plain(e, others, apart, rows, temperature), embeddings, weights
    )
    found = run(
        lambda e: values_and_gradient(
            lambda e: streamed_divergence(
                e, tf.constant(np.float32(others)), apart, bank, temperature, chunk
            ),
            e,
            np.float32(weights),
        ),
        np.float32(embeddings),
    )
    for a, b in zip(found, expected):
        size = np.max(np.abs(b))
        np.testing.assert_allclose(a, b, rtol=accuracy, atol=accuracy / 10 * size)


def test_nothing_apart_is_no_divergence(run):
    rows, embeddings, others, weights = given()
    bank = tf.Variable(np.float32(rows))
    weights[0] = 0
    _, divergence, gradient = run(
        lambda e: values_and_gradient(
            lambda e: streamed_divergence(
                e, np.float32(others), np.zeros(BATCH, bool), bank, 0.1
            ),
            e,
            np.float32(weights),
        ),
        np.float32(embeddings),
    )
    np.testing.assert_array_equal(divergence, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_a_row_is_not_apart_from_itself():
    rows, embeddings, _, weights = given()
    embeddings = np.float32(embeddings)
    _, divergence, gradient = values_and_gradient(
        lambda e: streamed_divergence(
            e, embeddings, np.ones(BATCH, bool), tf.Variable(np.float32(rows)), 0.1, 9
        ),
        embeddings,
        np.float32([0 * weights[0], weights[1]]),
    )
    off = rounding(embeddings, rows) / 0.1
    np.testing.assert_allclose(divergence, 0, atol=off)
    largest = np.abs(rows).max() / 0.1 * np.abs(weights[1]).max()
    np.testing.assert_allclose(gradient, 0, atol=off * largest)
