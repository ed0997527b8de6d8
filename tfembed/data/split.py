"""A numbered set of images, and the pipelines that read it.

Everything random is a function of (seed, epoch, step): the order of an epoch is a
stateless shuffle, and each batch is augmented with a seed of its own.
Nothing depends on what was read before, on what was prefetched or on how many threads
took part, so that a run that starts at epoch 3 gets, bit for bit, what an uninterrupted
run gets from epoch 3 on.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfembed.data.file_digests import DIGEST_BYTES
from tfembed.ops.arguments import as_count

__all__ = ["Split"]

NO_END = 2**31  # an epoch that none comes to; its number of steps fits 64 bits
_ORDER, _AUGMENTATION = 1, 2  # what a number drawn from the seed is for


class Split(abc.ABC):
    """Images numbered 0..size-1, in an order that never changes.

    >>> from tfembed.data import load_images
    >>> split = load_images("synthetic", limit=100, test_limit=20).train
    >>> split.read([3, 1]).dtype
    dtype('uint8')
    >>> split.take(np.flatnonzero(split.labels == split.labels[0])).size < 100
    True
    >>> epochs = split.epochs(32, seed=0, first_epoch=0, last_epoch=2)
    >>> len(epochs)
    8

    Attributes:
        size: Number of images.
        image_shape: `(height, width, channels)`.
        resize: How images of other sizes are brought to it; see `tfembed.ops.resize`.
        labels: int64 array `[size]`, or `None`. Labels only ever evaluate.
        names: Array of strings `[size]`: a name for each image that stays the same
            whichever images are chosen beside it.
        skipped: List of `(name, reason)` of the images that did not decode and were
            left out; they have no number.
        metadata: What else a list of images says of each: arrays of strings `[size]`,
            by the names of the columns. Empty for other sources.
    """

    resize = "squash"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        labels: np.ndarray | None,
        names: np.ndarray,
        skipped: Sequence[tuple[str, str]] = (),
        metadata: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keeps what all splits have."""
        self.image_shape = image_shape
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        self.names = np.asarray(names, np.str_)
        self.size = len(self.names)
        self.skipped = list(skipped)
        self.metadata = {
            name: np.asarray(values, np.str_)
            for name, values in (metadata or {}).items()
        }

    @abc.abstractmethod
    def take(self, rows: np.ndarray) -> Split:
        """Returns a split of the images `rows` (integer array), renumbered."""

    @abc.abstractmethod
    def read(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Reads images into memory.

        Args:
            ids: Integers `[n]` in 0..size-1.

        Returns:
            uint8 array `[n, height, width, channels]`.
        """

    def contents(self) -> np.ndarray:
        """Digests each image as its source has it, before its size is changed.

        Returns:
            uint8 array `[size, 16]`.
        """
        digests = [digest_image(self.read([row])[0]) for row in range(self.size)]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)

    @abc.abstractmethod
    def _load(self, batches):
        """Turns a dataset of ids, int64 `[b]` of one static size, into images.

        Returns:
            Dataset of `{"images": [b, height, width, channels], "ids": int64 [b]}` in
            the same order, the images of any real dtype, in 0..255.
        """

    def batches(
        self, batch_size: int, shuffle_seed: int | None = None
    ) -> tf.data.Dataset:
        """Every image once, as it is.

        Args:
            batch_size: Images in a batch; the last one may have fewer.
            shuffle_seed: Integer for a shuffled order; `None` for the order of ids.

        Returns:
            `tf.data.Dataset` of `{"images": float32 [b, height, width, channels] in
            0..255, "ids": int64 [b]}`.
        """
        as_count("batch_size", batch_size)
        steps = -(-self.size // batch_size)
        return self._pipeline(batch_size, shuffle_seed, steps, 0, 1, None, lanes=1)

    def epochs(
        self,
        batch_size: int,
        seed: int,
        first_epoch: int,
        last_epoch: int | None,
        augmentation: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        drop_remainder: bool = False,
        lanes: int = 1,
        views: int = 1,
    ) -> tf.data.Dataset:
        """Epoch after epoch of shuffled, augmented batches to train on.

        Args:
            batch_size: Images in a batch; the last batch of an epoch may have fewer.
            seed: Integer. Order and augmentation are functions of it, of the epoch
                and of the step within the epoch, and of nothing else.
            first_epoch: The epoch to start with, counted from 0.
            last_epoch: The epoch to stop before, as Keras counts `epochs`; `None` for
                no end, which goes with `steps_per_epoch` of `fit`.
            augmentation: Called as `augmentation(images, seed)` with uint8 or float32
                images `[b, height, width, channels]` and an int64 `[2]` seed; returns
                float32 images. `None` for images as they are.
            drop_remainder: Leave out the last batch of an epoch if it is short.
            lanes: How many batches are augmented at once. The result is the same for
                any number.
            views: How many times each image is augmented. A batch holds the first
                view of each image, then the second view of each, and so on.

        Returns:
            `tf.data.Dataset` of the dicts of `batches`, `views * b` rows each, of
            known (or infinite) cardinality.

        Raises:
            ValueError: If there is nothing to read: no image, or fewer than one batch
                with `drop_remainder`.
        """
        as_count("batch_size", batch_size)
        last_epoch = check_epochs(first_epoch, last_epoch)
        as_count("lanes", lanes)
        as_count("views", views)
        steps = self.size // batch_size
        if not drop_remainder:
            steps = -(-self.size // batch_size)
        if steps == 0:
            raise ValueError(
                "`batch_size` must leave at least one batch an epoch. Received: "
                f"batch_size={batch_size}, drop_remainder={drop_remainder}, with "
                f"{self.size} images. Use smaller batches or more images."
            )
        return self._pipeline(
            batch_size,
            seed,
            steps,
            first_epoch,
            last_epoch,
            augmentation,
            lanes,
            views,
        )

    def _pipeline(
        self,
        batch_size,
        seed,
        steps,
        first_epoch,
        last_epoch,
        augmentation,
        lanes,
        views=1,
    ):
        """All batches have the full size until the end, where a short one is cut.

        (Shapes known beforehand make the graphs of loading and augmenting simpler.
        TensorFlow's `index_shuffle` would need no order in memory, but is far from
        uniform: an image prefers some places and some followers.)
        """
        size = self.size

        def ids_of(epoch):
            ids = tf.range(size, dtype=tf.int64)
            if seed is not None:
                epoch_seed = _fold_in(_seed(seed, _ORDER), epoch)
                ids = tf.random.experimental.stateless_shuffle(ids, epoch_seed)
            places = tf.minimum(tf.range(steps * batch_size), size - 1)
            ids = tf.reshape(tf.gather(ids, places), (steps, batch_size))
            return tf.data.Dataset.from_tensor_slices(ids)

        def finish(index, batch):
            step = index % steps
            count = tf.minimum(size - step * batch_size, batch_size)
            seen = []
            for view in range(views):
                images = batch["images"]
                if augmentation is not None:
                    epoch_seed = _fold_in(_seed(seed, _AUGMENTATION), index // steps)
                    step_seed = _fold_in(epoch_seed, step)
                    own_seed = _fold_in(step_seed, view) if view else step_seed
                    images = augmentation(images, own_seed)
                seen.append(tf.cast(images, tf.float32)[:count])
            images = tf.concat(seen, axis=0) if views > 1 else seen[0]
            return {"images": images, "ids": tf.tile(batch["ids"][:count], [views])}

        first, last = first_epoch * steps, last_epoch * steps
        ids = tf.data.Dataset.range(first_epoch, last_epoch).flat_map(ids_of)
        dataset = (
            self._load(ids)
            .enumerate(start=first)
            .map(
                finish,
                num_parallel_calls=lanes if lanes > 1 else None,
                deterministic=True if lanes > 1 else None,
            )
        )
        return finished(dataset, last - first if last_epoch < NO_END else None)

    def __repr__(self) -> str:
        """Size and shape."""
        return f"{type(self).__name__}(size={self.size}, shape={self.image_shape})"


def digest_image(pixels):
    """Digests an image's shape and pixels to `DIGEST_BYTES` bytes."""
    digest = hashlib.blake2b(f"{pixels.shape}".encode(), digest_size=DIGEST_BYTES)
    digest.update(np.ascontiguousarray(pixels))
    return digest.digest()


def _seed(seed, purpose):
    return tf.constant([seed, purpose], tf.int64)


def _fold_in(seed, number):
    number = tf.cast(number, tf.int64)
    return tf.random.experimental.stateless_fold_in(seed, number)


def check_epochs(first_epoch, last_epoch):
    """Returns the epoch to stop before, `NO_END` for `None`; refuses a wrong order."""
    last = NO_END if last_epoch is None else last_epoch
    if not 0 <= first_epoch <= last:
        raise ValueError(
            "`first_epoch` and `last_epoch` must be 0 <= first <= last. Received: "
            f"first_epoch={first_epoch!r}, last_epoch={last_epoch!r}."
        )
    return last


def finished(dataset, steps):
    """Order, sharding and prefetching, the same for every pipeline.

    Args:
        dataset: Of batches.
        steps: How many; `None` for no end.
    """
    options = tf.data.Options()
    options.deterministic = True
    # Several hosts each read all and keep their share: there is one order of batches.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    steps = tf.data.INFINITE_CARDINALITY if steps is None else steps
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.with_options(options).prefetch(2)
