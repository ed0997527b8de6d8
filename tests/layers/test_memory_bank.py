"""The bank against a dictionary of rows, over many random writes."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfembed.layers import MemoryBank


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_many_random_writes(momentum, run):
    rng = np.random.default_rng(0)
    bank = MemoryBank(30, 4, momentum=momentum, seed=1)
    rows = bank.variable.numpy()
    for _ in range(15):
        count = int(rng.integers(1, 40))
        ids = rng.integers(0, 30, count)  # with duplicates
        embeddings = rng.normal(size=(count, 4)).astype("float32")
        run(bank.write, tf.constant(embeddings), tf.constant(ids))
        rows = oracles.updated_bank(rows, embeddings, ids, momentum)
    np.testing.assert_allclose(bank.variable.numpy(), rows, atol=2e-5)
    np.testing.assert_allclose(bank.read(ids), rows[ids], atol=2e-5)


@pytest.mark.parametrize("initializer", ["unit", "paper"])
def test_first_rows(initializer):
    rows = MemoryBank(4000, 32, initializer=initializer, seed=2).variable.numpy()
    again = MemoryBank(4000, 32, initializer=initializer, seed=2).variable.numpy()
    other = MemoryBank(4000, 32, initializer=initializer, seed=3).variable.numpy()
    np.testing.assert_array_equal(rows, again)
    assert not np.array_equal(rows, other)
    squares = np.sum(np.float64(rows) ** 2, axis=1)
    if initializer == "unit":
        np.testing.assert_allclose(squares, 1, atol=1e-5)
    else:
        bound = 1 / np.sqrt(32 / 3)
        assert np.abs(rows).max() <= bound
        assert np.abs(rows).max() > 0.99 * bound
        assert squares.mean() == pytest.approx(1, abs=0.02)
    assert np.abs(rows.mean(axis=0)).max() < 0.02  # no direction is preferred


def test_unseeded_banks_differ_and_follow_the_global_seed():
    from tensorflow import keras

    keras.utils.set_random_seed(7)
    first, second = MemoryBank(5, 3), MemoryBank(5, 3)
    keras.utils.set_random_seed(7)
    again = MemoryBank(5, 3)
    assert not np.array_equal(first.variable.numpy(), second.variable.numpy())
    np.testing.assert_array_equal(first.variable.numpy(), again.variable.numpy())
    copy = MemoryBank.from_config(first.get_config())
    np.testing.assert_array_equal(first.variable.numpy(), copy.variable.numpy())


def test_a_broken_embedding_leaves_its_row_as_it_was(run):
    bank = MemoryBank(4, 2, momentum=0.0, seed=0)
    before = bank.variable.numpy()
    broken = np.float32([[np.nan, 1], [np.inf, 0], [0, 0], [0, 5]])
    run(bank.write, tf.constant(broken), tf.constant([0, 1, 2, 3]))
    after = bank.variable.numpy()
    np.testing.assert_array_equal(after[:3], before[:3])
    np.testing.assert_allclose(after[3], [0, 1], atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_row_of_any_length_stays_where_nothing_finite_came(momentum, run):
    bank = MemoryBank(4, 8, momentum=momentum, initializer="paper", seed=0)
    before = bank.variable.numpy()
    assert not np.allclose(np.linalg.norm(before, axis=1), 1, atol=1e-3)
    broken = np.full((3, 8), np.nan, np.float32)
    broken[2] = 1.0
    run(bank.write, tf.constant(broken), tf.constant([0, 0, 1]))
    after = bank.variable.numpy()
    np.testing.assert_array_equal(after[[0, 2, 3]], before[[0, 2, 3]])
    assert np.linalg.norm(after[1]) == pytest.approx(1, abs=1e-6)


def test_momentum_of_one_write():
    bank = MemoryBank(2, 2, momentum=0.9, seed=0)
    bank.write([[3.0, 4.0]], [1], momentum=0.0)
    np.testing.assert_allclose(bank.read([1]), [[0.6, 0.8]], atol=1e-6)


def test_fill_sets_all_rows_at_unit_length():
    bank = MemoryBank(3, 2, seed=0)
    bank.fill([[2, 0], [0, 3], [3, 4]])
    np.testing.assert_allclose(bank(np.arange(3)), [[1, 0], [0, 1], [0.6, 0.8]])


@pytest.mark.parametrize("ids", [[3], [-1]])
def test_reading_out_of_range_says_so(ids):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in \[0, 3\)"):
        MemoryBank(3, 2).read(ids)


def test_reading_and_writing_do_not_read_the_whole_bank():
    bank = MemoryBank(50, 2)
    bank.variable  # noqa: B018  builds it

    @tf.function
    def step(embeddings, ids):
        old = bank.read(ids)
        bank.write(embeddings, ids)
        return old

    graph = step.get_concrete_function(
        tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int64)
    ).graph
    kinds = {op.type for op in graph.get_operations()}
    assert {"ResourceGather", "ResourceScatterUpdate"} <= kinds
    assert "ReadVariableOp" not in kinds
