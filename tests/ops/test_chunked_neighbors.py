"""The search in chunks of rows against a stable sort, ties included."""

import itertools

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfembed.ops import chunked_neighbors as module
from tfembed.ops.chunked_neighbors import block_maxima, chunked_neighbors


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 256 rows, so that a gallery of some thousands has several."""
    monkeypatch.setattr(module, "CHUNK", 256)
    monkeypatch.setattr(module, "TABLE", 0)


def dyadic(rng, rows, ties, dim=4):
    """Numbers whose products and sums are exact: no rounding blurs a comparison."""
    if ties:
        return rng.integers(-1, 2, (rows, dim)).astype("float32")
    return (rng.integers(-64, 65, (rows, dim)) / 4).astype("float32")


def search(dtype):
    """The search as a graph all of whose sizes are dynamic."""
    return tf.function(
        chunked_neighbors,
        input_signature=[
            tf.TensorSpec([None, None]),
            tf.TensorSpec([None, None], dtype),
            tf.TensorSpec([], tf.int32),
        ],
    )


@pytest.mark.thin(2)
@pytest.mark.parametrize("size", [1, 63, 64, 65, 127, 129, 1000, 12345])
def test_equals_a_stable_sort(size, small_chunks):
    find = search(tf.float32)
    rng = np.random.default_rng(size)
    for batch, ties in itertools.product([0, 1, 3, 17], [False, True]):
        gallery, queries = dyadic(rng, size, ties), dyadic(rng, batch, ties)
        for k in sorted({1, min(10, size), min(200, size), size}):
            scores, rows = find(queries, gallery, k)
            expected_scores, expected_rows = oracles.top_k(queries, gallery, k)
            np.testing.assert_array_equal(rows, expected_rows)
            np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("size", [65, 3000, 20000])
def test_bfloat16_rows_are_summed_in_float32(size, rng):
    gallery = tf.cast(rng.standard_normal((size, 64)), tf.bfloat16)
    queries = rng.standard_normal((5, 64)).astype("float32")
    scores, rows = search(tf.bfloat16)(queries, gallery, 7)
    kept = tf.cast(gallery, tf.float64).numpy()
    expected, _ = oracles.top_k(queries.astype("float64"), kept, 7)
    off = oracles.rounding(queries, kept)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=off)
    own = (queries.astype("float64") @ kept.T)[np.arange(5)[:, None], rows]
    np.testing.assert_allclose(scores, own, rtol=0, atol=off)


@pytest.mark.parametrize("table", [0, module.TABLE])
def test_equals_plain_top_k_beyond_one_chunk(table, rng, monkeypatch):
    monkeypatch.setattr(module, "TABLE", table)
    gallery = rng.standard_normal((40000, 16)).astype("float32")
    queries = rng.standard_normal((9, 16)).astype("float32")
    scores, rows = search(tf.float32)(queries, gallery, 25)
    exact = queries.astype("float64"), gallery.astype("float64")
    expected, expected_rows = oracles.top_k(*exact, 25)
    off = oracles.rounding(queries, gallery)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=off)
    assert np.mean(rows.numpy() == expected_rows) > 0.99


def test_all_rows_equal(small_chunks):
    gallery = np.ones((3000, 4), "float32")
    _, rows = search(tf.float32)(np.ones((2, 4), "float32"), gallery, 5)
    assert rows.numpy().tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("size", [1, 32, 33, 300, 768])
def test_maxima_of_blocks(size, rng):
    gallery = rng.integers(-9, 9, (size, 3)).astype("float32")
    queries = rng.integers(-9, 9, (4, 3)).astype("float32")
    found = block_maxima(tf.constant(queries), tf.constant(gallery), 32, 256)
    scores = queries @ gallery.T
    starts = range(0, size, 32)
    expected = np.stack([scores[:, i : i + 32].max(axis=1) for i in starts], axis=1)
    np.testing.assert_array_equal(tf.transpose(found), expected)
