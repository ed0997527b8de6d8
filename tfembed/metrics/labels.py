"""Rows without those of a label that is to be ignored."""

import numpy as np

from tfembed.formats.label_vectors import as_vector, kept


def gallery_without_ignored(ignore_label, gallery, gallery_labels, gallery_ids=None):
    """Leaves out the gallery's rows of one label: see `without_ignored`.

    Returns:
        `gallery, gallery_labels, gallery_ids`, the ids `None` where there are none.
    """
    _, gallery_labels, gallery, gallery_ids = without_ignored(
        ignore_label,
        "gallery_labels",
        gallery_labels,
        gallery=gallery,
        gallery_ids=gallery_ids,
    )
    return gallery, gallery_labels, gallery_ids


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
