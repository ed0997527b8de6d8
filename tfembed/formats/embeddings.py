"""Embeddings read back from disk: shards of a folder, or one file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfembed.formats.npz import Npz
from tfembed.formats.run_config import check_run, run_resize
from tfembed.formats.shards import (
    FORMATS,
    read_manifest,
    read_manifest_inside,
    require_pyarrow,
)
from tfembed.formats.text_columns import ARRAYS, join_columns, unpack_columns
from tfembed.hints import PathLike

__all__ = ["EmbeddingFiles", "Embeddings", "read_embeddings"]

_ADVICE = (
    "Write it with `python -m tfembed.embed`, or `numpy.savez` without object arrays."
)


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings with their ids and labels.

    >>> import os, tempfile
    >>> from tfembed.data import read_embeddings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "mine.npz")
    ...     np.savez(path, embeddings=np.eye(3), labels=[0, 1, 1], ids=["a", "b", "c"])
    ...     found = read_embeddings(path).load()
    >>> found.embeddings.shape, found.labels.tolist(), found.ids.tolist()
    ((3, 3), [0, 1, 1], ['a', 'b', 'c'])

    Attributes:
        embeddings: Float array `[n, d]`; of an uncompressed `.npz`, an `np.memmap`.
        labels: int64 `[n]`, -1 where unknown; or strings `[n]`, empty where unknown, of
            a file that has names and was read with `text_labels`.
        ids: Strings `[n]`.
        metadata: What else a list of images says of each: dictionary of a column's name
            to an object array of `str`, `[n]`; empty where nothing is.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    metadata: dict = dataclasses.field(default_factory=dict)


class EmbeddingFiles:
    """Embeddings on disk, read a file at a time or all at once.

    ```python
    files = read_embeddings("catalogue")
    for part in files:  # one shard in memory at a time
        print(part.embeddings.shape, part.ids[0])
    everything = files.load()
    ```

    >>> import os, tempfile
    >>> from tfembed.data import read_embeddings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "mine.npz")
    ...     np.savez(path, embeddings=np.eye(3), labels=[0, 1, 1], ids=["a", "b", "c"])
    ...     files = read_embeddings(path)
    ...     [part.embeddings.shape for part in files]
    [(3, 3)]

    Attributes:
        paths: The files, in order.
        class_names: Tuple of strings, the name of each label; empty if not known.
        manifest: The dictionary in `manifest.json`; `None` if there is none.
    """

    def __init__(
        self,
        paths: Sequence[PathLike],
        class_names: Sequence[str] = (),
        manifest: dict[str, Any] | None = None,
        text_labels: bool = False,
    ) -> None:
        """Keeps paths; opens nothing."""
        self.paths = list(paths)
        self._text_labels = text_labels
        self.class_names = tuple(class_names)
        self.manifest: Any = manifest

    @property
    def resize(self) -> str | None:
        """How pictures were resized before they were embedded; `None` if not known."""
        manifest = self.manifest
        if manifest is None and len(self.paths) == 1:
            folder, name = os.path.split(self.paths[0])
            if name == "gallery.npz":
                return run_resize(folder or os.curdir)
            manifest = _manifest_inside(self.paths[0])
        identity = (manifest or {}).get("identity")
        return identity.get("resize", "squash") if identity else None

    def __len__(self) -> int:
        """Number of files."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Embeddings]:
        """Yields the `Embeddings` of each file."""
        for path in self.paths:
            yield _read(path, self._text_labels)

    def load(self) -> Embeddings:
        """Reads all files.

        Returns:
            An `Embeddings` in memory; of a single `.npz`, with mapped embeddings.

        Raises:
            ValueError: If the files hold embeddings of different lengths.
        """
        if len(self.paths) == 1:
            return _read(self.paths[0], self._text_labels)
        labels, ids, lengths, columns = [], [], set(), []
        for part in self:  # twice over the files, so that one array is made once
            labels.append(part.labels)
            ids.append(part.ids)
            columns.append((part.metadata, len(part.ids)))
            lengths.add(part.embeddings.shape[1])
        if len(lengths) > 1:
            raise ValueError(
                "The files must hold embeddings of one length. "
                f"Received: lengths {sorted(lengths)} in "
                f"{os.path.dirname(self.paths[0])!r}. Embed all with one model."
            )
        labels, ids = np.concatenate(labels), np.concatenate(ids)
        embeddings: Any = None
        start = 0
        for part in self:
            if embeddings is None:
                shape = len(labels), part.embeddings.shape[1]
                embeddings = np.empty(shape, part.embeddings.dtype)
            embeddings[start : start + len(part.ids)] = part.embeddings
            start += len(part.ids)
        return Embeddings(embeddings, labels, ids, join_columns(columns))


