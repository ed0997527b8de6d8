"""Digests of files' contents, remembered for as long as a file is left alone.

The memory is an archive a folder in the cache folder: name, status and digest of each
file that was read. A file whose size, times of modification and change are as they
were is not read again; all that such times can do is to save a reading.
"""

import concurrent.futures
import hashlib
import io
import logging
import os
import sys
import time

import numpy as np

from tfembed.data.cache_folder import cache_folder, write_cache
from tfembed.formats.npz import Npz

__all__ = ["DIGEST_BYTES", "file_digests"]

_LOG = logging.getLogger(__name__)
DIGEST_BYTES = 16
_SECONDS_BETWEEN_REPORTS = 5.0
_AT_ONCE = 1 << 20
# A clock of files may tick so slowly that a file changes twice at one time of its.
_SETTLED_NS = 2_000_000_000


def file_digests(root, names):
    """Digests the contents of files.

    Args:
        root: The folder.
        names: Paths of the files below it.

    Returns:
        uint8 array `[n, DIGEST_BYTES]`; zeros for a file that cannot be read.
    """
    cache = _cache_file(root)
    known = _read_cache(cache)
    digests = np.zeros((len(names), DIGEST_BYTES), np.uint8)
    keys, todo = [os.fsencode(name) for name in names], []
    for row, name in enumerate(names):
        status = _status(os.path.join(root, name))
        remembered = known.get(keys[row])
        if status is not None and remembered and remembered[0] == status:
            digests[row] = np.frombuffer(remembered[1], np.uint8)
        elif status is not None:
            todo.append(row)
    for row, (status, digest) in zip(todo, _read_all(root, [names[r] for r in todo])):
        digests[row] = np.frombuffer(digest, np.uint8)
        if status is not None:
            known[keys[row]] = status, digest
        else:
            known.pop(keys[row], None)
    if todo:
        _write_cache(cache, known)
    return digests


def _read_all(root, names):
    """Yields `(status or None, digest)` of each file, in order."""
    told = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = (os.path.join(root, name) for name in names)
        for done, found in enumerate(pool.map(_read_one, paths)):
            if time.monotonic() - told > _SECONDS_BETWEEN_REPORTS:
                told = time.monotonic()
                print(
                    f"reading images: {done} of {len(names)}",
                    file=sys.stderr,
                    flush=True,
                )
            yield found


def _read_one(path):
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        before = _status(path)
        with open(path, "rb", buffering=0) as file:
            while part := file.read(_AT_ONCE):
                digest.update(part)
        settled = before is not None and before == _status(path)
        settled = settled and max(before[1:]) < time.time_ns() - _SETTLED_NS
    except OSError:
        return None, bytes(DIGEST_BYTES)
    return before if settled else None, digest.digest()


def _status(path):
    try:
        status = os.stat(path)
    except OSError:  # a link that leads nowhere
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _cache_file(root):
    key = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
    return os.path.join(cache_folder(), f"digests-{key}.npz")


def _read_cache(path):
    """Returns `{name: (status, digest)}`."""
    try:
        with Npz(path) as archive:
            names = archive.array("names", "bytes", ("n",)).tolist()
            statuses = archive.array("statuses", "integers", (len(names), 3)).tolist()
            digests = archive.array("digests", "uint8", (len(names), DIGEST_BYTES))
    except ValueError:  # there is none yet, or it is damaged: all is read again
        return {}
    return dict(zip(names, zip(map(tuple, statuses), map(bytes, digests))))


def _write_cache(path, known):
    """Writes what `_read_cache` reads; not being able to write it is not an error."""
    digests = b"".join(digest for _, digest in known.values())
    buffer = io.BytesIO()
    np.savez(
        buffer,
        names=np.array(list(known), np.bytes_),
        statuses=np.array([status for status, _ in known.values()], np.int64),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES),
    )
    try:
        write_cache(path, buffer.getvalue())
    except OSError as error:
        _LOG.info("The digests of the images are not kept: %s", error)
