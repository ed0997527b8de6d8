"""A search that was stopped, or is over, on disk: gone on from, or not repeated."""

import os

import numpy as np

from tfembed.formats.disk import written_beside
from tfembed.formats.npz import read_npz

__all__ = ["State"]

_VERSION = 1


class State:
    """The file of a search: which rows are compared, and the links so far.

    Args:
        path: The file, an `.npz`.
    """

    def __init__(self, path):
        self.path = os.fspath(path)

    def read(self, rows, floor):
        """Returns what there is of a search of these rows.

        Args:
            rows: `Rows`.
            floor: The lowest score that is asked for; `None` for one of the search's
                own.

        Returns:
            The first row that is not compared, and `Links`; or `None` where there is
            nothing of these embeddings, or nothing so low.
        """
        from tfembed.dedup.search import Links

        try:
            found = read_npz(self.path)
            same = int(found["version"]) == _VERSION
            same &= str(found["sha256"]) == rows.sha256
            lowest, own = float(found["floor"]), bool(found["own_floor"])
            enough = own if floor is None else lowest <= floor
            if not (same and enough):
                return None
            links = Links(*(found[name] for name in _LINKS), lowest)
            return int(found["begin"]), links
        except (KeyError, ValueError):
            return None

    def write(self, rows, begin, links, own_floor):
        """Writes the state of a search.

        Args:
            rows: `Rows`.
            begin: The first row that is not compared with those behind it.
            links: `Links` of what is.
            own_floor: Whether the floor was the search's own.
        """
        with written_beside(self.path) as partial, open(partial, "wb") as file:
            np.savez(
                file,
                version=_VERSION,
                sha256=rows.sha256,
                begin=min(begin, rows.size),
                floor=links.floor,
                own_floor=own_floor,
                **{name: getattr(links, name) for name in _LINKS},
            )


_LINKS = ("first", "second", "scores", "nearest")
