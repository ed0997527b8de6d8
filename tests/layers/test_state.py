"""A row that is not finite changes no state, whichever way it comes in."""

import contracts
import numpy as np
import pytest
import tensorflow as tf

from tfembed import layers

BROKEN = [np.nan, np.inf, -np.inf]
ENDPOINTS = [
    pytest.param(maker, id=f"{layer.__name__}-{number}")
    for layer, makers in {**contracts.ENDPOINTS, **contracts.LABEL_ENDPOINTS}.items()
    for number, maker in enumerate(makers)
]


def with_broken_rows(values=BROKEN, good=6):
    """Embeddings and ids of `good` rows, and of others that are not finite."""
    embeddings, ids = contracts.batch(rows=good + len(values))
    for row, value in enumerate(values, start=good):
        embeddings[row, row % contracts.DIM] = value
    return embeddings, ids, good


def state(layer):
    return [np.array(weight) for weight in layer.get_weights()]


def assert_equal(ones, others, **close):
    assert len(ones) == len(others)
    for one, other in zip(ones, others):
        np.testing.assert_allclose(one, other, **close)


@pytest.mark.parametrize("maker", ENDPOINTS)
def test_a_step_of_a_layer(maker):
    embeddings, ids, good = with_broken_rows()
    layer, other = contracts.built(maker), contracts.built(maker)
    other.set_weights(layer.get_weights())
    for _ in range(2):  # the first step, of all broken rows, and one in the middle
        before = state(layer)
        layer([tf.constant(embeddings[good:]), tf.constant(ids[good:])], training=True)
        assert_equal(state(layer), before, rtol=0)
        layer([tf.constant(embeddings), tf.constant(ids)], training=True)
        other([tf.constant(embeddings[:good]), tf.constant(ids[:good])], training=True)
        assert_equal(state(layer), state(other), rtol=1e-5, atol=1e-6)
    assert all(np.isfinite(weight).all() for weight in state(layer))


@pytest.mark.parametrize(
    "maker",
    [
        lambda: contracts.ENDPOINTS[layers.NoiseContrastive][0](),
        lambda: contracts.LABEL_ENDPOINTS[layers.FeatureQueue][0](),
        lambda: contracts.ENDPOINTS[layers.Centers][0](),
        lambda: contracts.LABEL_ENDPOINTS[layers.DynamicSoftMargin][0](),
    ],
    ids=["NoiseContrastive", "FeatureQueue", "Centers", "DynamicSoftMargin"],
)
def test_a_step_on_two_replicas(maker, strategy):
    embeddings, ids, good = with_broken_rows([np.nan] * 4, good=4)
    with strategy.scope():
        layer = contracts.built(maker)
    single = contracts.built(maker)
    single.set_weights(layer.get_weights())

    def place(array):  # one replica has none that is finite
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                array[4 * context.replica_id_in_sync_group :][:4]
            )
        )

    @tf.function
    def step(embeddings, ids):
        strategy.run(
            lambda *batch: layer(list(batch), training=True), (embeddings, ids)
        )

    step(place(embeddings), place(ids))
    single([tf.constant(embeddings[:good]), tf.constant(ids[:good])], training=True)
    assert_equal(state(layer), state(single), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.0, 0.9])
def test_writing_a_bank(momentum):
    embeddings, ids, good = with_broken_rows([*BROKEN, 3e38])
    embeddings[good + 3] = 3e38  # its length is not finite
    banks = [contracts.BANKS[layers.MemoryBank][0]() for _ in range(2)]
    banks[0].write(embeddings, ids, momentum)
    banks[1].write(embeddings[:good], ids[:good], momentum)
    assert_equal(state(banks[0]), state(banks[1]), rtol=1e-6)


def test_filling_a_bank():
    bank = layers.MemoryBank(6, 2, seed=3)
    bank.build()
    (before,) = state(bank)
    bank.fill([[np.nan, 1], [3, 4], [np.inf, 0], [0, 0], [0, -np.inf], [2e38, 3e38]])
    (after,) = state(bank)
    kept = [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(after[kept], before[kept])
    np.testing.assert_allclose(after[1], [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("size", [3, 6, 8])
def test_filling_a_queue(size):
    rows = np.arange(12, dtype="float32").reshape(6, 2)
    rows[1, 0], rows[4, 1], rows[5, 0] = BROKEN
    queue, other = layers.FeatureQueue(size, 2), layers.FeatureQueue(size, 2)
    queue.fill(rows, np.arange(6))
    other.fill(rows[[0, 2, 3]], [0, 2, 3])
    assert_equal(state(queue), state(other), rtol=0)
