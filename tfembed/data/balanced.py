"""Batches of P classes with K samples each, for losses that compare rows.

Everything random is a function of (seed, epoch): which class comes when, and in which
order a class gives its samples. A run that starts at any step gets what an
uninterrupted run gets from there on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfembed.data.split import NO_END, Split, check_epochs, finished
from tfembed.hints import Labels
from tfembed.ops.arguments import check_count

__all__ = ["class_balanced"]

_CLASSES, _SAMPLES, _AUGMENTATION = 11, 12, 13  # what a number is drawn for


def class_balanced(
    labels: Labels,
    classes: int,
    samples: int,
    *,
    seed: int,
    read: Split | Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None,
    augmentation: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    first_epoch: int = 0,
    last_epoch: int | None = 1,
    first_step: int = 0,
    steps_per_epoch: int | None = None,
    lanes: int = 1,
) -> tf.data.Dataset:
    """Makes a dataset of batches that hold `samples` rows of each of `classes` classes.

    The classes take turns: all of them come once in random order before the next round
    begins (but for a rest smaller than a batch, another one in each round). A class
    gives its rows in random order, `samples` at each turn, and starts over when it has
    given all. Where it has fewer than `samples`, a batch holds rows of it several
    times, as evenly as can be. Each epoch has new orders.

    What is kept is two integers a row. Rows are read when their batch is due.

    Keras goes through a dataset anew in each epoch, so that `fit(epochs=3)` on one
    epoch sees the same batches three times. A dataset without end, and
    `steps_per_epoch`, give each of Keras' epochs its own:

    ```python
    batches = class_balanced(
        labels, 8, 4, seed=0, last_epoch=None, steps_per_epoch=100, read=read
    )
    model.fit(batches.map(as_x_and_y), epochs=3, steps_per_epoch=100)
    ```

    Stopped after two epochs, it goes on with `first_epoch=2` here and `initial_epoch=2`
    there.

    On several replicas each takes its part of every batch:
    `strategy.experimental_distribute_dataset`, which `fit` calls, splits them, so that
    the batches do not depend on the number of replicas.

    >>> labels = ["cat", "dog", "cat", "cow", "dog", "cat"]
    >>> batches = class_balanced(labels, 2, 2, seed=0, steps_per_epoch=3)
    >>> for batch in batches.as_numpy_iterator():
    ...     assert len(batch["ids"]) == 4 and len(set(batch["labels"])) == 2

    Args:
        labels: `(rows,)`, integers or strings: the class of each row.
        classes: Classes in a batch, P.
        samples: Rows of each class in a batch, K. The rows of a class follow each
            other.
        seed: Integer.
        read: What a row is: a `Split` of images, or a function of int64 ids
            `(classes * samples,)` that returns a dict of tensors. `None`: ids and
            labels alone.
        augmentation: With a `Split`, called as `augmentation(images, seed)`, the seed
            a function of seed, epoch and step; see `Split.epochs`.
        first_epoch: The epoch to start with, counted from 0.
        last_epoch: The epoch to stop before, as Keras counts `epochs`; `None` for no
            end.
        first_step: The step of the first epoch to start with.
        steps_per_epoch: Batches of an epoch. `None`: as many as hold about as many
            rows as there are.
        lanes: How many batches are read or augmented at once. The result is the same
            for any number.

    Returns:
        `tf.data.Dataset` of known (or infinite) cardinality, of dicts: `ids`, int64,
        the row numbers; `labels`, int64 or string; and `images` or what `read`
        returned. All `(classes * samples, ...)`.

    Raises:
        ValueError: If there are fewer classes than a batch needs, or an argument is
            out of its range.
    """
    values, numbers = _numbered(labels)
    check_count(classes=classes, samples=samples, lanes=lanes)
    classes, samples, rows = int(classes), int(samples), len(numbers)
    if len(values) < classes:
        raise ValueError(
            "`classes` must be at most the number of different labels, "
            f"{len(values)}. Received: classes={classes}."
        )
    if steps_per_epoch is None:
        steps_per_epoch = max(1, rows // (classes * samples))
    check_count(steps_per_epoch=steps_per_epoch)
    steps = int(steps_per_epoch)
    last_epoch = check_epochs(first_epoch, last_epoch)
    if not 0 <= first_step < steps:
        raise ValueError(
            f"`first_step` must be at least 0 and below the {steps} steps of an epoch. "
            f"Received: first_step={first_step!r}."
        )
    if isinstance(read, Split) and read.size != rows:
        raise ValueError(
            "`read` must be a split with one image for each label. "
            f"Received: {read.size} images and {rows} labels."
        )
    order = _Order(values, numbers, classes, samples, steps, seed)
    first = first_epoch * steps + first_step
    last = max(first, last_epoch * steps)
    ids = tf.data.Dataset.range(first_epoch, last_epoch).flat_map(
        lambda epoch: order.batches(
            epoch, tf.where(epoch == first_epoch, first_step, 0)
        )
    )
    dataset = read._load(ids) if isinstance(read, Split) else ids.map(_only_ids)

    def finish(index, batch):
        if isinstance(read, Split):
            batch["images"] = tf.cast(batch["images"], tf.float32)
            if augmentation is not None:
                own_seed = _seed(seed, _AUGMENTATION, index // steps, index % steps)
                batch["images"] = augmentation(batch["images"], own_seed)
        elif read is not None:
            batch = {**read(batch["ids"]), **batch}
        return {**batch, "labels": order.labels(batch["ids"])}

    dataset = dataset.enumerate(start=first).map(
        finish,
        num_parallel_calls=lanes if lanes > 1 else None,
        deterministic=True if lanes > 1 else None,
    )
    return finished(dataset, last - first if last_epoch < NO_END else None)


def _only_ids(ids):
    return {"ids": ids}


def _seed(seed, *numbers):
    """Returns a seed `[2]` for one purpose, folding numbers in one after another."""
    seed = tf.constant([seed, 0], tf.int64)
    for number in numbers:
        number = tf.cast(number, tf.int64)
        seed = tf.random.experimental.stateless_fold_in(seed, number)
    return seed


def _numbered(labels):
    """Returns the different labels, and the number of each row's label."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iubUSO" or not len(labels):
        raise ValueError(
            "`labels` must be one integer or string for each row, `(rows,)`. "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )
    if labels.dtype.kind in "iub":
        return np.unique(labels.astype(np.int64), return_inverse=True)
    # Sorted are the different labels alone, which is much quicker for strings.
    found = {}
    numbers = np.fromiter(
        (found.setdefault(label, len(found)) for label in labels.tolist()),
        np.int64,
        len(labels),
    )
    names = np.array(
        [each.decode() if isinstance(each, bytes) else str(each) for each in found]
    )
    rank = np.argsort(names, kind="stable")
    place = np.empty_like(rank)
    place[rank] = np.arange(len(rank))
    return names[rank], place[numbers]


