r"""Lists of ids and labels, one a row, in the two forms that exports take.

As lines, each list is one string: an entry a line, with `\\` for a backslash and `\n`
for a line break. The tensor has one shape for all callers, so that a server may join
their requests. As a table, padded with empty strings, which is all that older exports
take: TF Serving fails all that it joins where the widths differ.
"""

import numpy as np


def as_lines(lists):
    """Writes each list as text.

    Args:
        lists: Iterable of lists of `str`. Empty strings at the end are padding and
            left out.

    Returns:
        List of `str`.
    """
    return [
        "\n".join(
            value.replace("\\", "\\\\").replace("\n", "\\n") for value in row
        ).rstrip("\n")
        for row in lists
    ]


def as_table(lists):
    """Writes the lists as an array.

    Args:
        lists: Sequence of lists of `str`.

    Returns:
        `np.ndarray` of `str`, `(rows, longest)`, padded with empty strings to at least
        one column.
    """
    width = max(1, max(map(len, lists), default=1))
    table = np.full([len(lists), width], "", dtype=object)
    for row, values in enumerate(lists):
        table[row, : len(values)] = values
    return table.astype(str)


def read_scores(texts, lists):
    """Reads the scores of given ids, one a line, empty where there is none.

    Args:
        texts: `(rows,)` of `str`; one of fewer lines than ids lacks the last ones.
        lists: The ids asked for, as many in each row.

    Returns:
        `scores` float32 and `found` bool, `(rows, ids)`.

    Raises:
        ValueError: If a text is none of such lines.
    """
    scores = np.zeros([len(lists), len(lists[0])], np.float32)
    found = np.zeros(scores.shape, bool)
    for row, text in enumerate(texts):
        lines = text.split("\n")
        found[row, : len(lines)] = [line != "" for line in lines]
        scores[row, : len(lines)] = [float(line or 0) for line in lines]
    return scores, found
