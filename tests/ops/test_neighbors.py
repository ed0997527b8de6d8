"""Exact top-k by block maxima, against a stable sort."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfembed.ops.neighbors import top_k_neighbors
from tfembed.ops.vote import weighted_vote


@pytest.mark.thin(3)
@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 400, 2000])
@pytest.mark.parametrize("batch", [0, 1, 3, 17])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_a_stable_sort(size, batch, ties, run):
    rng = np.random.default_rng(size)
    if ties:
        gallery = rng.integers(-1, 2, size=(size, 4)).astype("float32")
        queries = rng.integers(-1, 2, size=(batch, 4)).astype("float32")
    else:  # sums of quarters are exact: no rounding blurs the comparison
        gallery = (rng.integers(-64, 65, size=(size, 4)) / 4).astype("float32")
        queries = (rng.integers(-64, 65, size=(batch, 4)) / 4).astype("float32")
    for k in sorted({1, min(10, size), size}):
        scores, rows = run(
            lambda q, g, k=k: top_k_neighbors(q, g, k),
            tf.constant(queries),
            tf.constant(gallery),
        )
        expected_scores, expected_rows = oracles.top_k(queries, gallery, k)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(scores, expected_scores)


def test_dynamic_gallery_and_k(rng):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3]),
            tf.TensorSpec([None, 3]),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def search(queries, gallery, k):
        return top_k_neighbors(queries, gallery, k)

    for size, k in [(5, 5), (1000, 3), (300, 290)]:
        gallery = rng.integers(-9, 9, size=(size, 3)).astype("float32")
        _, rows = search(gallery[:4], gallery, k)
        np.testing.assert_array_equal(rows, oracles.top_k(gallery[:4], gallery, k)[1])


def test_vote_against_a_loop(rng, run):
    scores = rng.normal(size=(20, 9)).astype("float32")
    labels = rng.integers(-1, 4, size=(20, 9))
    winner, share = run(
        lambda s, n: weighted_vote(s, n, 4, 0.5),
        tf.constant(scores),
        tf.constant(labels),
    )
    for i in range(20):
        votes = [
            np.exp(np.float64(scores[i])[labels[i] == c] / 0.5).sum() for c in range(4)
        ]
        assert int(winner[i]) == np.argmax(votes)
        assert float(share[i]) == pytest.approx(np.max(votes) / np.sum(votes), rel=1e-5)


def test_nobody_votes():
    winner, share = weighted_vote([[1.0, 0.5]], tf.constant([[-1, -1]]), 3, 0.1)
    assert (int(winner[0]), float(share[0])) == (-1, 0.0)


def test_huge_scores_do_not_overflow():
    winner, share = weighted_vote([[1e4, 1e4 - 1]], tf.constant([[2, 0]]), 3, 0.01)
    assert (int(winner[0]), float(share[0])) == (2, 1.0)
