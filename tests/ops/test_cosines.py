"""Cosines cut to [-1, 1], against NumPy."""

import numpy as np
import pytest

from tfembed.ops.cosines import cut_cosines


def expected(scores, rows):
    cut = np.where(rows >= 0, np.clip(scores, -1, 1), scores)
    order = np.stack([np.lexsort((row, -one)) for row, one in zip(rows, cut)])
    return np.take_along_axis(cut, order, 1), np.take_along_axis(rows, order, 1)


def answers(rng, batch=50, k=9, beyond=True):
    """As a search gives them: largest first, equal ones in row order."""
    scores = rng.choice([0.3, 0.5, 1.0, -1.0, -0.2], (batch, k)).astype(np.float32)
    if beyond:
        scores *= rng.choice([1, 1 + 1e-7, 1 + 3e-7, 1.004], (batch, k))
    scores = scores.astype(np.float32)
    rows = np.stack([rng.permutation(100)[:k] for _ in range(batch)]).astype(np.int32)
    rows[::3, k - 2 :], scores[::3, k - 2 :] = -1, -np.inf  # fewer were found
    order = np.stack([np.lexsort((row, -one)) for row, one in zip(rows, scores)])
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_cut_ones_are_equal_and_in_row_order(rng, dtype):
    scores, rows = answers(rng)
    assert (scores > 1).any() and (scores[np.isfinite(scores)] < -1).any()
    cut, found = cut_cosines(scores, rows.astype(dtype))
    assert found.dtype == dtype
    wanted = expected(scores, rows)
    np.testing.assert_array_equal(cut, wanted[0])
    there = wanted[1] >= 0
    np.testing.assert_array_equal(found.numpy()[there], wanted[1][there])
    assert (found.numpy()[~there] == -1).all()


def test_all_else_stays_bit_for_bit(rng):
    scores, rows = answers(rng, beyond=False)
    cut, found = cut_cosines(scores, rows)
    assert cut.numpy().tobytes() == scores.tobytes()
    np.testing.assert_array_equal(found, rows)


def test_no_queries():
    cut, found = cut_cosines(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert cut.shape == found.shape == (0, 3)
