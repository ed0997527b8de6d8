"""Lengths, cosines and effective rank, against loops and known covariances."""

import numpy as np
import pytest

from tfembed.metrics import spread
from tfembed.metrics.spread import _CHUNK


@pytest.mark.parametrize("normalize", [True, False])
def test_numbers_are_those_of_the_definitions(rng, normalize):
    x = rng.normal(size=(70, 6)) * [5, 2, 1, 1, 0.5, 0.1] + 1
    found = spread(x, normalize=normalize)
    lengths = np.sqrt((x**2).sum(axis=1))
    np.testing.assert_allclose(found.norms, lengths, rtol=1e-6)
    pairs = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for i, a in enumerate(x)
        for j, b in enumerate(x)
        if i != j
    ]
    assert found.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-6)
    taken = x / lengths[:, None] if normalize else x
    values = np.linalg.svd(taken - taken.mean(axis=0), compute_uv=False) ** 2 / 70
    np.testing.assert_allclose(found.spectrum, values, rtol=1e-5, atol=1e-9)
    shares = values / values.sum()
    entropy = -sum(p * np.log(p) for p in shares)
    assert found.effective_rank == pytest.approx(np.exp(entropy), rel=1e-5)


def test_chunks_are_one(rng):
    x = np.float32(rng.normal(size=(2 * _CHUNK + 5, 3)) * [1, 2, 3] + [100, 0, 0])
    found = spread(x, normalize=False)
    covariance = np.cov(np.float64(x), rowvar=False, bias=True)
    np.testing.assert_allclose(
        found.spectrum, np.linalg.eigvalsh(covariance)[::-1], rtol=1e-6
    )


def test_axes_in_both_directions_are_the_full_rank():
    x = np.concatenate([np.eye(5), -np.eye(5)])
    assert spread(x).effective_rank == pytest.approx(5)
    assert spread(x).mean_cosine == pytest.approx(-1 / 9)


def test_a_collapse_is_seen_through_rounding(rng):
    point = rng.normal(size=(1, 128))
    point /= np.linalg.norm(point)
    x = np.float32(point) + np.float32(rng.normal(size=(50, 128)) * 1e-8)
    found = spread(x)
    assert found.mean_cosine == pytest.approx(1, abs=1e-6)
    assert found.effective_rank == 0
    assert spread(1000 * x, normalize=False).effective_rank == 0


def test_zero_rows_and_a_single_row():
    found = spread(np.zeros((3, 4)))
    assert found.norms.tolist() == [0, 0, 0]
    assert found.mean_cosine == 0 and found.effective_rank == 0
    assert np.isnan(spread(np.ones((1, 4))).mean_cosine)


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.zeros(3), [[np.nan, 1.0]]])
def test_bad_input_gets_a_sentence(x):
    with pytest.raises(ValueError, match="Received"):
        spread(x)
