"""Scores against drawn rows, and their readout, against float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.sampled_scores import (
    attach_gradient,
    sampled_readout,
    sampled_scores,
)

SIZE, DIM = 11, 4


def arrays(batch, m):
    rng = np.random.default_rng(batch + m)
    bank = rng.normal(size=(SIZE, DIM)).astype("float32")
    embeddings = rng.normal(size=(batch, DIM)).astype("float32")
    drawn = rng.integers(SIZE, size=(batch, m))
    return bank, embeddings, drawn, rng.normal(size=(batch, m)).astype("float32")


@pytest.mark.thin(3)
@pytest.mark.parametrize("batch", [1, 6, 7])
@pytest.mark.parametrize("m", [1, 3, DIM])
@pytest.mark.parametrize("chunk", [1, 6, 9, 4096])
def test_scores_and_readout(batch, m, chunk, run):
    bank, embeddings, drawn, weights = arrays(batch, m)
    variable = tf.Variable(bank)
    rows = np.float64(bank)[drawn]
    scores = run(
        lambda e: sampled_scores(e, variable, tf.constant(drawn), chunk),
        tf.constant(embeddings),
    )
    np.testing.assert_allclose(
        scores, np.einsum("bmd,bd->bm", rows, embeddings), rtol=1e-5, atol=1e-5
    )
    readout = run(
        lambda w: sampled_readout(w, variable, tf.constant(drawn), chunk),
        tf.constant(weights),
    )
    np.testing.assert_allclose(
        readout, np.einsum("bmd,bm->bd", rows, weights), rtol=1e-5, atol=1e-5
    )


def test_an_empty_batch(run):
    bank, embeddings, drawn, weights = map(tf.constant, arrays(0, 3))
    bank = tf.Variable(bank)
    assert run(lambda e: sampled_scores(e, bank, drawn), embeddings).shape == (0, 3)
    assert run(lambda w: sampled_readout(w, bank, drawn), weights).shape == (0, DIM)


def test_neither_has_a_gradient():
    bank, embeddings, drawn, weights = map(tf.constant, arrays(2, 3))
    bank = tf.Variable(bank)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([embeddings, weights])
        scores = sampled_scores(embeddings, bank, drawn)
        readout = sampled_readout(weights, bank, drawn)
    assert tape.gradient(scores, [embeddings, bank]) == [None, None]
    assert tape.gradient(readout, [weights, bank]) == [None, None]


def test_a_known_gradient_is_added_to_the_losses_own(run):
    _, embeddings, _, _ = arrays(3, 1)
    known = np.float32([[1, 2, 3, 4], [0, 0, 0, 0], [-1, 0, 0, 1]])

    def function(embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            losses = attach_gradient(embeddings[:, 0] * 10, embeddings, known)
            total = tf.reduce_sum(losses * [1.0, 2.0, 3.0])
        return losses, tape.gradient(total, embeddings)

    losses, gradient = run(function, tf.constant(embeddings))
    np.testing.assert_array_equal(losses, embeddings[:, 0] * 10)
    own = np.float32([[10, 0, 0, 0]] * 3)
    np.testing.assert_allclose(gradient, (known + own) * [[1], [2], [3]])


def test_compiled_by_xla_and_with_an_unknown_batch():
    bank, embeddings, drawn, _ = arrays(5, 3)
    variable = tf.Variable(bank)
    expected = np.einsum("bmd,bd->bm", np.float64(bank)[drawn], embeddings)
    signature = [tf.TensorSpec([None, DIM]), tf.TensorSpec([None, 3], tf.int64)]
    for options in ({"jit_compile": True}, {"input_signature": signature}):
        function = tf.function(
            lambda e, d: sampled_scores(e, variable, d, chunk=6), **options
        )
        found = function(tf.constant(embeddings), tf.constant(drawn))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_drawn_rows_never_stand_in_memory_together():
    bank, embeddings, drawn, _ = arrays(7, 3)
    variable = tf.Variable(bank)
    function = tf.function(lambda e, d: sampled_scores(e, variable, d, chunk=3))
    graph = function.get_concrete_function(
        tf.constant(embeddings), tf.constant(drawn)
    ).graph
    shapes = [
        output.shape.num_elements()
        for each in [graph, *map(body_graph(graph), function_names(graph))]
        for op in each.get_operations()
        for output in op.outputs
        if output.shape.is_fully_defined()
    ]
    assert 3 * DIM in shapes  # one anchor's rows
    assert max(shapes) < 7 * 3 * DIM


def function_names(graph):
    return [each.signature.name for each in graph.as_graph_def().library.function]


def body_graph(graph):
    return lambda name: graph._get_function(name).graph
