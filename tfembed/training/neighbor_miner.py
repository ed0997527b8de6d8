"""Positives of all instances by plain distance: what mining is measured against."""

import numpy as np
import tensorflow as tf

from tfembed.ops.arguments import check_count
from tfembed.ops.rows import read_rows
from tfembed.ops.streamed_neighbors import streamed_neighbors

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

    def __init__(self, bank, neighbors=10):
        check_count(neighbors=neighbors)
        self.bank = bank
        self.neighbors = int(neighbors)

    def mine(self, sets, limit, report=None):
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
        return sets.with_best_pairs(*map(np.concatenate, zip(*pairs)), limit)
