"""How an embedding fills its space: lengths, directions, effective rank."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfembed.hints import Rows
from tfembed.metrics.nearest import check_embeddings

_CHUNK = 16384
_ROUNDING = 1e-11  # variance of unit rows in float32 that are one and the same


@dataclasses.dataclass(frozen=True)
class Spread:
    """What `spread` found.

    >>> from tfembed.metrics import spread
    >>> found = spread([[3.0, 0.0], [0.0, 4.0]])
    >>> found.norms.tolist(), found.mean_cosine
    ([3.0, 4.0], 0.0)

    Attributes:
        norms: Length of each row as it was given, float32 `(rows,)`.
        mean_cosine: Mean cosine of two different rows. Near 1 all point in one
            direction; NaN for a single row.
        spectrum: Eigenvalues of the covariance of the rows, float64 `(dim,)`, largest
            first.
        effective_rank: `exp(-sum{ p log p })` with `p = spectrum / sum(spectrum)`: in
            how many directions the rows spread. From 1 to `min(dim, rows - 1)`; 0 if
            all rows are equal.
    """

    norms: np.ndarray
    mean_cosine: float
    spectrum: np.ndarray
    effective_rank: float


def spread(embeddings: Rows, normalize: bool = True) -> Spread:
    """Measures whether embeddings collapsed to a point, or to a few directions.

    Exact, in float64, a chunk of rows at a time.

    >>> from tfembed.metrics import spread
    >>> rng = np.random.default_rng(0)
    >>> spread(rng.normal(size=(500, 16))).effective_rank > 15  # in all directions
    True
    >>> spread(np.ones((500, 16))).effective_rank  # collapsed to a point
    0.0

    Args:
        embeddings: `(rows, dim)`, float.
        normalize: Whether rows are divided by their lengths before their covariance
            is taken, as a search by cosine does.

    Returns:
        A `Spread`.

    Raises:
        ValueError: If the embeddings are no matrix of finite numbers with at least
            one row.

    Reference: Roy and Vetterli, 2007, "The effective rank: a measure of effective
    dimensionality", definition 1, of the covariance.
    """
    rows = check_embeddings("embeddings", embeddings)
    count, dim = rows.shape
    norms = np.empty(count, np.float32)
    unit_sum, unit_squares = np.zeros(dim), 0.0
    mean, moments = np.zeros(dim), np.zeros((dim, dim))
    for start in range(0, count, _CHUNK):
        part: Any = np.float64(rows[start : start + _CHUNK])
        length = np.linalg.norm(part, axis=1)
        norms[start : start + _CHUNK] = length
        unit = part / np.maximum(length, 1e-12)[:, None]
        unit_sum += unit.sum(axis=0)
        unit_squares += np.sum(unit * unit)
        part = unit if normalize else part
        # Chan's update of the moments about the mean: no cancellation.
        shift = part.mean(axis=0) - mean
        mean += shift * len(part) / (start + len(part))
        centred = part - part.mean(axis=0)
        moments += centred.T @ centred
        moments += np.outer(shift, shift) * start * len(part) / (start + len(part))
    spectrum = np.maximum(np.linalg.eigvalsh(moments / count)[::-1], 0.0)
    size = (
        1.0 if normalize else max(float(np.mean(np.square(np.float64(norms)))), 1e-30)
    )
    cosine = float("nan")
    if count > 1:
        cosine = (unit_sum @ unit_sum - unit_squares) / (count * (count - 1))
        cosine = np.clip(cosine, -1, 1)  # rows all alike are so but for rounding
    return Spread(norms, float(cosine), spectrum, _effective_rank(spectrum, size))


def _effective_rank(spectrum, size):
    total = spectrum.sum()
    if total <= _ROUNDING * size:
        return 0.0
    share = spectrum[spectrum > 0] / total
    return float(np.exp(-np.sum(share * np.log(share))))
