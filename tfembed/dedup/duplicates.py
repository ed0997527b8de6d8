"""Groups of near duplicates: of embeddings alone, and with what is to be kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfembed.dedup.forest import groups_of
from tfembed.dedup.rows import Rows
from tfembed.dedup.search import LOWEST, Links, find_links
from tfembed.dedup.threshold import Threshold, choose_threshold
from tfembed.ops.arguments import as_number

__all__ = ["Duplicates", "check_threshold", "find_duplicates", "threshold_of"]


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Near duplicates among rows.

    Attributes:
        groups: List of int64 arrays, the rows of each group, ascending.
        threshold: `Threshold`: the lowest cosine of a pair.
        links: `tfembed.dedup.Links`.
    """

    groups: list[np.ndarray]
    threshold: Threshold
    links: Links

    @property
    def rows(self) -> int:
        """Number of rows in groups."""
        return sum(map(len, self.groups))


def find_duplicates(
    embeddings: Rows,
    threshold: float | None = None,
    say: Callable[[str], object] | None = None,
    state: Any = None,
) -> Duplicates:
    """Finds the near duplicates among embeddings, exactly and in bounded memory.

    Groups are the connected components of all pairs of rows whose cosine is at or above
    the threshold: of a chain of near duplicates the ends may be less alike.

    ```python
    found = find_duplicates(embeddings)
    print(found.threshold.value, [group.tolist() for group in found.groups])
    ```

    Args:
        embeddings: Float array `[n, d]`, of any lengths; an `np.memmap` is read by
            blocks. Or `tfembed.dedup.rows.Rows`.
        threshold: A cosine above 0; `None` for the valley in the histogram of the
            nearest rows' cosines (`choose_threshold`).
        say: Function that is given a line of progress now and then.
        state: As in `find_links`.

    Returns:
        `Duplicates`.

    Raises:
        ValueError: If the threshold is none, or the embeddings are no finite matrix.
    """
    check_threshold(threshold)
    rows = embeddings
    if not isinstance(rows, Rows):
        rows = Rows([(_array(embeddings), None)], "`embeddings`")
    links = find_links(rows, threshold, say=say, state=state)
    chosen = threshold_of(links, threshold)
    kept = links.scores >= np.float32(chosen.value)
    groups = groups_of(rows.size, links.first[kept], links.second[kept])
    return Duplicates(groups, chosen, links)


def threshold_of(links, threshold=None):
    """Returns the `Threshold` that was given, or that the scores say."""
    if threshold is not None:
        return Threshold(float(threshold), "given", "it was given")
    return choose_threshold(links.nearest, max(LOWEST, links.floor))


def check_threshold(threshold):
    """Raises a ValueError unless it is `None` or a cosine above 0."""
    if threshold is None:
        return
    as_number("threshold", threshold, above=0, most=1, note=", a cosine")


def _array(embeddings):
    return embeddings if isinstance(embeddings, np.ndarray) else np.asarray(embeddings)
