"""What measures a run has in common, and the files that it leaves of it."""

import abc
import os
from typing import Any

import numpy as np

from tfembed.data import folder_of
from tfembed.formats.text_columns import pack_columns

BATCH = 500
QUERIES = 8
KNOWN_SHARE = 0.95
THUMBNAIL_BYTES = 2**28
LONGEST_NAME = 100  # bytes; a file's name has 255 at most on most disks
PIXEL_BYTES = 2**31


def _file_name(text):
    """Makes the beginning of a file's name of any text; names are short."""
    text = "".join(each if each.isprintable() else "_" for each in text)
    encoded = text.replace("/", "_").encode()[:LONGEST_NAME]
    return encoded.decode(errors="ignore")


class Judge(abc.ABC):
    """Measures the encoder of a run on clean images.

    Args:
        config: The run's config.
        data: The `ImageData`.
        networks: The `Networks`.

    Attributes:
        protocol: `"seen"` or `"unseen"`.
        monitor: What the best epoch is chosen by, a name that `callback` logs.
        labelled: Whether there are labels to measure by.
        before: What the network is called before it is trained.
        watched: The `Split` that is measured after each epoch: the validation images
            where there are some, so that no choice is made by test images.
    """

    protocol: Any = None
    monitor: Any = None

    def __init__(self, config, data, networks):
        self.config = config
        self.data = data
        self.encoder = networks.encoder
        self.features = networks.features
        self.labelled = (
            data.test is not None
            and data.test.size > 0
            and data.train.labels is not None
            and data.test.labels is not None
        )
        given = config.init
        if given is None and config.weights is not None:
            given = os.path.basename(config.weights)
        self.before = "untrained network" if given is None else f"network of {given}"
        self.watched = data.test if data.validation is None else data.validation

    @abc.abstractmethod
    def callback(self):
        """Returns the callback that measures after each epoch."""

    @abc.abstractmethod
    def baselines(self):
        """Measures raw pixels, centred pixels and the network as it is now.

        Returns:
            List of rows of the result's table; none without labels. Pixels are left
            out where they would not fit into memory.
        """

    @abc.abstractmethod
    def row(self, name):
        """Measures the network as it is now: a row of the result's table."""

    @abc.abstractmethod
    def result(self, baselines):
        """Measures the trained encoder.

        Args:
            baselines: What `baselines` returned before training.

        Returns:
            The dictionary of `result.json`.
        """

    @abc.abstractmethod
    def write_embeddings(self, directory):
        """Writes the run's arrays; after `result`."""

    def facts(self):
        """Returns what `result.json` says of the data and the settings."""
        test, validation = self.data.test, self.data.validation
        held_out = "classes" if self.protocol == "unseen" else "images"
        return {
            "dataset": self.data.name,
            "protocol": self.protocol,
            "training_images": self.data.train.size,
            "test_images": 0 if test is None else test.size,
            "validation_images": 0 if validation is None else validation.size,
            "skipped_images": len(self.data.train.skipped),
            "evaluated_on": f"training {held_out} held out"
            if self.config.holdout
            else f"test {held_out}",
            "epochs": self.config.epochs,
            "seed": self.config.seed,
            "knn_temperature": self.config.knn_temperature,
        }

    def write_gallery(self, directory, split, embeddings, known_threshold):
        """Writes `gallery.npz` and `thumbnails.npz` of a split."""
        directory.write_npz(
            "gallery.npz",
            **self._arrays(split, embeddings),
            class_names=np.asarray(self.data.class_names or [], np.str_),
            known_threshold=np.float32(known_threshold),
            vote_temperature=np.float32(self.config.knn_temperature),
            vote_k=np.int64(min(200, split.size)),
            **pack_columns(split.metadata),
        )
        self._write_thumbnails(directory, "thumbnails.npz", split)

    def write_queries(self, directory, embeddings):
        """Writes `queries.npz` and `query_thumbnails.npz` of the test images."""
        test = self.data.test
        directory.write_npz("queries.npz", **self._arrays(test, embeddings))
        self._write_thumbnails(directory, "query_thumbnails.npz", test)

    def write_samples(self, directory):
        """Writes `queries/`: a few test images, of as many classes as there are."""
        import tensorflow as tf

        test = self.data.test
        order = np.random.default_rng(self.config.seed).permutation(test.size)
        if test.labels is not None:  # one of each class first, then the next of each
            seen, rank = {}, []
            for row in order:
                label = int(test.labels[row])
                rank.append(seen.get(label, 0))
                seen[label] = rank[-1] + 1
            order = order[np.argsort(rank, kind="stable")]
        (directory / "queries").mkdir(exist_ok=True)
        for row in order[:QUERIES]:
            name = "image"
            if test.labels is not None:
                label = int(test.labels[row])
                name = str(label)
                if self.data.class_names:
                    name = _file_name(self.data.class_names[label])
            png = tf.io.encode_png(test.read([row])[0]).numpy()
            directory.write_bytes(f"queries/{name}-{row:05d}.png", png)

    def pixels(self, *splits):
        """Returns the images of splits as rows, `None` where they would not fit."""
        length = np.prod(self.data.image_shape)
        if sum(split.size for split in splits) * length * 4 > PIXEL_BYTES:
            return None
        return [
            np.float32(split.read(np.arange(split.size)).reshape(split.size, -1))
            for split in splits
        ]

    def _arrays(self, split, embeddings):
        labels = split.labels
        if labels is None:
            labels = np.full(split.size, -1, np.int64)
        return {
            "embeddings": np.asarray(embeddings, np.float32),
            "labels": np.asarray(labels, np.int64),
            "ids": np.asarray(split.names, np.str_),
        }

    def _write_thumbnails(self, directory, name, split):
        in_memory = folder_of(self.config.dataset) is None
        if in_memory and split.size * np.prod(self.data.image_shape) <= THUMBNAIL_BYTES:
            directory.write_npz(
                name,
                images=split.read(np.arange(split.size)),
                ids=np.asarray(split.names, np.str_),
            )
