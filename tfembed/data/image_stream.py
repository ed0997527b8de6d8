"""Images read once and in order, in bounded memory, with no look at them beforehand.

Training looks into every file first, so that what does not decode has no number. A
job that reads each image once would so read it twice; here what does not decode is
found on the way.
"""

from __future__ import annotations

import functools
import os
import re

import numpy as np
import tensorflow as tf

from tfembed.data.decodable import decodable
from tfembed.data.folder import FolderSplit
from tfembed.formats.image_files import UnreadableImage, as_decodable
from tfembed.ops.images import decode_image

__all__ = ["decode_or_reason", "stream_images"]


def stream_images(split, rows, batch_size, image_shape, resize="squash"):
    """Reads images of a split, with the pixels that training on it would see.

    Args:
        split: A `Split`; one of a folder need not be `checked` or `converted`.
        rows: Integers `[n]` in 0..size-1, ascending.
        batch_size: Images in a batch, at most.
        image_shape: `(height, width, channels)` that images are brought to.
        resize: How, as `decode_image` takes it.

    Yields:
        `(rows, images, skipped)`: int64 `[b]`, float32 `[b, height, width, channels]`
        in 0..255, and a list of `(row, reason)` of images that do not decode. The
        rows of one split come in ascending order, but for files that were read only
        at the second try, which come last.

    Raises:
        OSError: If the folder of a split is no longer there.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        return
    if isinstance(split, FolderSplit):
        yield from _stream_files(split, rows, batch_size, image_shape, resize)
        return
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        part = split.take(some).converted(image_shape, resize)
        images = part.read(np.arange(part.size)).astype(np.float32)
        yield some, images, []


def _stream_files(split, rows, batch_size, image_shape, resize):
    part = split.take(rows)
    decode = _decoder(tuple(image_shape), resize)

    def load(number, path):
        return {"images": decode(decodable(tf.io.read_file(path))), "ids": number}

    with tf.device("CPU:0"):
        paths = [os.path.join(part.root, name) for name in part.names]
        numbers = np.arange(part.size)
        dataset = tf.data.Dataset.from_tensor_slices((numbers, paths))
        dataset = dataset.map(load, tf.data.AUTOTUNE, deterministic=True)
        dataset = dataset.ignore_errors()
    missing = np.ones(part.size, bool)
    for batch in dataset.batch(batch_size).prefetch(2):
        found = batch["ids"].numpy()
        missing[found] = False
        yield rows[found], batch["images"].numpy(), []
    again, skipped = [], []
    for number in np.flatnonzero(missing):
        path = os.path.join(part.root, part.names[number])
        pixels, reason = _read_file(path, image_shape, resize)
        if reason is None:
            again.append((rows[number], pixels))
        else:
            skipped.append((int(rows[number]), reason))
    if skipped and not os.path.isdir(split.root):
        raise OSError(
            f"The folder {split.root!r} was there and is no longer: "
            f"{skipped[0][1]}. Bring it back and start again."
        )
    for row, pixels in again:
        yield np.array([row], np.int64), pixels[None], []
    if skipped:
        yield np.empty(0, np.int64), np.empty((0, *image_shape), np.float32), skipped


def _read_file(path, image_shape, resize):
    try:
        with open(path, "rb") as file:
            return decode_or_reason(file.read(), image_shape, resize)
    except OSError as error:
        return None, error.strerror or type(error).__name__


def decode_or_reason(
    encoded: bytes, image_shape: tuple[int, int, int], resize: str = "squash"
) -> tuple[np.ndarray, None] | tuple[None, str]:
    """Decodes one image, or tells why not.

    >>> from tfembed.data import decode_or_reason
    >>> png = tf.io.encode_png(tf.zeros([20, 30, 3], tf.uint8)).numpy()
    >>> pixels, reason = decode_or_reason(png, (16, 16, 3))
    >>> pixels.shape, reason
    ((16, 16, 3), None)
    >>> decode_or_reason(b"no image", (16, 16, 3))
    (None, 'it is not an image of a known format')

    Args:
        encoded: The bytes of an image file.
        image_shape: `(height, width, channels)` that it is brought to.
        resize: How, as `decode_image` takes it.

    Returns:
        `(pixels, None)`, float32 in 0..255, as `tfembed.ops.images.decode_image` gives
        them; or `(None, reason)`, one line.
    """
    try:
        encoded = as_decodable(encoded, compress_level=0)
        decode = _decoder(tuple(image_shape), resize)
        return decode(tf.constant(encoded)).numpy(), None
    except UnreadableImage as error:
        return None, str(error)
    except tf.errors.OpError:
        pass
    try:  # again without a graph, whose own words would stand around the reason
        with tf.device("CPU:0"):
            return decode_image(encoded, image_shape, resize=resize).numpy(), None
    except tf.errors.OpError as error:
        return None, _first_line(error)


def _first_line(error):
    """What an operation says, without what it says about itself."""
    lines = str(error.message).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\{\{.*?\}\}\s*|\s*\[Op:.*$", "", lines[0])


@functools.lru_cache(maxsize=8)
def _decoder(image_shape, resize):
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(encoded):
        with tf.device("CPU:0"):
            return decode_image(encoded, image_shape, resize=resize)

    return decode
