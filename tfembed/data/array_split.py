"""Images in one array, in memory or in a memory-mapped file."""

import numpy as np
import tensorflow as tf

from tfembed.data.split import Split
from tfembed.ops.images import to_channels
from tfembed.ops.resize import resize_images

__all__ = ["ArraySplit", "numbered_names"]

_CONVERTED_AT_ONCE = 1024


class ArraySplit(Split):
    """Images of a uint8 array.

    Args:
        images: uint8 array `[n, height, width, channels]`, channels 1 or 3. An
            `np.memmap` is read from its file as images are asked for.
        labels: int64 `[n]`, or `None`.
        names: strings `[n]`.
        skipped: As in `Split`.
        contents: What `contents` returns; `None` for digests of the array's images.
    """

    def __init__(self, images, labels, names, skipped=(), contents=None):
        """Keeps the array; copies nothing."""
        super().__init__(tuple(images.shape[1:]), labels, names, skipped)
        self._images = images
        self._contents = contents
        self._tensor = None

    def take(self, rows):
        """Returns a split of the images `rows`, renumbered."""
        labels = None if self.labels is None else self.labels[rows]
        images = self._images
        if not np.array_equal(rows, np.arange(len(images))):
            count = len(rows)
            leading = np.array_equal(rows, np.arange(count))  # a view, no copy
            images = images[:count] if leading else images[rows]
        contents = None if self._contents is None else self._contents[rows]
        return ArraySplit(images, labels, self.names[rows], self.skipped, contents)

    def converted(self, image_shape, resize="squash"):
        """Returns a split with the images resized and their channels converted."""
        if tuple(image_shape) == self.image_shape:
            return self
        height, width, channels = image_shape
        images = np.empty((self.size, height, width, channels), np.uint8)
        with tf.device("CPU:0"):
            for start in range(0, self.size, _CONVERTED_AT_ONCE):
                rows = slice(start, start + _CONVERTED_AT_ONCE)
                part = to_channels(tf.constant(self._images[rows]), channels)
                images[rows] = as_uint8(
                    resize_images(part, (height, width), resize).numpy()
                )
        return ArraySplit(
            images, self.labels, self.names, self.skipped, self.contents()
        )

    def contents(self):
        """Digests the pixels of each image, as they were before `converted`."""
        if self._contents is None:
            self._contents = super().contents()
        return self._contents

    def read(self, ids):
        """Reads images into memory: uint8 `[n, height, width, channels]`."""
        return np.ascontiguousarray(self._images[np.asarray(ids, np.int64)])

    def _load(self, batches):
        gather = self._from_file if self._is_mapped() else self._from_memory()

        def images_of(ids):
            images = tf.ensure_shape(gather(ids), (*ids.shape, *self.image_shape))
            return {"images": images, "ids": ids}

        return batches.map(images_of)

    def _is_mapped(self):
        return isinstance(self._images, np.memmap)

    def _from_memory(self):
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._tensor = tf.constant(self._images)
        return lambda ids: tf.gather(self._tensor, ids)

    def _from_file(self, ids):
        return tf.numpy_function(self.read, [ids], tf.uint8, stateful=False)


def as_uint8(images):
    """Rounds float images in 0..255 to uint8."""
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def numbered_names(source, part, size):
    """The names `source/part/00000` and on, for images that have none."""
    return np.array([f"{source}/{part}/{row:05d}" for row in range(size)], np.str_)
