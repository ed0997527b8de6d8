"""The positives of every training instance, as two arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfembed.hints import Array, Labels


class PositiveSets:
    """Which instances count as being alike: a symmetric relation, kept as arrays.

    The members of instance i are `indices[offsets[i]:offsets[i + 1]]`, rising, i among
    them always. What is kept is one integer a member and one an instance; nothing is
    done in a Python loop over instances.

    >>> sets = PositiveSets.alone(4).with_pairs([0, 3], [2, 0])
    >>> sets.offsets.tolist(), sets.indices.tolist()
    ([0, 3, 4, 6, 8], [0, 2, 3, 1, 0, 2, 0, 3])
    >>> sets.mean_others
    1.0

    Args:
        offsets: `(size + 1,)`, int64.
        indices: `(members of all sets,)`, int32, or int64 from 2^31 instances on.
    """

    def __init__(self, offsets: np.ndarray, indices: np.ndarray) -> None:
        self.offsets = np.asarray(offsets, np.int64)
        self.size = len(self.offsets) - 1
        small = self.size < 2**31
        self.indices = np.asarray(indices, np.int32 if small else np.int64)

    @classmethod
    def alone(cls, size: int) -> PositiveSets:
        """Returns the sets of `size` instances that have no other member."""
        return cls(np.arange(size + 1), np.arange(size))

    @property
    def counts(self) -> np.ndarray:
        """Members of each set, the instance itself included: `(size,)`, int64."""
        return np.diff(self.offsets)

    @property
    def others(self) -> int:
        """Members of all sets but the instances themselves, an integer."""
        return len(self.indices) - self.size

    @property
    def mean_others(self) -> float:
        """Members of a set but the instance itself, on average."""
        return self.others / self.size

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns instances and their other members, two int64 arrays."""
        rows = np.repeat(np.arange(self.size), self.counts)
        other = rows != self.indices
        return rows[other], self.indices[other].astype(np.int64)

    def with_pairs(self, rows: Labels, columns: Labels) -> PositiveSets:
        """Returns sets in which `rows[k]` and `columns[k]` are in each other's set.

        Not transitive: a member's members do not follow.

        Args:
            rows: Integers in `[0, size)`.
            columns: Integers in `[0, size)`, as many.

        Raises:
            ValueError: If the numbers are not such.
        """
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        if rows.ndim != 1 or rows.shape != columns.shape:
            raise ValueError(
                "`rows` and `columns` must be lists of as many integers. Received: "
                f"shapes {rows.shape} and {columns.shape}."
            )
        for name, values in (("rows", rows), ("columns", columns)):
            if len(values) and not 0 <= values.min() <= values.max() < self.size:
                raise ValueError(
                    f"`{name}` must lie in [0, {self.size}), the instances. Received: "
                    f"from {values.min()} to {values.max()}."
                )
        mine = np.repeat(np.arange(self.size), self.counts)
        keys = np.concatenate(
            [
                np.add(mine * self.size, self.indices),
                rows * self.size + columns,
                columns * self.size + rows,
            ]
        )
        keys = np.unique(keys)  # sorted by instance, then member
        counts = np.bincount(keys // self.size, minlength=self.size)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return type(self)(offsets, keys % self.size)

    def with_best_pairs(
        self,
        rows: Labels,
        columns: Labels,
        goodness: Array | Sequence[float],
        limit: float,
    ) -> PositiveSets:
        """Returns sets grown by pairs, the best first, until there are enough.

        Args:
            rows: As in `with_pairs`.
            columns: As there.
            goodness: A number for each pair; of equally good ones the first counts.
            limit: `others` of the grown sets is at most this, and at most one less
                where there were pairs enough. Infinity for all pairs.
        """
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        if math.isfinite(limit):
            low, high = np.minimum(rows, columns), np.maximum(rows, columns)
            mine, others = self.pairs()
            known = np.unique((mine * self.size + others)[mine < others])
            keys = low * self.size + high
            order = np.argsort(-np.asarray(goodness), kind="stable")
            # Each pair at its best place, and none that is known or no pair.
            _, first = np.unique(keys[order], return_index=True)
            order = order[np.sort(first)]
            new = (low != high)[order] & ~np.isin(keys[order], known)
            order = order[new][: max(0, int(limit) - self.others) // 2]
            rows, columns = rows[order], columns[order]
        return self.with_pairs(rows, columns)

    def precision(self, labels: Labels) -> float:
        """Returns the share of other members with the instance's label.

        NaN where no set has another member.

        Args:
            labels: `(size,)`. They measure, and are used for nothing else.
        """
        rows, columns = self.pairs()
        if not len(rows):
            return float("nan")
        labels = np.asarray(labels)
        return float(np.mean(labels[rows] == labels[columns]))
