"""The threshold of near duplicates, from the scores of each row's nearest other row.

Near duplicates lie close to their nearest row, all others farther: two humps in the
histogram of the nearest rows' scores, and between them a valley. Bins are equal in the
angle, in which copies that are a little changed spread as other neighbours do, and
heights are compared by their roots, in which chance moves low and high bins alike: a
few copies among a million rows are as plain as many. What is no deep valley is none.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfembed.hints import Array

__all__ = ["DEFAULT", "Histogram", "Threshold", "choose_threshold", "histogram"]

DEFAULT = 0.95
"""The threshold where none is given and the histogram has no valley."""
_DEGREES = 90
_SMOOTH = np.array([1, 4, 6, 4, 1]) / 16
_DEPTH = 1.5  # of roots of counts, of which chance moves one by a half
_NEARLY = 0.8  # of the deepest valley's depth is as deep
_FEWEST = 4  # rows on the near side of a valley


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts of cosines, from 1 down to 0 in degrees of angle.

    Attributes:
        edges: Cosines `[bins + 1]`, from 1 down to 0.
        counts: Integers `[bins]`; what is below 0 is in the last.
    """

    edges: Any
    counts: Any


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A threshold, and where it is from.

    Attributes:
        value: The cosine.
        source: `"given"`, `"valley"` or `"default"`.
        reason: A sentence.
    """

    value: float
    source: str
    reason: str


def histogram(nearest):
    """Counts the scores of the nearest rows.

    Args:
        nearest: Cosines `[n]`.

    Returns:
        `Histogram`, of one bin a degree.
    """
    angles = np.degrees(np.arccos(np.clip(nearest, -1, 1)))
    bins = np.minimum(angles.astype(int), _DEGREES - 1)
    edges = np.cos(np.radians(np.arange(_DEGREES + 1)))
    return Histogram(edges, np.bincount(bins, minlength=_DEGREES))


def choose_threshold(nearest: Array, lowest: float = 0.8) -> Threshold:
    """Finds the valley between near duplicates and all others.

    Args:
        nearest: Cosines `[n]` of each row to its nearest other row.
        lowest: No valley is looked for below it.

    Returns:
        `Threshold`: at the bottom of the deepest valley, of several as deep ones the
        farthest; else `DEFAULT`, or `lowest` where that is higher.
    """
    counts = histogram(nearest).counts
    smooth = np.convolve(counts, _SMOOTH, "same")
    heights = np.sqrt(smooth)
    before = np.maximum.accumulate(heights)
    behind = np.maximum.accumulate(heights[::-1])[::-1]
    depth = np.minimum(before, behind) - heights
    last = int(np.degrees(np.arccos(min(max(lowest, -1), 1))))
    near = np.cumsum(counts)
    possible = (np.arange(_DEGREES) < last) & (near >= _FEWEST)
    depth = np.where(possible, depth, -1)
    deepest = depth.max()
    if deepest < _DEPTH:
        value = max(DEFAULT, lowest)
        return Threshold(
            float(value),
            "default",
            "the scores of the nearest pictures have no clear valley between near "
            f"duplicates and others, so it is the default, {value:.3f}; look at the "
            "least certain groups, and give another with --threshold",
        )
    # The farthest valley that is as good as the deepest: copies have valleys of their
    # own, between those that are the same and those that are not quite.
    deep = np.flatnonzero(depth >= max(_DEPTH, _NEARLY * deepest))
    deep = _runs(deep)[-1]
    flat = deep[heights[deep] <= heights[deep].min() + 1e-9]
    flat = max(_runs(flat), key=len)
    middle = (flat[0] + flat[-1] + 1) / 2
    value = float(np.cos(np.radians(middle)))
    nearer = int(np.sum(np.asarray(nearest) >= value))
    return Threshold(
        value,
        "valley",
        f"the valley of the scores of the nearest pictures: {nearer:,} are nearer, "
        f"{len(np.asarray(nearest)) - nearer:,} farther",
    )


def _runs(numbers):
    """Parts ascending integers where one is missing."""
    return np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
