"""The bank's first rows, from a forward pass, on any number of replicas."""

import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.layers import MemoryBank
from tfembed.recipes import bank as banks


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 29, 30, 31, 61])
def test_every_replica_gets_rows_and_every_image_comes(size, replicas):
    data = types.SimpleNamespace(
        size=size, batches=lambda rows, seed: data_of(size).batch(rows)
    )
    seen = set()
    for batch in banks.even_batches(data, replicas, seed=0, limit=30):
        rows = len(batch["ids"])
        if replicas > 1:
            assert rows % replicas == 0 and rows > 0
        assert rows <= max(30, replicas)
        np.testing.assert_array_equal(batch["images"][:, 0], batch["ids"])
        seen |= set(batch["ids"].numpy().tolist())
    assert seen == set(range(size))


def data_of(size):
    ids = np.arange(size, dtype="int64")
    images = np.float32(ids)[:, None]
    return tf.data.Dataset.from_tensor_slices({"images": images, "ids": ids})


@pytest.mark.parametrize("size", [3, 251, 253])
def test_two_replicas_fill_a_bank_of_any_size(size, strategy):
    directions = np.random.default_rng(0).normal(size=(size, 3)).astype("float32")
    with strategy.scope():
        inputs = keras.Input((3,))
        outputs = keras.layers.BatchNormalization()(inputs)
        encoder = keras.Model(inputs, [outputs, inputs])
        bank = MemoryBank(size, 3, seed=0)
        bank.build()
    data = tf.data.Dataset.from_tensor_slices(
        {"images": directions, "ids": np.arange(size, dtype="int64")}
    )
    run = types.SimpleNamespace(
        strategy=strategy,
        config=types.SimpleNamespace(seed=0),
        data=types.SimpleNamespace(
            train=types.SimpleNamespace(
                size=size, batches=lambda rows, seed: data.batch(rows)
            )
        ),
        networks=types.SimpleNamespace(
            encoder=lambda x, training: encoder(x, training=training)[1],
            endpoint=types.SimpleNamespace(bank=bank),
        ),
    )
    banks.fill_bank(run)
    expected = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.get_weights()[0], expected, rtol=1e-4, atol=1e-6)
