"""The streamed softmax against the plain one, at every chunk size."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import rounding

from tfembed.ops.streamed_softmax import streamed_softmax, trained_softmax


def plain(embeddings, rows, ids, temperature):
    """The plain loss, in float64 whatever it is given."""
    embeddings, rows = tf.cast(embeddings, tf.float64), tf.cast(rows, tf.float64)
    logits = tf.matmul(embeddings, rows, transpose_b=True) / temperature
    return tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)


def setup(scale=1.0, size=37, batch=6, dim=5):
    rng = np.random.default_rng(0)
    rows = tf.constant(rng.normal(size=(size, dim)) * scale, tf.float32)
    embeddings = tf.constant(rng.normal(size=(batch, dim)), tf.float32)
    weights = tf.constant(rng.normal(size=batch), tf.float32)
    return rows, embeddings, tf.constant([0, size - 1, 3, 3, 4, 5], tf.int64), weights


@pytest.mark.thin(3)
@pytest.mark.parametrize("chunk", [1, 7, 36, 37, 38, 8192])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 5.0])
@pytest.mark.parametrize("trained", [False, True])
def test_loss_and_gradients(chunk, temperature, trained, run):
    rows, embeddings, ids, weights = setup()
    of_each = tf.cast(weights, tf.float64)
    bank = tf.Variable(rows, trainable=trained)

    def gradients(function):
        def call(embeddings):
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                losses = function(embeddings)
                total = tf.reduce_sum(tf.cast(losses, tf.float64) * of_each)
            sources = [embeddings, bank] if trained else [embeddings]
            return losses, tape.gradient(total, sources)

        return call

    streamed = trained_softmax if trained else streamed_softmax
    expected = gradients(lambda e: plain(e, tf.identity(bank), ids, temperature))
    found = run(
        gradients(lambda e: streamed(e, bank, ids, temperature, chunk)), embeddings
    )
    assert_close(found, expected(embeddings), embeddings, rows, temperature, weights)


def assert_close(found, wanted, embeddings, rows, temperature, weights):
    """Compares losses and gradients, in units of what stands in their sums.

    A loss is off by as much as a score is, a probability by that share of itself.
    """
    off = max(rounding(embeddings, rows) / temperature, 1e-6)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=off)
    largest = max(np.abs(rows).max(), np.abs(embeddings).max()) / temperature
    off *= float(largest * np.abs(weights).max())
    for a, b in zip(tf.nest.flatten(found[1]), tf.nest.flatten(wanted[1])):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=off)


def test_the_bank_takes_no_gradient():
    rows, embeddings, ids, _ = setup()
    bank = tf.Variable(rows)
    with tf.GradientTape() as tape:
        loss = streamed_softmax(embeddings, bank, ids, 0.1)
    assert tape.gradient(loss, bank) is None


def test_large_scores_stay_finite():
    rows, embeddings, ids, _ = setup(scale=1e4)
    loss = streamed_softmax(embeddings, tf.Variable(rows), ids, 0.01, chunk=8)
    off = rounding(embeddings, rows) / 0.01
    expected = plain(embeddings, rows, ids, 0.01)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=off)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("step", [1.0, 45.0, 500.0])
def test_chunks_that_dwarf_each_other(order, step, run):
    """Scores that grow, or shrink, by `step` a chunk, far past float32's exp."""
    rows, embeddings, ids, weights = setup()
    of_each = tf.cast(weights, tf.float64)
    level = tf.range(len(rows), dtype=tf.float32)[:, None] // 8 * step
    rows = tf.concat([rows, level[::order]], axis=1)
    embeddings = tf.concat([embeddings, tf.ones([6, 1])], axis=1)
    bank = tf.Variable(rows)

    def gradient(function):
        def call(embeddings):
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                losses = function(embeddings)
                total = tf.reduce_sum(tf.cast(losses, tf.float64) * of_each)
            return losses, tape.gradient(total, embeddings)

        return call

    found = run(
        gradient(lambda e: streamed_softmax(e, bank, ids, 1.0, chunk=8)), embeddings
    )
    expected = gradient(lambda e: plain(e, rows, ids, 1.0))(embeddings)
    assert_close(found, expected, embeddings, rows, 1.0, weights)


def test_compiled_by_xla():
    rows, embeddings, ids, _ = setup()
    bank = tf.Variable(rows)
    function = tf.function(
        lambda e: streamed_softmax(e, bank, ids, 0.02, chunk=8), jit_compile=True
    )
    expected = plain(embeddings, rows, ids, 0.02)
    off = rounding(embeddings, rows) / 0.02
    np.testing.assert_allclose(function(embeddings), expected, rtol=1e-5, atol=off)


def test_no_batch_by_size_tensor_in_the_graph():
    size, batch = 1000, 4
    bank = tf.Variable(tf.zeros([size, 3]))

    @tf.function
    def step(embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = streamed_softmax(
                embeddings, bank, tf.zeros([batch], tf.int64), 0.1, chunk=64
            )
        return tape.gradient(loss, embeddings)

    graph = step.get_concrete_function(tf.TensorSpec([batch, 3])).graph
    graphs = (
        [graph, *(each.graph for each in graph._functions.values())]
        if hasattr(graph, "_functions")
        else [graph]
    )
    for each in graphs:
        for op in each.get_operations():
            for output in op.outputs:
                assert output.shape.rank is None or size not in output.shape.as_list()
