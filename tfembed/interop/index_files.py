"""An index file of another library, and beside it the id of each of its rows.

    catalogue.faiss      the library's own file, by row numbers
    catalogue.faiss.ids.npz  `ids`, strings; `metric`, `dim`, and a stamp of the index

Both are written beside and renamed. The stamp tells an index from the ids of another.
"""

import contextlib
import hashlib
import io
import os

import numpy as np

from tfembed.formats.disk import raise_full_disk, sync, written_beside
from tfembed.formats.npz import Npz
from tfembed.ops.arguments import as_count, check_choice, check_finite_rows, check_rows

__all__ = ["METRICS", "NeighborIndex", "check_embeddings", "read_ids", "write_index"]

METRICS = ("cosine", "euclidean")
ROWS_AT_ONCE = 1 << 16
_ROOM = 1 << 16
_STAMPED = 1 << 20


class NeighborIndex:
    """An index that answers with ids.

    Attributes:
        ids: Strings `[n]`, the id of each row.
        metric: `"cosine"` or `"euclidean"`.
        dim: Length of an embedding.
        index: The other library's own object, which counts by rows.
    """

    def __init__(self, index, search, ids, metric, dim):
        self.index, self._search = index, search
        self.ids, self.metric, self.dim = ids, metric, dim

    def search(self, queries, k):
        """Finds the nearest rows.

        Args:
            queries: Float array `[q, dim]`.
            k: Number of neighbours, at most the number of rows.

        Returns:
            `(ids, scores)`, strings and float32, both `[q, k]`, the nearest first. A
            score is the cosine, or minus the distance. Where an approximate index
            finds fewer than k, ids are empty and scores minus infinity.

        Raises:
            ValueError: If the queries or `k` do not fit the index.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(
                f"`queries` must be floats, [q, {self.dim}]. "
                f"Received: shape {queries.shape}."
            )
        k = as_count("k", k, 1, len(self.ids), note=", the number of rows")
        if self.metric == "cosine":
            queries = unit_rows(queries)
        rows, scores = self._search(queries, k)
        found = rows >= 0
        ids = np.where(found, self.ids[np.where(found, rows, 0)], "")
        return ids, np.where(found, scores, -np.inf).astype(np.float32)


def unit_rows(rows):
    """Divides rows by their norms; a row of zeros stays one."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, np.finfo(np.float32).tiny)


def chunks(embeddings, metric):
    """Yields float32 rows to add to an index, some at a time."""
    for start in range(0, len(embeddings), ROWS_AT_ONCE):
        rows = np.asarray(embeddings[start : start + ROWS_AT_ONCE], np.float32)
        rows = unit_rows(rows) if metric == "cosine" else rows
        yield start, np.ascontiguousarray(rows)


def check_embeddings(embeddings, ids, metric):
    """Checks what an index is made of; returns the ids as an array of strings.

    Raises:
        ValueError: If the shapes do not go together, an id stands twice, a number is
            not finite, or the metric is unknown.
    """
    check_choice(METRICS, metric=metric)
    embeddings = np.asarray(embeddings)
    check_rows("`embeddings`", embeddings)
    ids = np.asarray(ids, np.str_)
    if ids.shape != embeddings.shape[:1]:
        raise ValueError(
            f"`ids` must be strings, one for each of the {len(embeddings)} rows. "
            f"Received: shape {ids.shape}."
        )
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        twice = str(unique[np.argmax(counts)])
        raise ValueError(
            f"`ids` must hold each id once. Received: {twice!r} more than once. "
            "Leave one of them."
        )
    check_finite_rows(
        "`embeddings`", embeddings, lambda row: f"{row} ({str(ids[row])!r})"
    )
    return ids


@contextlib.contextmanager
def write_index(path, ids, metric, dim, endings=("",)):
    """Gives a path for a library to write to, and puts the ids beside it.

    Args:
        path: Where the index is to be.
        ids: Strings `[n]`.
        metric: As in `METRICS`.
        dim: Length of an embedding.
        endings: What the library appends to the path, for each file that it writes.

    Yields:
        The path to write to.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    path = os.path.abspath(os.path.expanduser(os.fspath(path)))
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.partial")
    try:
        yield partial
        arrays = {"ids": ids, "metric": np.array(metric), "dim": np.int64(dim)}
        stamp = np.array(_stamp(partial, endings))
        with written_beside(ids_path(path)) as beside:
            content = io.BytesIO()  # NumPy leaves a broken archive on a full disk
            np.savez(content, stamp=stamp, **arrays)
            with open(beside, "wb") as file:
                file.write(content.getbuffer())
        for ending in endings:
            sync(partial + ending)
            os.replace(partial + ending, path + ending)
        sync(folder)
    except (OSError, RuntimeError) as error:  # the libraries', whatever they raise
        raise_full_disk(path, error)
        if isinstance(error, OSError):
            raise
        _ask_for_room(path, partial, endings)
        raise OSError(
            f"The index could not be written to {path!r}: {error}. Check the folder "
            "and its free room, and write it again."
        ) from error
    finally:
        for ending in endings:
            with contextlib.suppress(OSError):
                os.unlink(partial + ending)


def _ask_for_room(path, partial, endings):
    """Raises if there is no more room for what was being written: NMSLIB is silent."""
    for ending in endings:
        try:
            with open(partial + ending, "ab") as file:
                file.write(bytes(_ROOM))
        except OSError as error:
            raise_full_disk(path, error)


def read_ids(path, endings=("",)):
    """Reads the ids beside an index.

    Returns:
        `(ids, metric, dim)`.

    Raises:
        ValueError: If one of the files is missing, or they are not of one index.
    """
    path = os.path.expanduser(os.fspath(path))
    for needed in [path + ending for ending in endings] + [ids_path(path)]:
        if not os.path.isfile(needed):
            raise ValueError(
                "`path` must be an index with its ids beside it. "
                f"Received: path={path!r}, and {needed!r} is not there. "
                "Write it with tfembed.interop."
            )
    with Npz(ids_path(path), "Write the index again.") as archive:
        archive.require("stamp", "ids", "metric", "dim")
        ids = archive.array("ids", "strings", ("n",))
        metric = str(archive.array("metric", "strings", ()))
        dim = int(archive.array("dim", "integers", ()))
        if str(archive.array("stamp", "strings", ())) != _stamp(path, endings):
            raise ValueError(
                f"{ids_path(path)!r} holds the ids of another index than {path!r}: "
                "one of them was replaced alone. Write the index again."
            )
    return ids, metric, dim


def ids_path(path):
    """Returns where the ids of an index are."""
    return f"{path}.ids.npz"


def _stamp(path, endings):
    """A digest of sizes, and of the first and last MB of each file."""
    digest = hashlib.sha256()
    for ending in endings:
        with open(path + ending, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{size}\n".encode())
            digest.update(file.read(_STAMPED))
            file.seek(max(0, size - _STAMPED))
            digest.update(file.read(_STAMPED))
    return digest.hexdigest()
