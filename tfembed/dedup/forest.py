"""Groups at every threshold at once, in memory for as many links as there are rows.

Two rows are in one group at a threshold if a chain of pairs leads from one to the
other, each of a score at or above it. Of all pairs seen, a *maximum spanning forest*
says the same, at every threshold: of two rows it holds the chain whose lowest score is
the highest there is. It has fewer links than there are rows, however many pairs pass.

So pairs are taken in by batches: those that tell nothing new are dropped, the others
wait, and when there are many, the forest of the old one and of them takes its place
(by Boruvka's rounds, each of whole-array operations).
"""

import numpy as np

__all__ = ["SpanningForest", "connect", "groups_of"]

MOST_WAITING = 1 << 21
_LEVELS = 16
ROUNDING = 4e-6
"""A cosine this close to 1 is 1: float32 does not tell them apart."""


class SpanningForest:
    """The maximum spanning forest of the pairs that were added.

    Args:
        size: Number of rows.
        floor: Lowest score that is added.
        most_waiting: Pairs that wait before they are taken in.
    """

    def __init__(self, size, floor, most_waiting=MOST_WAITING):
        self.size, self._most = size, most_waiting
        floor = min(floor, 1 - ROUNDING)
        self._first = np.empty(0, np.int32)
        self._second = np.empty(0, np.int32)
        self._scores = np.empty(0, np.float32)
        self._waiting, self._count = [], 0
        # Levels evenly apart in angle, the last where cosines are 1 but for rounding.
        angle = np.arccos(min(floor, 1.0))
        levels = np.cos(angle * np.arange(_LEVELS, -1, -1) / _LEVELS)
        levels[0], levels[-1] = floor, 1 - ROUNDING
        self._levels = np.maximum.accumulate(levels).astype(np.float32)
        self._groups = None

    def add(self, first, second, scores):
        """Takes note of pairs.

        Args:
            first: Integers `[p]`, rows.
            second: Integers `[p]`, other rows.
            scores: float32 `[p]`, not below the floor; what is 1 but for rounding
                becomes 1.
        """
        scores = np.where(scores >= 1 - ROUNDING, np.float32(1), scores)
        if self._groups is not None:
            # Whose ends a chain joins already that is at no point lower tells nothing.
            level = np.searchsorted(self._levels, scores, side="left")
            level = np.minimum(level, len(self._levels) - 1)
            new = self._groups[level, first] != self._groups[level, second]
            first, second, scores = first[new], second[new], scores[new]
        if not len(first):
            return
        self._waiting.append(
            (
                first.astype(np.int32),
                second.astype(np.int32),
                scores.astype(np.float32),
            )
        )
        self._count += len(first)
        if self._count >= self._most:
            self._take_in()

    def links(self):
        """Returns the forest: rows, other rows and scores, `[l]`, best first."""
        if self._waiting:
            self._take_in()
        return self._first, self._second, self._scores

    def _take_in(self):
        columns = zip((self._first, self._second, self._scores), *self._waiting)
        first, second, scores = (np.concatenate(column) for column in columns)
        self._waiting, self._count = [], 0
        order = np.lexsort((second, first, -scores))
        first, second, scores = first[order], second[order], scores[order]
        _, kept = connect(np.arange(self.size, dtype=np.int32), first, second)
        self._first, self._second, self._scores = (
            values[kept] for values in (first, second, scores)
        )
        self._groups = np.empty((len(self._levels), self.size), np.int32)
        group, start = np.arange(self.size, dtype=np.int32), 0
        for number in range(len(self._levels) - 1, -1, -1):
            end = np.searchsorted(-self._scores, -self._levels[number], side="right")
            some = slice(start, end)
            group, _ = connect(group, self._first[some], self._second[some])
            self._groups[number], start = group, end


def connect(group, first, second):
    """Joins groups along pairs, of which an earlier one goes before a later one.

    Args:
        group: int32 `[n]`, the group of each row, itself the number of a row.
        first: Integers `[p]`, rows.
        second: Integers `[p]`, other rows.

    Returns:
        The new groups, int32 `[n]`, and which pairs joined two, int64 ascending: of
        pairs sorted by score, the links of the maximum spanning forest.
    """
    size, count = len(group), len(first)
    pairs, kept = np.arange(count), []
    while len(pairs):
        a, b = group[first[pairs]], group[second[pairs]]
        apart = a != b
        pairs, a, b = pairs[apart], a[apart], b[apart]
        if not len(pairs):
            break
        # The earliest pair of each group: written backwards, the earliest stays.
        best = np.full(size, count)
        best[a[::-1]] = pairs[::-1]
        other = np.full(size, count)
        other[b[::-1]] = pairs[::-1]
        np.minimum(best, other, out=best)
        groups = np.flatnonzero(best < count)
        chosen = best[groups]
        kept.append(np.unique(chosen))
        ends = group[first[chosen]].astype(np.int64) + group[second[chosen]]
        parent = np.arange(size, dtype=np.int32)
        parent[groups] = ends - groups
        # Two groups that chose one pair point at each other: the lower is the root.
        back = groups[(parent[parent[groups]] == groups) & (groups < parent[groups])]
        parent[back] = back
        while True:
            further = parent[parent]
            if np.array_equal(further, parent):
                break
            parent = further
        group = parent[group]
    return group, np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


def groups_of(size, first, second):
    """Returns the groups of two rows and more that pairs make.

    Args:
        size: Number of rows.
        first: Integers `[p]`, rows.
        second: Integers `[p]`, other rows.

    Returns:
        List of int64 arrays, each the rows of a group, ascending; the groups in the
        order of their first rows.
    """
    group, _ = connect(np.arange(size, dtype=np.int32), first, second)
    counts = np.bincount(group, minlength=size)
    rows = np.flatnonzero(counts[group] > 1)
    if not len(rows):
        return []
    rows = rows[np.argsort(group[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(group[rows])) + 1
    return sorted(np.split(rows, cuts), key=lambda one: one[0])
