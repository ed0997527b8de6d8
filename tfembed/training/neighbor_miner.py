"""Positives of all instances by plain distance: what mining is measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tfembed.ops.arguments import check_count
from tfembed.ops.rows import read_rows
from tfembed.ops.streamed_neighbors import streamed_neighbors
from tfembed.training.positive_sets import PositiveSets

BATCH = 256


class NeighborMiner:
    """Takes the closest pairs of a memory bank for each other's positives.

    No network, no threshold: of the `neighbors` nearest rows of each row those pairs
    come first that are most similar.

    >>> from tfembed.layers import MemoryBank
    >>> from tfembed.training import NeighborMiner, PositiveSets
    >>> bank = MemoryBank(4, 2)
    >>> bank.build()
    >>> rows = bank.variable.assign([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]])
    >>> sets = NeighborMiner(bank, neighbors=1).mine(PositiveSets.alone(4), limit=2)
    >>> sets.indices.tolist()  # 0 and 2 are each other's positives
    [0, 2, 1, 0, 2, 3]

    Args:
        bank: The `MemoryBank`.
        neighbors: Rows that are looked at near each row.
    """

    def __init__(self, bank: keras.layers.Layer, neighbors: int = 10) -> None:
        check_count(neighbors=neighbors)
        self.bank = bank
        self.neighbors = int(neighbors)

    def mine(
        self,
        sets: PositiveSets,
        limit: float,
        report: Callable[[int, int], object] | None = None,
    ) -> PositiveSets:
        """Grows sets by the closest pairs.

        Args:
            sets: The `PositiveSets` so far.
            limit: As in `PositiveSets.with_best_pairs`.
            report: Called as `report(steps done, steps)` after each step.

        Returns:
            The grown `PositiveSets`.
        """
        size = self.bank.size
        k = min(self.neighbors + 1, size)
        steps = -(-size // BATCH)

        @tf.function(reduce_retracing=True)
        def search(rows):
            bank = self.bank.variable
            return streamed_neighbors(read_rows(bank, rows), bank, k)

        pairs = []
        for step in range(steps):
            rows = np.arange(step * BATCH, min(size, (step + 1) * BATCH))
            cosines, found = (each.numpy() for each in search(tf.constant(rows)))
            other = found != rows[:, None]
            other &= np.cumsum(other, axis=1) <= self.neighbors
            place, column = np.nonzero(other)
            pairs.append((rows[place], found[place, column], cosines[place, column]))
            if report is not None:
                report(step + 1, steps)
        near, others, goodness = map(np.concatenate, zip(*pairs))
        return sets.with_best_pairs(near, others, goodness, limit)
