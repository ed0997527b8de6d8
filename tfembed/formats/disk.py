"""Files that are to stay: written whole, synced, a sentence where there is no room."""

import contextlib
import errno
import os
import shutil

PARTIAL = ".partial"
_NO_ROOM = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}


class FullDiskError(OSError):
    """There is no room; `strerror` is a sentence."""


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
def written_beside(path):
    """Gives a path to write to, which is synced and takes its name at the end.

    If the block raises, nothing of the file stays.

    Args:
        path: The file that is to be there, whole, or not at all.

    Yields:
        The path to write to, in the same folder and hidden.

    Raises:
        OSError: With a sentence, if there is no room.
    """
    folder, name = os.path.split(os.path.abspath(path))
    partial = os.path.join(folder, f".{name}{PARTIAL}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        if is_full_disk(error):
            raise full_disk(path, error) from error
        raise


def is_full_disk(error):
    """Tells whether an error says that there is no room: Python's, or TensorFlow's."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    return any(words in str(error) for words in _NO_ROOM.values())


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
