"""The frame of the pair losses: blocks of rows where there are many references."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tfembed import losses
from tfembed.losses import Contrastive
from tfembed.ops import pairs, row_blocks


@pytest.mark.parametrize("batch", [8, None], ids=["static", "dynamic"])
def test_blocks_have_fewer_rows_with_many_references(batch, monkeypatch):
    monkeypatch.setattr(row_blocks, "_PAIRS_OF_BLOCK", 3 * 8 + 1)
    sizes = []

    def rows(of_block):
        size = tf.shape(of_block.similarity)
        tf.py_function(lambda size: sizes.append(tuple(size.numpy())), [size], [])
        return tf.reduce_sum(of_block.similarity, axis=1)

    x = np.random.default_rng(0).normal(size=(8, 4))
    step = tf.function(
        lambda x: pairs.over_pairs(rows, x[:, 0], x, normalize=False, row_chunk=5),
        input_signature=[tf.TensorSpec([batch, 4], tf.float64)],
    )
    np.testing.assert_allclose(step(x), (x @ x.T).sum(axis=1))
    assert sizes == [(3, 8)] * 3  # 8 rows, the last block filled up


@pytest.mark.parametrize("batch, jit", [(8, True), (None, False)], ids=["xla", "graph"])
def test_blocks_of_that_size_change_nothing(batch, jit, monkeypatch):
    labels, x = np.arange(8) % 3, np.random.default_rng(1).normal(size=(8, 4))

    def value_and_gradient(loss, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(loss.per_row(labels, x))
        return value, tape.gradient(value, x)

    expected = value_and_gradient(Contrastive(), tf.constant(x))
    monkeypatch.setattr(row_blocks, "_PAIRS_OF_BLOCK", 8)
    step = tf.function(
        lambda x: value_and_gradient(Contrastive(row_chunk=5), x),
        input_signature=[tf.TensorSpec([batch, 4], tf.float64)],
        jit_compile=jit,
    )
    for one, other in zip(step(x), expected):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


SIMILARITY_LOSSES = [
    losses.Angular,
    losses.BinomialDeviance,
    losses.Circle,
    functools.partial(Contrastive, 0.5, form="cosine"),
    losses.HardNet,
    losses.IntraPairVariance,
    losses.LiftedStructure,
    losses.MultiSimilarity,
    losses.NTXent,
    losses.SmoothAP,
    losses.SupCon,
]


def _values(loss, labels, values, **references):
    try:
        return loss.per_row(labels, pairs.Similarities(values), **references)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("make", SIMILARITY_LOSSES)
def test_similarities_on_a_replica_are_refused(make, strategy):
    """The second replica's diagonal would be pairs."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    values = np.float32(x @ x.T)
    found = strategy.run(lambda: _values(make(), np.array([0, 0, 1, 1]), values))
    for one in strategy.experimental_local_results(found):
        assert "must stand in one place" in one and "Received" in one


def test_similarities_to_references_on_a_replica_are_right(strategy):
    x = np.random.default_rng(0).normal(size=(6, 3))
    values, labels = np.float32(x[:4] @ x.T), np.array([0, 0, 1, 1])
    references = {"ref_labels": np.array([0, 1, 0, 1, 0, 2])}
    loss = losses.MultiSimilarity()
    found = strategy.run(lambda: _values(loss, labels, values, **references))
    for one in strategy.experimental_local_results(found):
        np.testing.assert_allclose(
            one, _values(loss, labels, values, **references), rtol=1e-6
        )
