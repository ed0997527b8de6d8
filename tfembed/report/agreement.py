"""Where two runs agree on the same queries, and where one alone is right."""

import dataclasses

import numpy as np

from tfembed.metrics import compare
from tfembed.report.names import isolated
from tfembed.report.neighbors import Search

SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two runs on the queries that both looked up.

    Attributes:
        views: The two runs' views, `View`s.
        positions: Positions of the common queries in the first's and in the second's
            search, `(n,)` each.
        right: Whether the vote is right, `(n,)` each.
        seed: Of the samples that are shown.
    """

    views: tuple
    positions: tuple
    right: tuple
    seed: int

    def counts(self):
        """Returns how often both are right, the first alone, the second, neither."""
        one, other = self.right
        kinds = one & other, one & ~other, ~one & other, ~one & ~other
        return [int(kind.sum()) for kind in kinds]

    def context(self, side):
        """Returns what the template shows."""
        names = [view.run.name for view in self.views]
        both, first, second, neither = self.counts()
        shown = [isolated(name) for name in names]
        total = len(self.right[0])
        rows = [
            ("both", both),
            (f"{shown[0]} alone", first),
            (f"{shown[1]} alone", second),
            ("neither", neither),
        ]
        groups = []
        for who, (mine, theirs) in enumerate((self.right, self.right[::-1])):
            at = np.flatnonzero(mine & ~theirs)
            at = np.random.default_rng(self.seed).permutation(at)[:SHOWN]
            queries = [
                [
                    view.queries([positions[each]], side)[0]
                    for view, positions in zip(self.views, self.positions)
                ]
                for each in at
            ]
            groups.append({"name": shown[who], "queries": queries})
        paired = compare(*({"vote": np.float64(each)} for each in self.right))["vote"]
        low, high = (100 * each for each in paired.interval)
        text = (
            f"{shown[0]} is right on {100 * paired.first:.1f} %, {shown[1]} on "
            f"{100 * paired.second:.1f} %: a difference of "
            f"{100 * paired.difference:+.1f} points, 95 % interval {low:+.1f} to "
            f"{high:+.1f}, p = {paired.p_value:.2g} (the queries being paired). It is "
            "about these queries and these two encoders, not about other seeds."
        )
        return {
            "names": names,
            "text": text,
            "rows": [
                (name, count, f"{100 * count / total:.1f} %") for name, count in rows
            ],
            "total": total,
            "groups": groups,
        }


def agreement(one, other, seed=0):
    """Finds the queries that two runs have in common, by id.

    Args:
        one: A run's view, with `run` and `found`.
        other: Another's.
        seed: Of the samples that are shown.

    Returns:
        An `Agreement`, or None if no labelled query is in both.
    """
    ids = [
        view.run.judged.ids[view.found.queries][_judgeable(view.found)]
        for view in (one, other)
    ]
    rows = [np.flatnonzero(_judgeable(view.found)) for view in (one, other)]
    _, first, second = np.intersect1d(*ids, return_indices=True)
    positions = rows[0][first], rows[1][second]
    labels = [v.found.labels[p] for v, p in zip((one, other), positions)]
    if not len(first) or not np.array_equal(*labels):
        return None
    right = tuple(
        view.found.vote[at] == view.found.labels[at]
        for view, at in zip((one, other), positions)
    )
    return Agreement((one, other), positions, right, seed)


def _judgeable(found: Search):
    return (found.labels >= 0) & (found.vote >= 0)
