"""A few pictures of a served gallery to begin with, spread over it and its classes.

Which ones depends on the gallery and on the pictures that there are, and on nothing
else. Of a gallery of any size the labels are read once, and a few ids; no picture is
opened for it.
"""

import threading
import weakref

import numpy as np

__all__ = ["COUNT", "GallerySamples", "spread_rows"]

COUNT = 16
_TRIES = 8  # rows looked at for each picture wanted, where pictures are missing


class GallerySamples:
    """The pictures to begin with, found once for each loaded version.

    Args:
        count: How many.
    """

    def __init__(self, count=COUNT):
        self._count = count
        self._found = weakref.WeakKeyDictionary()  # servable: what `of` returns
        self._lock = threading.Lock()

    def of(self, servable, pictures):
        """Returns some rows that have pictures.

        Args:
            servable: A loaded `Servable`.
            pictures: What `open_thumbnails` returned.

        Returns:
            A dictionary: `images`, list of dictionaries with `id` and `label` (empty
            where unknown) in the gallery's order, and `missing`, an id without a
            picture where none of those that were looked at has one, else `None`.
        """
        with self._lock:
            if servable not in self._found:
                self._found[servable] = self._find(servable, pictures)
            return self._found[servable]

    def _find(self, servable, pictures):
        labels = servable.gallery("gallery_labels")
        if labels is None or not len(labels):
            return {"images": [], "missing": None}
        wanted = spread_rows(labels, _TRIES * self._count)
        names = servable.gallery("gallery_ids", wanted)
        names = [each.decode("utf-8", "replace") for each in names]
        chosen = []
        for row, name in zip(wanted, names):
            if pictures.has(name):
                chosen.append((int(row), name))
            if len(chosen) == self._count:
                break
        chosen.sort()
        rows = np.array([row for row, _ in chosen], np.int64)
        classes = servable.gallery("label_names", labels[rows] + 1)
        images = [
            {"id": name, "label": label.decode("utf-8", "replace")}
            for (_, name), label in zip(chosen, classes)
        ]
        return {"images": images, "missing": None if images else names[0]}


def spread_rows(labels, count):
    """Chooses rows so that the first few of them show all that a gallery has.

    Classes take turns, those far apart first where there are more of them than rows
    wanted; within a class its rows do, from its middle on.

    Args:
        labels: Integers `(n,)`; rows of one number are a class.
        count: How many rows, fewer where there are not so many.

    Returns:
        int64 `(count,)`, rows, each once; the same for the same labels.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    classes = _spread(len(starts), count)
    places = [_spread(size, count) for size in sizes[classes]]
    rows = []
    for turn in range(max(map(len, places), default=0)):
        for number, within in zip(classes, places):
            if turn < len(within):
                rows.append(order[starts[number] + within[turn]])
        if len(rows) >= count:
            break
    return np.array(rows[:count], np.int64)


def _spread(size, count):
    """The first `count` of an order of `range(size)` that is even at every length.

    It is van der Corput's sequence: a half, a quarter, three quarters, an eighth, ...
    """
    count = min(count, size)
    bits = max(int(size).bit_length() + 1, 2)
    seen, found = set(), []
    for number in range(1, 1 << bits):
        at = int(f"{number:0{bits}b}"[::-1], 2) * size >> bits
        if at not in seen:
            seen.add(at)
            found.append(at)
        if len(found) == count:
            break
    return found
