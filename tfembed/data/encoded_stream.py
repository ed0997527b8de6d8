"""A stream of encoded images into one array, which need not fit into memory.

What fits into half of the memory that is free goes there. What does not goes into a
file in the cache folder, from which training then reads at random; the file is kept
and found again by its key.
"""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import logging
import math
import os

import numpy as np
import tensorflow as tf

from tfembed.data.array_split import ArraySplit, as_uint8
from tfembed.data.cache_folder import cache_folder
from tfembed.formats.disk import raise_full_disk, sync
from tfembed.formats.image_files import UnreadableImage, as_decodable
from tfembed.ops.image_formats import DECODER_VERSION
from tfembed.ops.images import decode_image

__all__ = ["decode_stream"]

_LOG = logging.getLogger(__name__)
_AT_ONCE = 256


def decode_stream(stream, size, image_shape, key, strict=False, resize="squash"):
    """Decodes images to one shape.

    Args:
        stream: Function without arguments that returns an iterator of
            `(name, encoded bytes, label or None)`.
        size: How many the iterator gives.
        image_shape: `(height, width, channels)` to decode to.
        key: String that changes whenever the images do; names the file on disk.
        strict: Raise when an image does not decode instead of leaving it out.
        resize: How images are brought to `image_shape`, as `decode_image` takes it.

    Returns:
        An `ArraySplit` of the images that decode.

    Raises:
        ValueError: With `strict`, if an image does not decode.
    """
    shape = (size, *image_shape)
    if np.prod(shape, dtype=np.int64) <= _free_memory() // 2:
        images = np.empty(shape, np.uint8)
        labels, names, skipped = _fill(images, stream(), strict, resize)
        return ArraySplit(images[: len(names)], labels, names, skipped)
    return _through_file(stream, shape, key, strict, resize)


def _through_file(stream, shape, key, strict, resize):
    key = f"{key}\n{shape}\ndecoder {DECODER_VERSION}"
    if resize != "squash":  # which those of before there was a choice are
        key += f"\n{resize}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    base = os.path.join(cache_folder(), f"decoded-{digest}")
    if not os.path.isfile(f"{base}.json"):
        os.makedirs(cache_folder(), exist_ok=True)
        _LOG.warning("More images than memory: decoding them into %s.images", base)
        own = f"{base}.{os.getpid()}"
        try:
            images = _reserved(own, shape)
            labels, names, skipped = _fill(images, stream(), strict, resize)
            images.flush()
            with open(f"{own}.json", "w", encoding="utf-8") as facts:
                json.dump({"labels": labels, "names": names, "skipped": skipped}, facts)
            for path, ending in ((own, "images"), (f"{own}.json", "json")):
                sync(path)
                os.replace(path, f"{base}.{ending}")
                sync(cache_folder())  # the images' name, before the one that says so
        except BaseException as error:
            for path in (own, f"{own}.json"):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise_full_disk(f"{base}.images", error)
            raise
    with open(f"{base}.json", encoding="utf-8") as stream:
        facts = json.load(stream)
    skipped = [tuple(pair) for pair in facts["skipped"]]
    if strict and skipped:
        raise ValueError(_strict_message(*skipped[0]))
    images = np.memmap(f"{base}.images", np.uint8, "r", shape=shape)
    count = len(facts["names"])
    return ArraySplit(images[:count], facts["labels"], facts["names"], skipped)


def _reserved(path, shape):
    """Makes a mapped file whose room is there: writing without any ends the process."""
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape)))
    return np.memmap(path, np.uint8, "r+", shape=shape)


def _fill(images, stream, strict, resize):
    """Fills `images` from its start; returns labels, names, skipped as lists."""
    labels, names, skipped = [], [], []
    shape = images.shape[1:]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        while True:
            part = list(itertools.islice(stream, _AT_ONCE))
            if not part:
                break
            decoded = pool.map(lambda one: _decode(one[1], shape, resize), part)
            for (name, _, label), pixels in zip(part, decoded):
                if isinstance(pixels, str):
                    if strict:
                        raise ValueError(_strict_message(name, pixels))
                    _LOG.warning("Left out %s: %s.", name, pixels)
                    skipped.append((name, pixels))
                    continue
                images[len(names)] = pixels
                names.append(name)
                labels.append(label)
    if skipped:
        total = len(names) + len(skipped)
        _LOG.warning("Left out %d of %d images.", len(skipped), total)
    return (None if None in labels else labels), names, skipped


def _decode(encoded, shape, resize):
    try:
        encoded = as_decodable(encoded, compress_level=0)
        with tf.device("CPU:0"):
            return as_uint8(decode_image(encoded, shape, resize=resize).numpy())
    except UnreadableImage as error:
        return str(error)
    except tf.errors.OpError as error:
        return (error.message.strip().splitlines() or [type(error).__name__])[0]


def _strict_message(name, reason):
    return (
        "Every image must decode where `strict` is set. "
        f"Received: {name!r}: {reason}. Do without `strict` to leave such images out."
    )


def _free_memory():
    """Bytes of memory that are free; where the system does not say, 4 GB."""
    free = 4 * 1024**3
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    free = int(line.split()[1]) * 1024
    except OSError:
        pass
    return min([free, *_free_in_groups()])


def _free_in_groups(system="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """Bytes that each control group of this process leaves it, where one is limited.

    A container is told the memory of its whole machine; its group is what counts.
    """
    kinds = (  # of version 2, of version 1
        ("", "memory.max", "memory.current", "inactive_file"),
        (
            "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    )
    try:
        with open(own, encoding="utf-8") as lines:
            groups = [line.rstrip("\n").split(":", 2)[1:] for line in lines]
    except (OSError, ValueError):
        groups = []
    for folder, most, used, cached in kinds:
        for group in [path for name, path in groups if folder in name.split(",")]:
            steps = [each for each in group.split("/") if each not in ("", "..")]
            for count in range(len(steps) + 1):
                place = os.path.join(system, folder, *steps[:count])
                limit, usage = _number(place, most), _number(place, used)
                if limit is not None and usage is not None:
                    yield max(0, limit - usage + (_number(place, cached) or 0))


def _number(folder, name):
    """Reads a number of a control group, or one of its `memory.stat`."""
    try:
        if name.startswith("memory."):
            with open(os.path.join(folder, name), encoding="ascii") as file:
                return int(file.read())
        with open(os.path.join(folder, "memory.stat"), encoding="ascii") as file:
            return int(dict(line.split() for line in file)[name])
    except (KeyError, OSError, ValueError):  # none, or "max": not limited
        return None
