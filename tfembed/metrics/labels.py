"""The labels of rows, as a vector that NumPy can sort."""

import numpy as np

from tfembed.ops.labels import ONE_HOT


def as_vector(name, labels, rows=None):
    """Returns labels as an array `(rows,)`.

    Args:
        name: Of the argument.
        labels: `(rows,)` or `(rows, 1)`.
        rows: How many there must be; `None`: any number.

    Raises:
        ValueError: If the labels are one-hot rows, or not one for each row.
    """
    labels = np.asarray(labels)
    if labels.ndim > 1 and labels.shape[1:] != (1,) * (labels.ndim - 1):
        raise ValueError(ONE_HOT.format(name=f"`{name}`", shape=labels.shape))
    labels = labels.reshape(-1)
    if rows is not None and len(labels) != rows:
        raise ValueError(
            f"`{name}` must have one label for each row. Received: {len(labels)} "
            f"labels and {rows} rows."
        )
    return labels


def kept(labels, ignore_label):
    """Tells which labels are not the one to ignore, bool `(rows,)`.

    Args:
        labels: `(rows,)`.
        ignore_label: A label, or `None`: all are kept.

    Raises:
        ValueError: If a number is to be ignored among strings, or the reverse.
    """
    if ignore_label is None:
        return np.ones(len(labels), bool)
    name = isinstance(ignore_label, (str, bytes))
    if labels.dtype.kind in "OUS":
        label = ignore_label
        if labels.dtype.kind == "S" and isinstance(label, str):
            label = label.encode()
        strings = labels.dtype.kind in "US"
        if not strings or name:
            return np.array([each != label for each in labels.tolist()], bool)
    elif not name:
        return labels != ignore_label
    raise ValueError(
        "`ignore_label` must be of the labels' kind, a number among numbers and a "
        f"string among strings. Received: ignore_label={ignore_label!r} and labels of "
        f"dtype {labels.dtype}."
    )


def without_ignored(ignore_label, labels_name, labels, **arrays):
    """Leaves out the rows of one label.

    Args:
        ignore_label: A label, or `None`.
        labels_name: What the labels are called, for errors.
        labels: `(rows,)` or `(rows, 1)`.
        **arrays: `(rows, ...)`, by name, the first one says how many rows there are;
            `None` stays `None`.

    Returns:
        A list: which rows are kept, bool `(rows,)`; their labels; and of each array
        their rows.

    Raises:
        ValueError: If the labels are no vector or not one for each row, an array has
            not as many rows as the first one, or no row remains.
    """
    arrays = {k: None if a is None else np.asarray(a) for k, a in arrays.items()}
    first = next(iter(arrays.values()))
    labels = as_vector(labels_name, labels, len(first))
    if ignore_label is None:
        return [np.ones(len(labels), bool), labels, *arrays.values()]
    for name, values in arrays.items():
        if values is not None and len(values) != len(labels):
            raise ValueError(
                f"`{name}` must have one entry for each row. Received: {len(values)} "
                f"for {len(labels)} rows."
            )
    rows = kept(labels, ignore_label)
    if len(rows) and not rows.any():
        raise ValueError(
            f"`{labels_name}` must have a label besides the one to ignore. Received: "
            f"ignore_label={ignore_label!r} for each of {len(rows)} rows."
        )
    some = [None if values is None else values[rows] for values in arrays.values()]
    return [rows, labels[rows], *some]
