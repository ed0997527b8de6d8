"""Positive sets inside the softmax: every option against loops, sets and their cut."""

import contracts
import numpy as np
import oracles
import pytest
import tensorflow as tf
from contracts import DIM, SIZE
from tensorflow import keras

import tfembed
from tfembed import compat, layers

OPTIONS = [
    {},
    {"hard": "most_similar"},
    {"hard_by": "embedding"},
    {"hard_sign": "minus"},
    {"single": "own_row"},
    {"hard_weight": 0.0},
]


def sets_of(layer):
    return [row[row >= 0] for row in compat.variable(layer.table).numpy()]


def loss_and_gradient(layer, embeddings, ids):
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        layer([embeddings, ids])
        (loss,) = layer.losses
    return float(loss), tape.gradient(loss, embeddings).numpy()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_each_option_equals_the_formula(options):
    layer = contracts.built(lambda: contracts.with_positives(width=4, **options))
    embeddings, ids = contracts.batch(rows=15, seed=2)
    settings = {"weight": 0.5, **options}
    settings["weight"] = settings.pop("hard_weight", settings["weight"])

    def expected(x):
        rows = layer.bank.variable.numpy()
        return oracles.similarity_losses(
            x, rows, ids, sets_of(layer), 0.2, **settings
        ).mean()

    loss, gradient = loss_and_gradient(layer, embeddings, ids)
    assert loss == pytest.approx(expected(embeddings), rel=2e-5)
    numeric = oracles.numeric_gradient(expected, np.float64(embeddings))
    np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=2e-5)


def test_the_options_differ():
    embeddings, ids = contracts.batch(rows=15, seed=2)
    found = set()
    for options in OPTIONS:
        layer = contracts.with_positives(width=4, **options)
        layer.build([(None, DIM), (None,)])
        found.add(round(loss_and_gradient(layer, embeddings, ids)[0], 5))
    assert len(found) == len(OPTIONS)


def test_without_positives_it_is_the_instance_softmax():
    layer = contracts.built(lambda: layers.InstanceSimilarity(SIZE, seed=3))
    other = contracts.built(lambda: layers.InstanceSoftmax(SIZE, 0.1, seed=3))
    embeddings, ids = contracts.batch()
    loss, gradient = loss_and_gradient(layer, embeddings, ids)
    expected, its_gradient = loss_and_gradient(other, embeddings, ids)
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, its_gradient, rtol=1e-4, atol=1e-6)


def test_a_set_that_grows_never_raises_the_first_term():
    embeddings, ids = contracts.batch()
    layer = contracts.built(lambda: layers.InstanceSimilarity(SIZE, 8, hard_weight=0))
    order = np.random.default_rng(0).permutation(SIZE)
    before = np.inf
    for count in range(1, 8):
        indices = np.tile(order[:count], SIZE)
        layer.set_positives(np.arange(SIZE + 1) * count, indices)
        loss, _ = loss_and_gradient(layer, embeddings, ids)
        assert loss <= before + 1e-6
        before = loss


def test_sets_name_each_other_member_once():
    layer = contracts.built(lambda: layers.InstanceSimilarity(SIZE, 3, seed=0))
    offsets = np.zeros(SIZE + 1, np.int64)
    offsets[2:] = 4
    assert layer.set_positives(offsets, [5, 1, 5, 7]) == 0
    found = layer.positives_of(np.array([1, 0])).numpy()
    np.testing.assert_array_equal(found, [[5, 7, -1], [-1, -1, -1]])


def test_a_set_that_is_too_large_is_sampled():
    offsets = np.arange(SIZE + 1) * SIZE
    indices = np.tile(np.arange(SIZE), SIZE)
    tables = []
    for seed in (0, 0, 1):
        layer = layers.InstanceSimilarity(SIZE, 6, seed=seed)
        layer.build([(None, DIM), (None,)])
        assert layer.set_positives(offsets, indices) == SIZE
        tables.append(compat.variable(layer.table).numpy())
    np.testing.assert_array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])
    for row, members in enumerate(tables[0]):
        assert len(set(members)) == 6 and row not in members and members.min() >= 0
    assert len(np.unique(tables[0])) == SIZE  # not the same ones everywhere


@pytest.mark.parametrize(
    ("offsets", "indices", "message"),
    [
        (np.arange(SIZE), [0], "must be arrays of integers"),
        (np.zeros(SIZE + 1), [0], "must be arrays of integers"),
        (np.zeros(SIZE + 1, int), [0], "must go from 0"),
        ([0, 2, 1] + [3] * (SIZE - 2), [0, 1, 2], "must go from 0"),
        ([0] + [1] * SIZE, [SIZE], r"must lie in \[0, 24\)"),
        ([0] + [4] * SIZE, [1, 2, 3, 4], "must be at least the number of other"),
    ],
)
def test_sets_that_are_none_get_a_sentence(offsets, indices, message):
    layer = contracts.built(
        lambda: layers.InstanceSimilarity(SIZE, 3, overflow="error")
    )
    with pytest.raises(ValueError, match=message) as error:
        layer.set_positives(offsets, indices)
    assert "Received" in str(error.value)
    np.testing.assert_array_equal(compat.variable(layer.table), -1)


@pytest.mark.parametrize(
    "bad",
    [
        {"width": 0},
        {"hard_weight": -1.0},
        {"hard": "paper"},
        {"hard_by": "row"},
        {"hard_sign": "+"},
        {"single": "augment"},
        {"overflow": "drop"},
    ],
    ids=str,
)
def test_bad_arguments_get_a_sentence(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=f"`{name}` must be") as error:
        layers.InstanceSimilarity(SIZE, **bad)
    assert "Received" in str(error.value)


def test_sets_survive_saving(tmp_path):
    inputs = [keras.Input((DIM,)), keras.Input((), dtype="int64")]
    model = keras.Model(inputs, contracts.with_positives(width=2)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = tfembed.load_model(tmp_path / "model.keras")
    table = compat.variable(loaded.layers[-1].table).numpy()
    np.testing.assert_array_equal(table, compat.variable(model.layers[-1].table))
    assert (table >= 0).any() and (table < 0).any()
