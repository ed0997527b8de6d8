"""How far a mean over queries can be trusted: bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfembed.hints import Array
from tfembed.ops.arguments import as_count, as_number

_DRAWS = 2**20


def bootstrap_intervals(
    values: Mapping[str, Sequence[float] | Array],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Bounds the mean of per-query values by a percentile bootstrap.

    As many queries as there are, are drawn with replacement, and all means are taken
    over the same draw; again and again. The interval leaves out as many of these means
    below as above.

    It tells what other queries of the same kind would have given, with the same encoder
    and the same gallery. Queries are drawn one by one: where a few classes decide, the
    interval is too narrow; and it says nothing of other seeds of a training.

    >>> from tfembed.metrics import bootstrap_intervals
    >>> hits = {"R@1": np.array([1.0, 1.0, 0.0, 1.0] * 25)}
    >>> low, high = bootstrap_intervals(hits)["R@1"]
    >>> 0.6 < low < 0.75 < high < 0.9
    True

    Args:
        values: `{name: (queries,)}`, numbers, all of one length; NaN where a query does
            not count.
        confidence: Between 0 and 1.
        resamples: How often queries are drawn.
        seed: Of the draws.

    Returns:
        `{name: (low, high)}`; NaN where no query counts.

    Raises:
        ValueError: If lengths differ, there is no query, or an argument is out of
            range.
    """
    check_confidence(confidence, resamples)
    matrix = as_matrix("values", values)
    counts = np.isfinite(matrix)
    sums = _resampled_sums(
        np.concatenate([np.where(counts, matrix, 0), counts], axis=1), resamples, seed
    )
    drawn = sums[:, len(values) :]
    means = np.divide(
        sums[:, : len(values)], drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0
    )
    tail = (1 - confidence) / 2
    intervals = {}
    for name, column in zip(values, means.T):
        column = column[np.isfinite(column)]
        bounds = np.quantile(column, [tail, 1 - tail]) if len(column) else [np.nan] * 2
        intervals[name] = float(bounds[0]), float(bounds[1])
    return intervals


def check_confidence(confidence, resamples):
    """Raises a ValueError unless the settings of a bootstrap are in range."""
    as_number("confidence", confidence, above=0, below=1, note=", such as 0.95")
    as_count("resamples", resamples)


def as_matrix(name, values):
    """Returns a dictionary of columns as one float64 matrix `(queries, names)`.

    Raises:
        ValueError: If there is none, they are not of one length, or have no query.
    """
    columns = [np.asarray(column, np.float64) for column in values.values()]
    shapes = {column.shape for column in columns}
    if len(shapes) != 1 or len(*shapes) != 1:
        raise ValueError(
            f"`{name}` must hold one value a query under each name. Received: shapes "
            f"{ {key: np.shape(column) for key, column in values.items()} }."
        )
    if not len(columns[0]):
        raise ValueError(f"`{name}` must hold at least one query. Received: none.")
    return np.stack(columns, axis=1)


def _resampled_sums(matrix, resamples, seed):
    """Sums the rows of a matrix over resamples of it, `(resamples, columns)`."""
    rng = np.random.default_rng(seed)
    size = len(matrix)
    together = max(1, _DRAWS // size)
    sums = []
    for start in range(0, resamples, together):
        count = min(together, resamples - start)
        drawn = rng.integers(size, size=(count, size))
        drawn += np.arange(count)[:, None] * size
        times = np.bincount(drawn.reshape(-1), minlength=count * size)
        sums.append(times.reshape(count, size) @ matrix)
    return np.concatenate(sums)
