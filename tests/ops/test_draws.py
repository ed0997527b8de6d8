"""Draws by the bits of the data: the same everywhere, and as likely as they should."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.distance_weighted import DistanceWeighted
from tfembed.ops.draws import row_keys, uniform
from tfembed.ops.pairs import Pairs, Similarities, over_pairs
from tfembed.ops.positives import PositiveSlots


def unit(rng, rows, dim):
    x = rng.normal(size=(rows, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_keys_are_those_of_the_row_alone():
    x = np.random.default_rng(0).normal(size=(50, 7))
    keys = row_keys(x).numpy()
    assert len(set(keys)) == 50 and keys.min() >= 0 and keys.max() < 2**32
    np.testing.assert_array_equal(row_keys(x[::-1]), keys[::-1])
    np.testing.assert_array_equal(row_keys(np.float32(x)), keys)
    np.testing.assert_array_equal(tf.function(row_keys, jit_compile=True)(x), keys)
    assert not np.any(row_keys(x[:, ::-1]) == keys)
    np.testing.assert_array_equal(
        row_keys(x[:, ::-1], ordered=False), row_keys(x, ordered=False)
    )


def test_one_bit_changes_half_of_the_key():
    x = np.float32(np.random.default_rng(0).normal(size=(500, 3)))
    other = x.copy()
    other[:, 1] = np.nextafter(x[:, 1], np.inf)
    flipped = np.int64(row_keys(x)) ^ np.int64(row_keys(other))
    bits = [bin(number).count("1") for number in flipped]
    assert abs(np.mean(bits) - 16) < 1


def test_uniform_numbers_are_uniform():
    keys = tf.range(200)
    drawn = uniform(keys[:, None], keys[None, :]).numpy()
    counts = np.histogram(drawn, 10, (0, 1))[0]
    assert drawn.min() > 0 and drawn.max() < 1
    assert np.sum((counts - 4000) ** 2 / 4000) < 35  # chi-squared of 9 degrees
    correlations = np.corrcoef(drawn)[np.triu_indices(200, 1)]
    assert np.abs(correlations).max() < 0.4 and abs(correlations.mean()) < 0.01


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_negatives_are_drawn_in_proportion_to_the_weights(jit):
    rng = np.random.default_rng(2)
    dim, refs = 8, 30
    x, r = unit(rng, 1, dim), unit(rng, refs, dim)
    cosines = tf.constant(np.repeat(x @ r.T, 20000, axis=0))
    negative = np.arange(refs) % 5 != 0
    pairs = Pairs(None, None, None, tf.constant([negative] * 20000), None)
    pairs.dim = dim
    pairs.row_keys = row_keys(rng.normal(size=(20000, 3)))
    pairs.ref_keys = row_keys(r)

    @tf.function(jit_compile=jit)
    def draw():
        return DistanceWeighted(pairs, cosines)(tf.zeros([20000], tf.int32))

    d = np.linalg.norm(x - r, axis=1)
    near = np.maximum(d, 0.5)
    weights = near ** (2.0 - dim) * (1 - near**2 / 4) ** ((3.0 - dim) / 2)
    weights = np.where(negative & (d < 1.4), weights, 0)
    expected = weights / weights.sum()
    share = np.bincount(draw().numpy(), minlength=refs) / 20000
    assert not np.any(share[weights == 0])
    np.testing.assert_allclose(share, expected, atol=0.015)


def test_none_is_near_enough():
    cosines = tf.fill([4000, 3], -0.5)
    pairs = Pairs(None, None, None, tf.constant([[True, False, True]] * 4000), None)
    pairs.dim, pairs.ref_keys = 4, row_keys(np.eye(3))
    pairs.row_keys = row_keys(np.random.default_rng(0).normal(size=(4000, 2)))
    drawn = DistanceWeighted(pairs, cosines)(tf.zeros([4000], tf.int32)).numpy()
    assert set(drawn) == {0, 2} and abs(np.mean(drawn == 0) - 0.5) < 0.04


def drawn_columns(labels, x, row_chunk=None):
    """The negative that each row's first positive draws; -1 without a positive."""

    def rows(pairs):
        first, there = PositiveSlots(pairs.positive)(tf.constant(0))
        chosen = DistanceWeighted(pairs)(first)
        return tf.cast(tf.where(there, chosen, -1), tf.float32)

    return over_pairs(rows, labels, x, normalize=True, draws=True, row_chunk=row_chunk)


def test_draws_do_not_depend_on_how_they_are_computed():
    rng = np.random.default_rng(3)
    labels, x = np.repeat(np.arange(20), 2), np.float32(rng.normal(size=(40, 9)))
    expected = drawn_columns(labels, x).numpy()
    assert np.all(labels[np.int32(expected)] != labels)
    np.testing.assert_array_equal(drawn_columns(labels, x, row_chunk=7), expected)
    for jit in (False, True):
        compiled = tf.function(drawn_columns, jit_compile=jit)
        found = compiled(tf.constant(labels), tf.constant(x))
        np.testing.assert_array_equal(found, expected)
    order = rng.permutation(40)
    moved = drawn_columns(labels[order], x[order]).numpy()
    np.testing.assert_array_equal(order[np.int32(moved)], expected[order])
    similarities = tf.matmul(*[tf.math.l2_normalize(x, axis=1)] * 2, transpose_b=True)
    given = drawn_columns(labels, Similarities(similarities, of=x))
    np.testing.assert_array_equal(given, expected)
    other = drawn_columns(labels, x * np.float32(1.001))
    assert np.mean(other == expected) < 0.6, "other values are other draws"


def test_similarities_alone_do_not_tell_the_dimension():
    with pytest.raises(ValueError, match="of=embeddings"):
        drawn_columns([0, 0, 1], Similarities(np.eye(3)))