def read_embeddings(path: PathLike, text_labels: bool = False) -> EmbeddingFiles:
    """Finds embeddings that were written to disk.

    >>> import os, tempfile
    >>> from tfembed.data import read_embeddings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "mine.npz")
    ...     np.savez(path, embeddings=np.eye(3), labels=[0, 1, 1], ids=["a", "b", "c"])
    ...     read_embeddings(path).load().ids.tolist()
    ['a', 'b', 'c']

    Args:
        path: A folder that `tfembed.embed` or `tfembed.interop` wrote, a run directory
            (its `gallery.npz`), or a file: `.npz` with the arrays `embeddings`, and
            `labels` and `ids` if there are any, or `.parquet` with the columns
            `embedding`, `id`, `label`.
        text_labels: Whether labels may be the names of classes. Otherwise they must be
            integers.

    Returns:
        An `EmbeddingFiles`. Nothing but names has been read yet.

    Raises:
        ValueError: If there are no embeddings, the job that writes them has not
            finished, or they are of a newer format.
    """
    path = os.path.expanduser(os.fspath(path))
    if os.path.isfile(path):
        if not path.endswith(tuple(f".{each}" for each in FORMATS)):
            raise ValueError(
                "`path` must be a folder or end in .npz or .parquet. "
                f"Received: path={path!r}."
            )
        names = _class_names(path)
        _check_format(path)
        return EmbeddingFiles([path], names, text_labels=text_labels)
    manifest = read_manifest(path) if os.path.isdir(path) else None
    if manifest is not None:
        if not manifest.get("finished"):
            raise ValueError(
                "`path` must be a folder of embeddings that is complete. "
                f"Received: path={path!r}, whose job has not finished. Start its "
                "command again: it goes on where it stopped."
            )
        files = [os.path.join(path, shard["file"]) for shard in manifest["shards"]]
        missing = [file for file in files if not os.path.isfile(file)]
        if missing:
            raise ValueError(
                "`path` must hold all the shards that its manifest lists. "
                f"Received: path={path!r}, without {os.path.basename(missing[0])!r}"
                f"{' and others' if len(missing) > 1 else ''}. Embed again."
            )
        names = manifest.get("class_names") or ()
        return EmbeddingFiles(files, names, manifest, text_labels)
    gallery = os.path.join(path, "gallery.npz")
    if os.path.isfile(gallery):
        names = _class_names(gallery)
        _check_format(gallery)
        return EmbeddingFiles([gallery], names, text_labels=text_labels)
    raise ValueError(
        "`path` must be a folder of embeddings, a run directory with a gallery, or a "
        f"file that ends in .npz or .parquet. Received: path={path!r}, "
        f"{'which has neither' if os.path.isdir(path) else 'which is not there'}. "
        "Make one with `python -m tfembed.embed MODEL SOURCE OUTPUT`."
    )


def _class_names(path):
    if not path.endswith(".npz"):
        return ()
    with Npz(path, _ADVICE) as archive:
        names = archive.get("class_names", ())
        if len(np.shape(names)) != 1 or np.size(names) and names.dtype.kind != "U":
            names = archive.array("class_names", "strings", ("n",))
    return tuple(str(name) for name in names)


