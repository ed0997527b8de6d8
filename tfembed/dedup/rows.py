"""Rows of embeddings by blocks, from memory or from files, at unit length."""

import hashlib
import os
import tempfile

import numpy as np

from tfembed.formats.disk import raise_full_disk
from tfembed.ops.arguments import check_finite_rows

__all__ = ["Rows"]

_AT_ONCE = 1 << 14


class Rows:
    """Embeddings with ids, of which some at a time are in memory.

    What is mapped from a file is read from it, block by block; what is not (Parquet,
    compressed archives) is written to a nameless file first.

    Args:
        parts: Iterable of `(embeddings, ids)`: float `[n, d]`, and strings `[n]` or
            `None`, for rows that are called by their numbers.
        name: What they are called in an error.
        folder: Where the nameless file is made; `None` keeps all in memory as it is.

    Attributes:
        size: Number of rows.
        dim: Length of a row.
        sha256: Digest of the embeddings.
        without_direction: How many rows are zero, and so like none.

    Raises:
        ValueError: If there are no rows, or rows of several lengths, or a number that
            is not finite.
    """

    def __init__(self, parts, name="the embeddings", folder=None):
        self.name = name
        self._parts, self._ids, self._starts = [], [], [0]
        digest, self.without_direction, self.dim = hashlib.sha256(), 0, None
        for embeddings, ids in parts:
            if not len(embeddings):
                continue
            self._check_shape(embeddings)
            self._ids.append(None if ids is None else _encoded(ids))
            source = _File(embeddings) if isinstance(embeddings, np.memmap) else None
            if source is None and folder is not None:
                source = _written(embeddings, folder)
            self._parts.append(embeddings if source is None else source)
            self._starts.append(self._starts[-1] + len(embeddings))
        if not self._parts:
            raise ValueError(
                f"{name} must hold at least one embedding. Received: none."
            )
        self.size = self._starts[-1]
        for start in range(0, self.size, _AT_ONCE):
            block = self._read(start, min(start + _AT_ONCE, self.size))
            self._check_finite(block, start)
            self.without_direction += int(np.sum(~block.any(axis=1)))
            digest.update(np.ascontiguousarray(block, "<f4"))
        self.sha256 = digest.hexdigest()

    def block(self, start, stop):
        """Returns rows at unit length, float32 `[stop - start, d]`; zeros stay."""
        return _unit(self._read(start, stop))

    def take(self, rows):
        """Returns some rows at unit length, float64 `[r, d]`."""
        found = [self._read(int(row), int(row) + 1)[0] for row in rows]
        return _unit(np.asarray(found, np.float64).reshape(len(found), self.dim))

    def ids(self, rows):
        """Returns the ids of rows, a list of strings."""
        found = []
        for row in map(int, rows):
            part = self._part_of(row)
            ids = self._ids[part]
            inside = row - self._starts[part]
            found.append(str(row) if ids is None else ids[inside].decode())
        return found

    def _part_of(self, row):
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _read(self, start, stop):
        found = []
        for part in range(self._part_of(start), len(self._parts)):
            first = self._starts[part]
            if first >= stop:
                break
            low, high = max(start - first, 0), min(stop, self._starts[part + 1]) - first
            found.append(np.asarray(self._parts[part][low:high], np.float32))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _check_shape(self, embeddings):
        shape, kind = np.shape(embeddings), np.asarray(embeddings[:0]).dtype
        if len(shape) != 2 or kind.kind != "f" or not shape[1]:
            raise ValueError(
                f"{self.name} must be a float matrix, one embedding a row. Received: "
                f"{kind} of shape {shape}."
            )
        self.dim = self.dim or shape[1]
        if shape[1] != self.dim:
            raise ValueError(
                f"{self.name} must have rows of one length. Received: rows of "
                f"{self.dim} and of {shape[1]} numbers. Embed all with one encoder."
            )

    def _check_finite(self, block, start):
        def called(row):
            return f"{start + row} ({self.ids([start + row])[0]!r})"

        check_finite_rows(self.name, block, called)


class _File:
    """A mapped array, read without mapping: what was read does not stay in memory."""

    def __init__(self, mapped):
        self._path, self._start = os.fspath(mapped.filename), mapped.offset
        self._dtype, self._shape = mapped.dtype, mapped.shape

    def __getitem__(self, rows):
        count = max(0, rows.stop - rows.start) * self._shape[1]
        offset = self._start + rows.start * self._shape[1] * self._dtype.itemsize
        values = np.fromfile(self._path, self._dtype, count, offset=offset)
        return values.reshape(-1, self._shape[1])


class _Nameless:
    """Rows in a file without a name, which is gone with the process."""

    def __init__(self, folder, shape):
        # Without a buffer: what does not fit would be written once more at the end.
        os.makedirs(folder, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)
        self._shape, self._place = shape, os.path.join(folder, "embeddings")

    def write(self, values):
        content = memoryview(np.ascontiguousarray(values, np.float32)).cast("B")
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise_full_disk(self._place, error)
            raise

    def __getitem__(self, rows):
        count = max(0, rows.stop - rows.start)
        self._file.seek(4 * rows.start * self._shape[1])
        content = self._file.read(4 * count * self._shape[1])
        return np.frombuffer(content, np.float32).reshape(count, self._shape[1])


def _written(embeddings, folder):
    file = _Nameless(folder, embeddings.shape)
    for start in range(0, len(embeddings), _AT_ONCE):
        file.write(embeddings[start : start + _AT_ONCE])
    return file


def _encoded(ids):
    """Ids in a quarter of the memory: UTF-8."""
    return np.char.encode(np.asarray(ids, np.str_), "utf-8")


def _unit(values):
    length = np.sqrt(np.einsum("ij,ij->i", values, values))
    return values / np.where(length > 0, length, 1)[:, None]
