"""Which picture of each group is kept, and how like it the others are."""

import csv
import dataclasses
import io
from typing import Any

import numpy as np

from tfembed.formats.disk import written_beside

__all__ = ["COLUMNS", "Members", "find_kept", "write_csv"]

COLUMNS = ("group", "path", "kept", "width", "height", "bytes", "score")
_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Members:
    """The pictures of all groups, the surest group first.

    The first of a group is kept; the others follow, the most like it first.

    Attributes:
        rows: int64 `[m]`.
        starts: int64 `[g + 1]`: group i is `rows[starts[i]:starts[i + 1]]`.
        widths: int64 `[m]`, -1 where not known.
        heights: int64 `[m]`, likewise.
        bytes: int64 `[m]`, likewise.
        scores: float32 `[m]`: cosine to the one that is kept, which has 1.
    """

    rows: Any
    starts: Any
    widths: Any
    heights: Any
    bytes: Any
    scores: Any

    def __len__(self):
        """Number of groups."""
        return len(self.starts) - 1

    def group(self, number):
        """Returns the slice of a group."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    @property
    def others(self):
        """Whether each member is another than the kept one, bool `[m]`."""
        others = np.ones(len(self.rows), bool)
        others[self.starts[:-1]] = False
        return others

    def certainty(self, number):
        """Returns the lowest score of a group."""
        return float(self.scores[self.group(number)].min())


def find_kept(groups, rows, pictures, say=None):
    """Orders groups and their members: kept is the largest, then the first by name.

    Args:
        groups: List of integer arrays, rows.
        rows: `Rows`.
        pictures: What `tfembed.dedup.pictures` has.
        say: Function that is given a line of progress now and then.

    Returns:
        `Members`.
    """
    found = [_ordered(group, rows, pictures) for group in groups]
    found.sort(key=lambda each: (-each[1].min(), each[3]))
    parts = [each[0] for each in found]
    sizes = [size for each in found for size in each[2]]
    return Members(
        np.concatenate(parts) if parts else np.empty(0, np.int64),
        np.cumsum([0, *map(len, parts)]),
        np.array([size.width for size in sizes], np.int64),
        np.array([size.height for size in sizes], np.int64),
        np.array([size.bytes for size in sizes], np.int64),
        np.concatenate([each[1] for each in found]) if found else np.empty(0, "f4"),
    )


def _ordered(group, rows, pictures):
    """Returns the rows of a group in order, their scores, sizes, and the first name."""
    names = rows.ids(group)
    sizes = [pictures.size(name) for name in names]
    pixels = [size.width * size.height if size.width > 0 else 0 for size in sizes]
    kept = min(range(len(group)), key=lambda one: (-pixels[one], names[one]))
    scores = np.empty(len(group), np.float32)
    best = rows.take([group[kept]])[0]
    for start in range(0, len(group), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores[part] = np.clip(rows.take(group[part]) @ best, -1, 1)
    scores[kept] = 1
    order = sorted(
        range(len(group)), key=lambda one: (one != kept, -scores[one], names[one])
    )
    return (
        np.asarray(group)[order],
        scores[order],
        [sizes[one] for one in order],
        names[kept],
    )


def write_csv(path, members, rows):
    """Writes a line for each picture of each group.

    Args:
        path: The file.
        members: `Members`.
        rows: `Rows`.
    """
    with written_beside(path) as partial:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for number in range(len(members)):
                writer.writerows(_lines(members, number, rows))


def _lines(members, number, rows):
    part = members.group(number)
    names = rows.ids(members.rows[part])
    for at, name in zip(range(part.start, part.stop), names):
        numbers = (members.widths[at], members.heights[at], members.bytes[at])
        yield (
            number + 1,
            name,
            "yes" if at == part.start else "no",
            *("" if value < 0 else int(value) for value in numbers),
            f"{members.scores[at]:.6f}",
        )


def csv_line(values):
    """Returns values as a line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
