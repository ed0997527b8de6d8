"""Shards in the making: a folder of them, or one file, taken up at a whole shard."""

import contextlib
import fcntl
import json
import os
import shutil
import zipfile

import numpy as np

from tfembed.formats.disk import PARTIAL, is_refused, written_beside
from tfembed.formats.embeddings import EmbeddingFiles, read_embeddings
from tfembed.formats.format_version import EMBEDDINGS, FORMAT
from tfembed.formats.shards import (
    FORMATS,
    MANIFEST,
    read_manifest,
    read_manifest_inside,
    write_manifest,
    write_shard,
)
from tfembed.formats.text_columns import join_columns, pack_columns

__all__ = ["open_shards"]


# What the manifests of earlier versions do not say of their embeddings.
_UNSAID = {"resize": "squash"}


def open_shards(path, identity, about, skipped=(), replace=False):
    """Opens the place that embeddings are written to, shard by shard.

        with open_shards(path, identity, about) as shards:
            for ... in batches[len(shards.entries) :]:
                shards.add(ids, labels, embeddings, skipped)
            files = shards.finish()

    One process at a time writes to a place. A folder that an earlier process left is
    taken up if it is of the same identity.

    Args:
        path: Folder, made if need be, or a file that ends in `.npz`: its shards are
            then in a hidden folder beside it until they are put together.
        identity: Dictionary of plain values, `format` and `dim` among them, that tell
            these embeddings from others.
        about: Dictionary of plain values that stand in the manifest too.
        skipped: `[id, reason]` of what is left out from the start.
        replace: Whether shards of another identity in a folder are taken away instead
            of being refused. A file is never replaced.

    Returns:
        A context manager that gives itself.

    Raises:
        ValueError: If the place holds something else, or another process writes there.
        OSError: If it cannot be written.
    """
    path = os.path.expanduser(os.fspath(path))
    kind = _File if path.endswith(".npz") else _Folder
    return kind(path, identity, about, skipped, replace and kind is _Folder)


class _Folder:
    """A folder of shards.

    Attributes:
        entries: One dictionary a shard that is whole: its `file`, how many `rows` it
            has, and how many images were left out of it, `skipped`.
        skipped: `[id, reason]` of the images left out so far.
        finished: Whether all shards are there.
    """

    def __init__(self, path, identity, about, skipped, replace):
        self.path, self._identity, self._replace = path, identity, replace
        self._about, self.skipped = about, [list(pair) for pair in skipped]
        self.entries, self.finished = [], False

    def __enter__(self):
        self._made, self._lock = False, None
        while self._lock is None:
            self._made = _make_folder(self.path) or self._made
            self._lock = _locked(self.path)
        try:
            self._take_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        if self._made:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)  # only if empty
        os.close(self._lock)

    @property
    def embedded(self):
        """Number of embeddings in the shards."""
        return sum(entry["rows"] for entry in self.entries)

    def add(self, ids, labels, embeddings, skipped=(), metadata=None):
        """Writes the next shard, and then that it is there."""
        name = f"part-{len(self.entries):05d}.{self._identity['format']}"
        write_shard(os.path.join(self.path, name), ids, labels, embeddings, metadata)
        self.entries.append({"file": name, "rows": len(ids), "skipped": len(skipped)})
        self.skipped += [list(pair) for pair in skipped]
        write_manifest(self.path, self._manifest(False))

    def finish(self):
        """Says that all shards are there; returns them as `EmbeddingFiles`."""
        if not self.finished:
            write_manifest(self.path, self._manifest(True))
            self.finished = True
        return read_embeddings(self.path)

    def clear(self):
        """Takes all shards away."""
        for name in [entry["file"] for entry in self.entries] + [MANIFEST]:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.path, name))
        self.entries = []

    def _manifest(self, finished):
        return {
            FORMAT: EMBEDDINGS,
            "finished": finished,
            **self._about,
            "identity": self._identity,
            "embedded": self.embedded,
            "skipped": self.skipped,
            "shards": self.entries,
        }

    def _take_up(self):
        """Finds what an earlier process left, and removes what is not whole."""
        manifest = read_manifest(self.path)
        names = set(os.listdir(self.path))
        foreign = sorted(name for name in names - {MANIFEST} if not _is_ours(name))
        if manifest is None and foreign:
            raise ValueError(
                "`output` must be a new or empty folder, or one of the same job. "
                f"Received: output={self.path!r}, which holds {foreign[0]!r}. Choose "
                "another."
            )
        if manifest is not None and self._is_other(self.path, manifest):
            os.unlink(os.path.join(self.path, MANIFEST))  # first: the rest is then none
            manifest = None
        if manifest is not None:
            entries = manifest["shards"]
            there = [entry["file"] in names for entry in entries]
            whole = there.index(False) if False in there else len(there)
            self.entries = entries[:whole]
            known = len(self.skipped) + sum(each["skipped"] for each in self.entries)
            self.skipped = manifest["skipped"][:known]
            self.finished = bool(manifest["finished"]) and whole == len(entries)
        listed = {entry["file"] for entry in self.entries}
        for name in names - listed:
            if _is_ours(name):
                os.unlink(os.path.join(self.path, name))
        if manifest is None:
            write_manifest(self.path, self._manifest(False))

    def _is_other(self, path, manifest):
        """Whether a manifest is of another identity, and may be replaced.

        Raises:
            ValueError: If it is, and may not.
        """
        differences = _differences(manifest, self._identity)
        if differences and not self._replace:
            raise ValueError(
                "`output` must be new, or of the same model, source and settings. "
                f"Received: output={path!r}, which holds other embeddings: "
                f"{'; '.join(differences)}. Choose another output, or remove this one."
            )
        return bool(differences)


