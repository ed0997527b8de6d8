"""The gallery of a version, read back from its variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed.export.card import read_card
from tfembed.export.heads import load_head
from tfembed.export.run_directory import Gallery
from tfembed.export.saved_variables import gallery_variables, read_variables
from tfembed.export.versions import held, version_paths
from tfembed.formats.version_folders import is_one_version
from tfembed.hints import PathLike

_ROWS_AT_ONCE = 1 << 16


def read_served_gallery(path: PathLike) -> Gallery:
    """Reads the gallery of a served model, as it is served.

    A head that is not tfembed's is imported, by the name that the card has of it.

    >>> import tempfile
    >>> from tfembed.export import read_served_gallery
    >>> with tempfile.TemporaryDirectory() as models:  # nothing was exported to it
    ...     read_served_gallery(models).embeddings.shape
    Traceback (most recent call last):
        ...
    ValueError: `model_base` must be a folder with numbered versions. ...

    Args:
        path: Folder with one numbered folder a version, of which the newest is read;
            or the folder of one version.

    Returns:
        `tfembed.export.run_directory.Gallery`. The embeddings are as the head keeps
        them: rounded, of a `bfloat16` head.

    Raises:
        ValueError: If there is no version that tfembed.export wrote.
    """
    path = Path(path)
    if is_one_version(path):
        return _read(path)
    while True:
        newest = list(version_paths(path).values())[-1]
        try:
            return _read(newest)
        except FileNotFoundError:
            if newest.is_dir():
                raise
            # It was pruned before it was opened, so there is a newer one.


def _read(path):
    with held(path):
        ids, labels, names, rest = read_rows(path)
        dim, embeddings = None, None
        for rows, part in stored_rows(path, read_card(path)["head"]["head"]):
            if embeddings is None:
                dim = part.shape[1]
                embeddings = np.empty((len(ids), dim), np.float32)
            embeddings[rows] = part
    return Gallery(embeddings, labels, ids, names, **rest)


def read_rows(path):
    """Reads what a version knows of its rows, but for their embeddings.

    Args:
        path: Folder of the version.

    Returns:
        Ids, strings `(n,)`; labels, int64 `(n,)`; class names, strings `(c,)`; and a
        dictionary of the rest of a `Gallery`.
    """
    names = ("gallery_ids", "gallery_labels", "label_names")
    scalars = ("known_threshold", "vote_temperature", "vote_k")
    read = read_variables(path, [*names, *scalars])
    ids = np.char.decode(read.pop("gallery_ids").numpy().astype("S"), "utf-8")
    classes = read["label_names"].numpy()[1:].astype("S")
    classes = np.char.decode(classes, "utf-8") if len(classes) else np.empty(0, str)
    rest = {name: read[name].numpy().item() for name in scalars}
    return ids, read["gallery_labels"].numpy(), classes, rest


def stored_rows(path, head):
    """Yields a version's rows, some at a time, in the order in which the head has them.

    The head's variables are in memory until the last.

    Args:
        path: Folder of the version.
        head: Name of its head.

    Yields:
        `(rows, embeddings)`: int32 `(some,)`, rows of the gallery, and float32
        `(some, d)`.
    """
    head = load_head(head)
    shared = {"gallery_ids", "gallery_labels", "id_hashes", "id_rows", "label_names"}
    names = [name for name in gallery_variables(path) if name not in shared]
    with tf.device("CPU"):
        variables = read_variables(path, names)
        total = int(head.stored_count(variables))
        for start in range(0, total, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, total - start)
            part, rows = head.stored(variables, tf.constant(start), tf.constant(count))
            rows, part = rows.numpy(), np.asarray(memoryview(part))
            there = rows >= 0
            yield rows[there], part[there]
