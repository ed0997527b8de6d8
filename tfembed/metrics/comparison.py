"""Two encoders on the same queries: how far apart, and whether by chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfembed.hints import Array, Labels
from tfembed.metrics.bootstrap import as_matrix, bootstrap_intervals, check_confidence

_SIGNS = 2**22


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The paired comparison of one number.

    >>> from tfembed.metrics import compare
    >>> found = compare({"R@1": np.ones(20)}, {"R@1": np.zeros(20)})["R@1"]
    >>> found.first, found.second, found.difference, found.queries
    (1.0, 0.0, 1.0, 20)
    >>> found.p_value < 0.01
    True

    Attributes:
        first: Mean of the first, over the queries that count in both.
        second: Mean of the second.
        difference: `first - second`.
        interval: Bootstrap interval of the difference, of queries drawn in pairs.
        p_value: How often the signs of the differences, thrown as coins, give a mean
            difference as far from 0, either way.
        queries: Number of queries that count in both.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    queries: int


def compare(
    first: Mapping[str, Sequence[float] | Array],
    second: Mapping[str, Sequence[float] | Array],
    ids: Labels | None = None,
    second_ids: Labels | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    permutations: int = 9999,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compares the per-query values of two encoders, query by query.

    The p-value is that of the paired permutation test, by random signs. Where all
    differences have one size, as with hits and misses, it is exact: McNemar's test, or
    the sign test.

    It is about these queries, each one independent, and these two encoders; not about
    other seeds of their training. Many numbers compared give a small p by chance.

    >>> from tfembed.metrics import compare, measure_unseen
    >>> rng, labels = np.random.default_rng(0), np.arange(200) % 10
    >>> blurred = np.eye(10)[labels] + rng.normal(0, 0.5, (200, 10))
    >>> sharp = np.eye(10)[labels] + rng.normal(0, 0.2, (200, 10))
    >>> first = measure_unseen(sharp, labels).per_query
    >>> second = measure_unseen(blurred, labels).per_query
    >>> found = compare(first, second)["MAP@R"]
    >>> found.difference > 0.1, found.p_value < 0.01
    (True, True)

    Args:
        first: `{name: (queries,)}`, as of `Measurement.per_query`; NaN where a query
            does not count.
        second: Likewise; names that both have are compared.
        ids: `(queries,)` of `first`, each once, and
        second_ids: of `second`: queries are paired by id, those that only one has are
            left out. Without them, by position.
        confidence: Of the interval.
        resamples: Of the bootstrap.
        permutations: Throws of all signs.
        seed: Of both.

    Returns:
        `{name: Comparison}`.

    Raises:
        ValueError: If no name or no query is common, or an id stands twice.
    """
    check_confidence(confidence, resamples)
    names = [name for name in first if name in second]
    if not names:
        raise ValueError(
            "`first` and `second` must have names in common. Received: "
            f"{sorted(first)} and {sorted(second)}."
        )
    ours = as_matrix("first", {name: first[name] for name in names})
    theirs = as_matrix("second", {name: second[name] for name in names})
    rows, their_rows = _pairs(ids, second_ids, len(ours), len(theirs))
    ours, theirs = ours[rows], theirs[their_rows]
    both = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = (np.where(both, each, np.nan) for each in (ours, theirs))
    differences = ours - theirs
    intervals = bootstrap_intervals(
        dict(zip(names, differences.T)), confidence, resamples, seed
    )
    p_values = _sign_test(np.where(both, differences, 0), permutations, seed)
    return {
        name: Comparison(
            _mean(ours[:, i]),
            _mean(theirs[:, i]),
            _mean(differences[:, i]),
            intervals[name],
            float(p_values[i]) if both[:, i].any() else float("nan"),
            int(both[:, i].sum()),
        )
        for i, name in enumerate(names)
    }


def _mean(values):
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _pairs(ids, second_ids, count, second_count):
    """Returns the rows of both sides that are the same query."""
    if (ids is None) != (second_ids is None):
        raise ValueError(
            "`ids` and `second_ids` come together, or not at all. Received: "
            f"{'second_ids' if ids is None else 'ids'} alone."
        )
    if ids is None:
        if count != second_count:
            raise ValueError(
                "Without ids, both must have the same queries, in one order. Received: "
                f"{count} and {second_count} queries. Give `ids` and `second_ids`."
            )
        return np.arange(count), np.arange(count)
    for name, values, length in (
        ("ids", ids, count),
        ("second_ids", second_ids, second_count),
    ):
        if np.shape(values) != (length,) or len(np.unique(values)) != length:
            raise ValueError(
                f"`{name}` must name each of the {length} queries, each id once. "
                f"Received: shape {np.shape(values)}, {len(np.unique(values))} "
                "different ids."
            )
    common, rows, their_rows = np.intersect1d(
        ids, second_ids, assume_unique=True, return_indices=True
    )
    if not len(common):
        raise ValueError(
            "Both must have queries in common, by id. Received: none, with ids such as "
            f"{np.asarray(ids)[:1].tolist()} and {np.asarray(second_ids)[:1].tolist()}."
        )
    order = np.argsort(rows)
    return rows[order], their_rows[order]


def _sign_test(differences, permutations, seed):
    """Returns the two-sided p-value of each column's sum under random signs."""
    p_values = np.ones(differences.shape[1])
    thrown = []
    for i, column in enumerate(differences.T):
        sizes = np.unique(np.abs(column[column != 0]))
        if len(sizes) == 1:
            p_values[i] = _binomial(np.sum(column > 0), np.sum(column != 0))
        elif len(sizes):
            thrown.append(i)
    matrix = differences[:, thrown]
    matrix = matrix[(matrix != 0).any(axis=1)]
    if thrown:
        rng = np.random.default_rng([seed, 1])
        total = matrix.sum(axis=0)
        # A sum is as large as another but for what rounding makes of it.
        bound = np.abs(total) - 1e-9 * np.abs(matrix).sum(axis=0)
        reached = np.zeros(len(thrown), np.int64)
        together = max(1, _SIGNS // len(matrix))
        for start in range(0, permutations, together):
            count = min(together, permutations - start)
            heads = rng.integers(256, size=(count, len(matrix) // 8 + 1), dtype="u1")
            heads = np.unpackbits(heads, axis=1, count=len(matrix))
            sums = 2 * (heads.astype(np.float64) @ matrix) - total
            reached += np.sum(np.abs(sums) >= bound, axis=0)
        p_values[thrown] = (1 + reached) / (1 + permutations)
    return p_values


def _binomial(heads, throws):
    """Returns the two-sided p-value of so many heads of a fair coin."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, throws + 1)))])
    few = np.arange(min(heads, throws - heads) + 1)
    weights = logs[throws] - logs[few] - logs[throws - few] - throws * np.log(2)
    return min(1.0, 2 * float(np.exp(np.logaddexp.reduce(weights))))
