"""Which image files decode: one pass in parallel, remembered between runs.

The memory is a small JSON file a listing in the cache folder. Its key is a digest of
the paths, sizes and modification times of the files that were asked about, folder by
folder, so that a resumed run checks nothing again and one changed folder is checked
alone.
"""

import concurrent.futures
import hashlib
import json
import logging
import os
import re
import sys

import numpy as np
import tensorflow as tf

from tfembed.data.cache_folder import cache_folder, write_cache
from tfembed.formats.image_files import MissingReader, UnreadableImage, as_decodable
from tfembed.formats.image_header import declared_size
from tfembed.ops.image_formats import DECODER_VERSION
from tfembed.ops.images import decode_rgb
from tfembed.progress import Progress

__all__ = ["check_files", "find_two_sizes"]

_LOG = logging.getLogger(__name__)
_HEADERS = 256  # that are looked at
_HEAD = 2**16  # bytes, in which a header usually is


def check_files(root, names, strict=False):
    """Decodes every file once.

    Args:
        root: The folder.
        names: Paths of the files below it, with `/` between folders.
        strict: Whether to stop at the first file that does not decode.

    Returns:
        `(skipped, sizes, gray)`: a dict from the name of each file that does not
        decode to the reason, the set of `(height, width)` of the others, and whether
        all of these are gray.

    Raises:
        ValueError: With `strict`, if a file does not decode.
    """
    groups = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    digests = {group: _digest(root, files) for group, files in groups.items()}
    cache = _cache_file(root)
    known = _read_cache(cache)
    todo = [
        name
        for group, files in groups.items()
        if digests[group] not in known
        for name in files
    ]
    results = _decode_all(root, todo, strict)
    for group, files in groups.items():
        if digests[group] not in known:
            known[digests[group]] = _summary([(name, results[name]) for name in files])
    if todo:
        passing = {
            digests[group]
            for group, files in groups.items()
            if any(isinstance(results.get(name), _Missing) for name in files)
        }
        lasting = {key: one for key, one in known.items() if key not in passing}
        _write_cache(cache, lasting)
    found = [known[digests[group]] for group in groups]
    skipped = {name: reason for one in found for name, reason in one["skipped"].items()}
    for name, reason in skipped.items():
        _LOG.warning("Left out %s: %s.", name, reason)
    if skipped:
        _LOG.warning("Left out %d of %d images.", len(skipped), len(names))
        if strict:
            name, reason = next(iter(skipped.items()))
            raise ValueError(_strict_message(root, name, reason))
    sizes = {tuple(size) for one in found for size in one["sizes"]}
    return skipped, sizes, all(one["gray"] for one in found)


def find_two_sizes(root, names):
    """Looks whether images differ in size, by some headers, and decodes two at most.

    Args:
        root: The folder.
        names: Paths of the files below it.

    Returns:
        Two names and their `(height, width)`, `[(name, size), (name, size)]`, of images
        that decode; `None` where none were found, although there may be some.
    """
    first = {}
    for place in np.linspace(0, len(names) - 1, min(_HEADERS, len(names))).astype(int):
        try:
            with open(os.path.join(root, names[place]), "rb") as stream:
                size = declared_size(stream.read(_HEAD))
        except OSError:
            continue
        if all(size):
            first.setdefault(size, names[place])
    if len(first) < 2:
        return None
    found = []
    for name in list(first.values())[:2]:
        result = _decode_one(os.path.join(root, name))
        if not isinstance(result, str):
            found.append((name, tuple(result[:2])))
    different = len({size for _, size in found}) == 2  # not a photo on its side
    return found if different else None


def _strict_message(root, name, reason):
    return (
        "Every image must decode where `strict` is set. Received: "
        f"{os.path.join(root, name)!r}: {reason}. Repair or remove it, or do without "
        "`strict` to leave such images out."
    )


def _summary(results):
    good = [result for _, result in results if not isinstance(result, str)]
    sizes = sorted({result[:2] for result in good})
    return {
        "skipped": {
            name: result for name, result in results if isinstance(result, str)
        },
        "sizes": sizes[:2],  # one: all alike; two are enough to know better
        "gray": all(result[2] for result in good),
    }


def _decode_all(root, names, strict):
    """Name to `(height, width, gray)`, or to the reason why there is none."""
    results = {}
    progress = Progress(
        lambda line: print(line, file=sys.stderr, flush=True),
        len(names),
        stage="checking images",
    )
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = (os.path.join(root, name) for name in names)
        for name, result in zip(names, pool.map(_decode_one, paths)):
            if strict and isinstance(result, str):
                pool.shutdown(wait=False, cancel_futures=True)
                raise ValueError(_strict_message(root, name, result))
            results[name] = result
            progress.step()
    if names:
        _LOG.info("Checked %d images in %.1f seconds.", len(names), progress.seconds)
    return results


def _decode_one(path):
    try:
        with open(path, "rb") as stream:
            encoded = as_decodable(stream.read(), compress_level=0)
        with tf.device("CPU:0"):
            pixels = decode_rgb(encoded).numpy()
    except MissingReader as error:
        return _Missing(error)
    except UnreadableImage as error:
        return str(error)
    except (OSError, tf.errors.OpError) as error:
        lines = str(getattr(error, "message", error)).strip().splitlines()
        # TensorFlow names the function before the reason, and the operation after it.
        reason = re.sub(r"\{\{.*?\}\} |\s*\[Op:.*", "", lines[0]) if lines else ""
        return reason or type(error).__name__
    height, width, _ = pixels.shape
    if height == 0 or width == 0:
        return "it has no pixels"
    gray = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 0] == pixels[..., 2])
    return height, width, bool(gray.all())


class _Missing(str):
    """A reason that another installation would not have; it is not remembered."""

    __slots__ = ()


def _digest(root, names):
    digest = hashlib.sha256(f"decoder {DECODER_VERSION}\n".encode())
    for name in names:
        try:
            status = os.stat(os.path.join(root, name))
            seen = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        except OSError:  # a link that leads nowhere; decoding will say so
            seen = f"{name}\n"
        digest.update(seen.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _cache_file(root):
    key = hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:16]
    return os.path.join(cache_folder(), f"checked-{key}.json")


def _read_cache(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return dict(json.load(stream))
    except (OSError, ValueError):
        return {}


def _write_cache(path, known):
    """Writes what `_read_cache` reads; not being able to write it is not an error."""
    try:
        write_cache(path, json.dumps(known).encode())
    except OSError as error:
        _LOG.info("The result of the check is not kept: %s", error)
