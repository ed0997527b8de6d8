"""What was found, as lines of text for a terminal."""

import math

__all__ = ["histogram_lines", "table_lines"]

_WIDTH = 40
_DEGREES = 2  # a line


def histogram_lines(counts, threshold):
    """Draws the histogram of the nearest rows' cosines.

    Args:
        counts: Integers, one a degree of angle, nearest first.
        threshold: The cosine at which a line is drawn.

    Returns:
        List of lines; lengths are by the roots of the counts.
    """
    counts = list(counts)
    cut = math.degrees(math.acos(min(threshold, 1.0)))
    last = max([number for number, count in enumerate(counts) if count] + [0])
    sums = [
        sum(counts[first : first + _DEGREES]) for first in range(0, last + 1, _DEGREES)
    ]
    longest = math.sqrt(max([*sums, 1]))
    lines = []
    for number, count in enumerate(sums):
        first = number * _DEGREES
        if first <= cut < first + _DEGREES:
            lines.append(f"  {threshold:.4f} {'-' * _WIDTH} threshold")
        high, low = (math.cos(math.radians(each)) for each in (first, first + _DEGREES))
        bar = "#" * math.ceil(_WIDTH * math.sqrt(count) / longest)
        lines.append(f"  {high:.4f} to {low:.4f}  {count:>9,} {bar}".rstrip())
    return lines


def table_lines(table, threshold):
    """Writes what several thresholds would find.

    Args:
        table: List of `(threshold, groups, pictures beside the kept ones)`.
        threshold: The one that was taken.

    Returns:
        List of lines.
    """
    lines = [f"  {'threshold':>9}  {'groups':>9}  beside the kept ones"]
    for value, groups, others in table:
        mark = " *" if value == threshold else ""
        lines.append(f"  {value:>9.4f}  {groups:>9,}  {others:,}{mark}")
    return lines