def _check_format(path):
    """Refuses a file of a newer format, and one of a run of a newer format."""
    folder, name = os.path.split(path)
    if name in ("gallery.npz", "queries.npz"):
        check_run(folder or os.curdir)
    _manifest_inside(path)


def _read(path, text_labels):
    read = _read_parquet if path.endswith(".parquet") else _read_npz
    found = read(path, text_labels)
    count = len(found.embeddings) if found.embeddings.ndim else 0
    if found.embeddings.ndim != 2 or found.embeddings.dtype.kind != "f":
        raise ValueError(
            f"{path!r} must hold embeddings as floats, [n, d]. Received: "
            f"{found.embeddings.dtype} of shape {found.embeddings.shape}."
        )
    if found.ids.shape != (count,) or found.labels.shape != (count,):
        raise ValueError(
            f"{path!r} must hold one id and one label for each of its {count} "
            f"embeddings. Received: ids of shape {found.ids.shape}, labels of shape "
            f"{found.labels.shape}."
        )
    return found


def _read_npz(path, text_labels):
    with Npz(path, _ADVICE) as archive:
        embeddings = archive.mapped("embeddings")
        count = len(embeddings) if embeddings.ndim else 0
        ids, labels = archive.get("ids"), archive.get("labels")
        packed = {name: archive[name] for name in ARRAYS if name in archive}
    metadata = unpack_columns(packed, count, repr(path))
    if ids is None:
        ids = np.array([str(row) for row in range(count)], np.str_)
    if labels is None:
        labels = np.full(count, -1)
    return Embeddings(embeddings, _labels(path, labels, text_labels), ids, metadata)


def _labels(path, labels, text_labels):
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if text_labels and labels.dtype.kind == "U":
        return labels
    allowed = "integers or strings" if text_labels else "integers"
    raise ValueError(
        f"{path!r} must hold labels that are {allowed}. Received: labels of dtype "
        f"{labels.dtype}. Write them so, -1 where unknown."
    )


def _read_parquet(path, text_labels):
    pa = require_pyarrow()
    try:
        table = pa.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path!r} must be a file of embeddings, but reading it says: {error}. "
            f"{_ADVICE}"
        ) from error
    missing = {"embedding", "id", "label"} - set(table.column_names)
    if missing:
        raise ValueError(
            f"{path!r} must hold the columns `embedding`, `id` and `label`. Received: "
            f"{table.column_names}."
        )
    lists = table.column("embedding").combine_chunks()
    numbers = lists.flatten().to_numpy(zero_copy_only=False)
    ids = table.column("id").to_pylist()
    return Embeddings(
        numbers.reshape(table.num_rows, -1) if table.num_rows else _no_rows(lists),
        _labels(path, _column(pa, table.column("label")), text_labels),
        np.array(ids, np.str_) if ids else np.empty(0, np.str_),
        _parquet_metadata(pa, table),
    )


def _parquet_metadata(pa, table):
    """The further columns; a column of that name that is not a struct is another's."""
    if "metadata" not in table.column_names:
        return {}
    fields = table.column("metadata").combine_chunks()
    if not pa.types.is_struct(fields.type):
        return {}
    if isinstance(fields, pa.ChunkedArray):  # of no rows
        fields = pa.array([], fields.type)
    columns = {}
    for number in range(fields.type.num_fields):
        field = fields.type[number]
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            texts = fields.field(number).to_pylist()
            columns[field.name] = [each or "" for each in texts]
    return join_columns([(columns, table.num_rows)])


def _column(pa, labels):
    if pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type):
        return np.array([name or "" for name in labels.to_pylist()], np.str_)
    return labels.to_numpy()


def _no_rows(lists):
    dim = getattr(lists.type, "list_size", 0)
    return np.empty((0, dim), lists.type.value_type.to_pandas_dtype())


def _manifest_inside(path):
    return read_manifest_inside(path) if path.endswith(".npz") else {}