class _File(_Folder):
    """One `.npz`, put together from shards in a hidden folder beside it."""

    def __init__(self, path, identity, about, skipped, replace):
        folder, name = os.path.split(os.path.abspath(path))
        hidden = os.path.join(folder, f".{name}.shards")
        super().__init__(hidden, identity, about, skipped, replace)
        self._file, self._whole = path, False

    def __enter__(self):
        if self._is_there():
            shutil.rmtree(self.path, ignore_errors=True)  # of one killed at the end
            return self
        super().__enter__()
        try:
            self._is_there()  # finished by another process meanwhile
        except BaseException:
            self.__exit__()
            raise
        return self

    def _is_there(self):
        """Whether the file is; raises if it is of something else."""
        if os.path.exists(self._file):
            inside = read_manifest_inside(self._file)
            self.finished = self._whole = not self._is_other(self._file, inside)
        return self._whole

    def __exit__(self, *exception):
        if hasattr(self, "_lock"):
            if self._whole:
                shutil.rmtree(self.path, ignore_errors=True)
            super().__exit__(*exception)

    def clear(self):
        """Takes the shards away, and their folder."""
        super().clear()
        self._made = True

    def finish(self):
        """Puts the shards together, unless they are; returns `EmbeddingFiles`."""
        if not self._whole:
            files = super().finish()
            manifest = {**self._manifest(True), "shards": []}
            with written_beside(self._file) as partial:
                _write_npz(
                    partial,
                    files,
                    (self.embedded, self._identity["dim"]),
                    class_names=np.array(files.class_names, np.str_),
                    manifest=np.array(json.dumps(manifest)),
                )
            self._whole = True
        manifest = read_manifest_inside(self._file)
        return EmbeddingFiles([self._file], manifest["class_names"], manifest)


def _write_npz(path, files, shape, **others):
    """Writes an archive of all shards, of which one at a time is in memory."""
    labels, ids, columns, started = [], [], [], False
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("embeddings.npy", "w", force_zip64=True) as file:
            for part in files:
                if not started:
                    descr = np.lib.format.dtype_to_descr(part.embeddings.dtype)
                    header = {"descr": descr, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    started = True
                file.write(np.ascontiguousarray(part.embeddings).tobytes())
                labels.append(part.labels)
                ids.append(part.ids)
                columns.append((part.metadata, len(part.ids)))
        arrays = {"labels": np.concatenate(labels), "ids": np.concatenate(ids)}
        arrays.update(pack_columns(join_columns(columns)))
        for name, array in {**arrays, **others}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _differences(manifest, ours):
    """Returns in words where a manifest's identity is not this one."""
    theirs = {**_UNSAID, **(manifest.get("identity") or {})}
    return [
        f"{key} {_short(theirs.get(key))} there, {_short(value)} here"
        for key, value in ours.items()
        if theirs.get(key) != value
    ]


def _short(value):
    """A value in a sentence; twelve digits are enough of a digest."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else repr(value)


def _is_ours(name):
    """Whether a file's name is that of a shard, or of a file that was being written."""
    if name.startswith(".") and name.endswith(PARTIAL):
        name = name[1 : -len(PARTIAL)]
        if name == MANIFEST:
            return True
    stem, _, ending = name.rpartition(".")
    return ending in FORMATS and stem[:5] == "part-" and stem[5:].isdigit()


def _locked(path):
    """Opens and locks a folder; `None` if another process took it away just now."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except BlockingIOError as error:
        os.close(handle)
        raise ValueError(
            f"Another process is writing to {path!r}; wait for it, or choose "
            "another output."
        ) from error
    except FileNotFoundError:
        pass
    os.close(handle)
    return None


def _make_folder(path):
    """Makes the folder if need be; whether it did."""
    made = False
    try:
        while not os.path.isdir(path):
            try:
                os.makedirs(path)
                made = True
            except FileExistsError:
                if os.path.lexists(path) and not os.path.isdir(path):
                    raise
                # Another process made it just now; perhaps it has gone again.
        if is_refused(path):
            raise PermissionError(13, "Permission denied")
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            "`output` must be a folder, or a file that ends in .npz. Received: "
            f"output={path!r}, which is another file or lies below one."
        ) from error
    except OSError as error:
        raise OSError(
            error.errno,
            "`output` must be a place that this user may write to. Received: "
            f"output={path!r}, where it says: {error.strerror}",
        ) from error
    return made
