"""The labels of rows, as a vector that NumPy can sort."""

import numpy as np

from tfembed.ops.labels import ONE_HOT

__all__ = ["as_vector", "kept"]


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