class _Order:
    """Which rows make which batch."""

    def __init__(self, values, numbers, classes, samples, steps, seed):
        self.classes, self.samples, self.steps = classes, samples, steps
        self.per_round = len(values) // classes  # batches until a class comes again
        self.rounds = -(-steps // self.per_round)
        self.seed = seed
        counts = np.bincount(numbers)
        with tf.init_scope(), tf.device("CPU:0"):
            self.values = tf.constant(values)
            self.numbers = tf.constant(numbers, tf.int64)
            self.counts = tf.constant(counts, tf.int64)
            self.starts = tf.constant(np.cumsum(counts) - counts, tf.int64)

    def batches(self, epoch, first_step):
        """Returns the ids of an epoch's batches, a dataset of int64 `[P * K]`."""
        turns = self._turns(epoch)
        rows = self._rows(epoch)

        def batch(step):
            turn, place = step // self.per_round, step % self.per_round
            chosen = turns[turn, place * self.classes : (place + 1) * self.classes]
            chosen = tf.ensure_shape(chosen, [self.classes])[:, None]
            places = turn * self.samples + tf.range(self.samples, dtype=tf.int64)
            places = places[None, :] % tf.gather(self.counts, chosen)
            places += tf.gather(self.starts, chosen)
            return tf.reshape(tf.gather(rows, places), [self.classes * self.samples])

        first_step = tf.cast(first_step, tf.int64)
        return tf.data.Dataset.range(first_step, self.steps).map(batch)

    def labels(self, ids):
        """Returns the labels of rows."""
        return tf.gather(self.values, tf.gather(self.numbers, ids))

    def _turns(self, epoch):
        """The classes of each round in random order, `(rounds, all classes)`."""
        shape = [self.rounds, self.counts.shape[0]]
        return tf.argsort(self._noise(shape, _CLASSES, epoch), axis=1)

    def _rows(self, epoch):
        """All rows, class after class, those of a class in random order: int64."""
        noise = self._noise([self.numbers.shape[0]], _SAMPLES, epoch)
        return tf.cast(tf.argsort(self.numbers * 2**31 + noise % 2**31), tf.int64)

    def _noise(self, shape, purpose, epoch):
        return tf.random.stateless_uniform(
            shape,
            _seed(self.seed, purpose, epoch),
            minval=0,
            maxval=tf.int64.max,
            dtype=tf.int64,
            alg="philox",
        )
