"""Numbered versions in a folder that a server watches: whole ones, or none.

TF Serving loads every child of its base path whose name is a number, and does not ask
whether the folder is complete. So a version is written to a hidden folder beside the
others and renamed to its number when it is whole and on disk.

Locks are `flock`s on the folders themselves: they leave no file behind, and end with
the process that held them. What is taken away is locked until it is gone, and whatever
was listed may be gone when it is opened: others write here too. A writer that makes a
version out of another says which (`basis`), and is refused if a newer one has appeared
by the time it publishes: nobody's rows are lost, and nobody waits for anybody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from pathlib import Path

from tfembed.formats.disk import (
    FullDiskError,
    is_full_disk,
    is_refused,
    sync,
    sync_all,
    written_beside,
)
from tfembed.formats.version_folders import (
    find_versions,
    is_one_version,
    version_numbers,
)
from tfembed.hints import PathLike
from tfembed.ops.arguments import as_count

_STAGING = ".tfembed-staging-"
_HIGHEST = ".tfembed-highest-version"
_TRIES = 100
_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
_EXPORT_FIRST = "Write one with `python -m tfembed.export model RUN_DIR MODEL_BASE`."


def version_paths(base):
    """Returns the versions of a base folder: `{number: path}`, ascending.

    Args:
        base: Folder of the versions.

    Raises:
        ValueError: If it is not a folder with at least one version.
    """
    base = Path(base)
    asked = "`model_base` must be a folder with numbered versions. "
    received = f"Received: model_base={str(base)!r}, "
    if not base.is_dir():
        what = "which is a file" if base.exists() else "which does not exist"
        raise ValueError(f"{asked}{received}{what}. {_EXPORT_FIRST}")
    _refuse_one_version(base)
    try:
        found = find_versions(base)
    except FileNotFoundError:  # the base went; so there is none
        found = {}
    if not found:
        raise ValueError(f"{asked}{received}which has none. {_EXPORT_FIRST}")
    return {number: Path(path) for number, path in found.items()}


def check_base(base: PathLike) -> None:
    """Checks that versions can be written to a folder, and makes nothing.

    >>> import tempfile
    >>> from tfembed.export import check_base
    >>> with tempfile.TemporaryDirectory() as base:
    ...     check_base(base)
    ...     check_base(f"{base}/models")  # need not be there yet

    Args:
        base: Folder of the versions, which need not be there yet.

    Raises:
        ValueError: If it is not a folder for versions.
        OSError: If this user may not write there.
    """
    base = Path(base)
    _refuse_one_version(base)
    there = base
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise _no_folder(base)
    if is_refused(there):
        raise _not_writable(base, PermissionError(f"permission denied in {there}"))


@contextlib.contextmanager
def held(path):
    """Keeps a version from being pruned while it is read.

    Args:
        path: Folder of the version.

    Raises:
        FileNotFoundError: If it has gone.
    """
    handle = _locked_folder(path, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(handle)


def prune_versions(base: PathLike, keep: int) -> tuple[list[int], list[int]]:
    """Removes all but the newest versions.

    A version is first renamed to a hidden name, so that no server sees half of it.
    Versions that a gallery update or a rollback is reading are left. The highest
    number ever given stays on record, so that no number comes again.

    >>> import os, tempfile
    >>> from tfembed.export import prune_versions
    >>> with tempfile.TemporaryDirectory() as base:
    ...     for number in (1, 2, 3):
    ...         os.mkdir(os.path.join(base, str(number)))
    ...     prune_versions(base, keep=2), sorted(os.listdir(base))
    (([1], []), ['.tfembed-highest-version', '2', '3'])

    Args:
        base: Folder of the versions.
        keep: How many of the newest stay, at least 1.

    Returns:
        `(removed, in_use)`: numbers, ascending.

    Raises:
        ValueError: If `keep` is less than 1 or there are no versions.
        OSError: If the folder cannot be written.
    """
    base = Path(base)
    as_count("keep", keep, note=": a server needs the newest version")
    version_paths(base)
    _check_writable(base)
    removed, in_use, hidden = [], [], {}
    try:
        with _locked(base):
            paths = version_paths(base)
            highest = max(_read_highest(base), *paths)
            if highest > _read_highest(base):
                _write_highest(base, highest)
            for number in list(paths)[:-keep]:
                try:
                    handle = _locked_folder(paths[number], _AT_ONCE)
                except BlockingIOError:
                    in_use.append(number)
                    continue
                except FileNotFoundError:
                    continue  # another tool took it away
                path = base / f"{_STAGING}removed-{uuid.uuid4().hex[:8]}"
                hidden[handle] = path
                os.rename(paths[number], path)
                removed.append(number)
            sync(base)
        for path in hidden.values():
            shutil.rmtree(path, ignore_errors=True)
    finally:
        for handle in hidden:
            os.close(handle)
    return removed, in_use


class NewerVersionError(RuntimeError):
    """Another version was published while one was made out of the one before it.

    Attributes:
        newest: The number of that other version.
    """

    def __init__(self, base, basis, newest):
        super().__init__(
            f"Version {newest} of {str(base)!r} was published while a version was "
            f"made out of version {basis}; nothing was changed. Look at it with "
            f"`python -m tfembed.export list {base}`, and run the command again."
        )
        self.newest = newest


@contextlib.contextmanager
def new_version(base, needed_bytes=0, basis=None):
    """Opens the next version for writing and publishes it at the end of the block.

        with new_version(base) as version:
            write_into(version.path)
        print(version.number)

    If the block raises, nothing of it stays: neither the folder nor, if it was made
    for this version, the base. A process that is killed leaves a hidden folder that
    no server reads and that the next writer takes away.

    Args:
        base: Folder of the versions, made if it does not exist.
        needed_bytes: Room that must be free.
        basis: Number of the version that this one is made out of. It must still be
            the newest when this one is published. `None`: there is none.

    Yields:
        A `NewVersion`, with its `path` to write into. After the block its `path` is
        the published folder and its `number` is set: one more than the highest that
        the base ever had, whoever else is writing.

    Raises:
        ValueError: If `base` is not a folder for versions.
        NewerVersionError: If `basis` is no longer the newest version.
        OSError: If it cannot be written or has no room.
    """
    base = Path(base)
    made, version = False, None
    try:
        for trial in range(_TRIES):
            made = _make_base(base) or made
            try:
                _check_room(base, needed_bytes)
                version = NewVersion(base)
                break
            except FileNotFoundError:  # its maker failed, and took the base away
                if trial == _TRIES - 1:
                    raise
        yield version
        version._publish(basis)
    except Exception as error:
        if is_full_disk(error) and not isinstance(error, FullDiskError):
            raise no_room(base, needed_bytes) from error
        raise
    finally:
        if version is not None:
            version._close()
        if made:
            with contextlib.suppress(OSError), _locked(base):
                base.rmdir()  # only if empty


class NewVersion:
    """A version in the making; see `new_version`."""

    def __init__(self, base):
        self.base = base
        self.number = None
        with _locked(base):
            _remove_abandoned(base)
            self.path = base / f"{_STAGING}{os.getpid()}-{uuid.uuid4().hex[:8]}"
            self.path.mkdir()
            # Held while this process lives: by it others know that it is in use.
            self._handle = _locked_folder(self.path, fcntl.LOCK_EX)

    def _publish(self, basis):
        sync_all(self.path)
        with _locked(self.base):
            newest = max(version_numbers(self.base), default=None)
            if basis is not None and newest != basis:
                raise NewerVersionError(self.base, basis, newest)
            number = max([0, _read_highest(self.base), *version_numbers(self.base)]) + 1
            _write_highest(self.base, number)
            final = self.base / str(number)
            os.rename(self.path, final)
            sync(self.base)
        self.path, self.number = final, number

    def _close(self):
        if self.number is None:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)


def no_room(base, needed_bytes):
    """Returns the error that says that the disk is full."""
    free = shutil.disk_usage(base).free
    return FullDiskError(
        errno.ENOSPC,
        f"`model_base` must have room for a version of about "
        f"{needed_bytes / 1e6:.0f} MB. Received: model_base={str(base)!r}, with "
        f"{free / 1e6:.0f} MB free, or a limit on file sizes. "
        "Free some room, or give a folder on another disk.",
    )


def _make_base(base):
    """Makes the base folder if need be; whether it did."""
    _refuse_one_version(base)
    made = False
    try:
        while not base.is_dir():
            try:
                base.mkdir(parents=True)
                made = True
            except FileExistsError:
                if os.path.lexists(base) and not base.is_dir():
                    raise
                # Another writer made it just now; perhaps it has gone again.
    except (FileExistsError, NotADirectoryError) as error:
        raise _no_folder(base) from error
    except OSError as error:
        raise _not_writable(base, error) from error
    _check_writable(base)
    return made


def _refuse_one_version(base):
    if is_one_version(base):
        raise ValueError(
            "`model_base` must be the folder that holds the numbered versions. "
            f"Received: model_base={str(base)!r}, which is itself a SavedModel. "
            "Give the folder above it."
        )


def _no_folder(base):
    return ValueError(
        "`model_base` must be a folder, or not exist yet. "
        f"Received: model_base={str(base)!r}, which is a file or lies below one."
    )


def _check_writable(base):
    if is_refused(base):
        raise _not_writable(base, PermissionError("permission denied"))


def _not_writable(base, error):
    return OSError(
        "`model_base` must be a folder that this user may write to. "
        f"Received: model_base={str(base)!r}, where writing says: {error}."
    )


def _check_room(base, needed_bytes):
    if shutil.disk_usage(base).free < needed_bytes:
        raise no_room(base, needed_bytes)


@contextlib.contextmanager
def _locked(base):
    """Holds the base folder for oneself, among all processes."""
    handle = _locked_folder(base, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def _locked_folder(path, kind):
    """Opens and locks a folder; closing the handle unlocks it.

    Raises:
        BlockingIOError: If another holds it, and `kind` does not wait.
        FileNotFoundError: If it is not there, or went before it was locked.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, kind)
        if not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise FileNotFoundError(errno.ENOENT, "the folder was removed", str(path))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _remove_abandoned(base):
    """Takes away what killed writers left. The base must be locked."""
    for name in os.listdir(base):
        if not name.startswith(_STAGING):
            continue
        try:
            handle = _locked_folder(base / name, _AT_ONCE)
        except OSError:
            continue  # its writer lives, or is taking it away itself
        try:
            shutil.rmtree(base / name, ignore_errors=True)
        finally:
            os.close(handle)


def _read_highest(base):
    """The highest number ever given here, also to versions since removed."""
    try:
        return int((base / _HIGHEST).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _write_highest(base, number):
    with written_beside(base / _HIGHEST) as beside:
        Path(beside).write_text(f"{number}\n")
