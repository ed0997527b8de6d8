"""Files that are to stay: written whole, synced, a sentence where there is no room."""

import contextlib
import errno
import hashlib
import os
import shutil
import uuid

PARTIAL = ".partial"
_LONGEST_NAME = 255
_NO_ROOM = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}


class FullDiskError(OSError):
    """The disk is full; `strerror`, which is what is printed, is a sentence."""

    def __str__(self):
        return self.strerror


def sync(path):
    """Waits until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_refused(folder):
    """Tells whether a folder is there and this user may not write to it.

    It is asked by a handle, so that one that goes meanwhile is not taken for refused.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        return not os.access(".", os.W_OK | os.X_OK, dir_fd=handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def written_beside(path, shared=False):
    """Gives a path to write to, which is synced and takes its name at the end.

    If the block raises, nothing of the file stays.

    Args:
        path: The file that is to be there, whole, or not at all.
        shared: Whether several processes may write it at once; the last one's stays. A
            process that is killed then leaves a hidden file behind, which otherwise the
            next one writes over.

    Yields:
        The path to write to, in the same folder and hidden.

    Raises:
        FullDiskError: With a sentence, if there is no room.
    """
    folder, partial = _beside(path, shared)
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise_full_disk(path, error)
        raise


@contextlib.contextmanager
def folder_written_beside(path, shared=False):
    """Gives a new folder to write into, which is synced and takes its name at the end.

    All that is in it is synced first. What had the name before goes when its successor
    is whole; if the block raises, it stays, and nothing of the new folder does.

    Args:
        path: The folder that is to be there, whole, or not at all. The one above it is
            made if need be.
        shared: As in `written_beside`; otherwise one folder is written at a time below
            the one above.

    Yields:
        The path of the new folder, beside the other and hidden.

    Raises:
        FullDiskError: With a sentence, if there is no room.
    """
    above, partial = _beside(path, shared)
    if not shared:
        partial = os.path.join(above, PARTIAL)
    before = f"{partial}-before"
    made = not os.path.isdir(above)
    try:
        os.makedirs(above, exist_ok=True)
        for each in (partial, before):
            shutil.rmtree(each, ignore_errors=True)
        os.mkdir(partial)
        yield partial
        sync_all(partial)
        if os.path.isdir(path):
            os.replace(path, before)
        os.replace(partial, path)
        sync(above)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(above)  # only if empty
        raise_full_disk(path, error)
        raise
    shutil.rmtree(before, ignore_errors=True)


def sync_all(folder):
    """Waits until all files and folders below a folder, and itself, are on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync(os.path.join(place, name))
        sync(place)


def _beside(path, shared):
    """Returns the folder of a path, and the hidden one beside it to write to."""
    folder, name = os.path.split(os.path.abspath(path))
    own = f".{uuid.uuid4().hex[:12]}" if shared else ""
    hidden = f".{name}{own}{PARTIAL}"
    if len(os.fsencode(hidden)) > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
        hidden = f".{digest}{own}{PARTIAL}"
    return folder, os.path.join(folder, hidden)


def is_full_disk(error):
    """Tells whether an error says that there is no room: Python's, or TensorFlow's."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    if not isinstance(error, Exception):
        return False
    return any(words in str(error) for words in _NO_ROOM.values())


def raise_full_disk(path, error):
    """Raises the `FullDiskError` of a path, if that is what an error says.

    Args:
        path: As in `full_disk`.
        error: Any error; of a `FullDiskError`, which says so already, nothing is made.
    """
    if is_full_disk(error) and not isinstance(error, FullDiskError):
        raise full_disk(path, error) from error


def full_disk(path, error):
    """Returns the `FullDiskError` that says that there is no room for a file.

    Args:
        path: The file, or folder, that was to be written.
        error: What was raised, for which `is_full_disk` holds.
    """
    folder = os.path.dirname(os.path.abspath(path))
    there = folder
    while not os.path.exists(there):
        there = os.path.dirname(there)
    free = shutil.disk_usage(there).free / 1e6
    number, reason = _reason(error)
    return FullDiskError(
        number,
        f"There is no room for {os.path.basename(path)!r} in {folder!r}, where "
        f"{free:.0f} MB are free ({reason}). What was whole before is kept: "
        "free some room and start again",
    )


def _reason(error):
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return error.errno, error.strerror or _NO_ROOM[error.errno]
    return next(pair for pair in _NO_ROOM.items() if pair[1] in str(error))
