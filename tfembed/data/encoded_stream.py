"""A stream of encoded images into one array, which need not fit into memory.

What fits into half of the memory that is free goes there. What does not goes into a
file in the cache folder, from which training then reads at random; the file is kept
and found again by its key.
"""

import concurrent.futures
import hashlib
import itertools
import json
import logging
import os

import numpy as np
import tensorflow as tf

from tfembed.data.array_split import ArraySplit, as_uint8
from tfembed.data.cache_folder import cache_folder
from tfembed.formats.image_files import UnreadableImage, as_decodable
from tfembed.ops.image_formats import DECODER_VERSION
from tfembed.ops.images import decode_image

__all__ = ["decode_stream"]

_LOG = logging.getLogger(__name__)
_AT_ONCE = 256


def decode_stream(stream, size, image_shape, key, strict=False):
    """Decodes images to one shape.

    Args:
        stream: Function without arguments that returns an iterator of
            `(name, encoded bytes, label or None)`.
        size: How many the iterator gives.
        image_shape: `(height, width, channels)` to decode to.
        key: String that changes whenever the images do; names the file on disk.
        strict: Raise when an image does not decode instead of leaving it out.

    Returns:
        An `ArraySplit` of the images that decode.

    Raises:
        ValueError: With `strict`, if an image does not decode.
    """
    shape = (size, *image_shape)
    if np.prod(shape, dtype=np.int64) <= _free_memory() // 2:
        images = np.empty(shape, np.uint8)
        labels, names, skipped = _fill(images, stream(), strict)
        return ArraySplit(images[: len(names)], labels, names, skipped)
    return _through_file(stream, shape, key, strict)


def _through_file(stream, shape, key, strict):
    key = f"{key}\n{shape}\ndecoder {DECODER_VERSION}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    base = os.path.join(cache_folder(), f"decoded-{digest}")
    if not os.path.isfile(f"{base}.json"):
        os.makedirs(cache_folder(), exist_ok=True)
        _LOG.warning("More images than memory: decoding them into %s.images", base)
        own = f"{base}.{os.getpid()}"
        images = np.memmap(own, np.uint8, "w+", shape=shape)
        labels, names, skipped = _fill(images, stream(), strict)
        images.flush()
        with open(f"{own}.json", "w", encoding="utf-8") as facts:
            json.dump({"labels": labels, "names": names, "skipped": skipped}, facts)
        os.replace(own, f"{base}.images")
        os.replace(f"{own}.json", f"{base}.json")
    with open(f"{base}.json", encoding="utf-8") as stream:
        facts = json.load(stream)
    skipped = [tuple(pair) for pair in facts["skipped"]]
    if strict and skipped:
        raise ValueError(_strict_message(*skipped[0]))
    images = np.memmap(f"{base}.images", np.uint8, "r", shape=shape)
    count = len(facts["names"])
    return ArraySplit(images[:count], facts["labels"], facts["names"], skipped)


def _fill(images, stream, strict):
    """Fills `images` from its start; returns labels, names, skipped as lists."""
    labels, names, skipped = [], [], []
    shape = images.shape[1:]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        while True:
            part = list(itertools.islice(stream, _AT_ONCE))
            if not part:
                break
            decoded = pool.map(lambda one: _decode(one[1], shape), part)
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


def _decode(encoded, shape):
    try:
        encoded = as_decodable(encoded, compress_level=0)
        with tf.device("CPU:0"):
            return as_uint8(decode_image(encoded, shape).numpy())
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
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * 1024**3
