"""Nearest-neighbour accuracy of an encoder, after each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tensorflow import keras

from tfembed.callbacks.epoch_metrics import EpochMetrics
from tfembed.formats.label_vectors import as_vector, kept
from tfembed.hints import Label, Labels
from tfembed.metrics import embed, weighted_knn_hits


class NeighborAccuracy(EpochMetrics):
    """Logs how well the gallery's nearest neighbours classify the queries.

    Embeds both anew, without augmentation and in inference mode, and adds
    `knn_10`, `knn_200` and so on to the epoch's logs, where the progress bar, the
    CSV log and TensorBoard find them. Changes nothing of the training.

    >>> from tfembed.callbacks import NeighborAccuracy
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    >>> encoder.compile("sgd", "mse")
    >>> images, labels = np.eye(2)[[0, 1] * 4], np.array([0, 1] * 4)
    >>> some = [images], labels
    >>> accuracy = NeighborAccuracy(encoder, *some, *some, ks=(2,))
    >>> options = {"callbacks": [accuracy], "verbose": 0}
    >>> history = encoder.fit(images, np.ones((8, 4)), **options)
    >>> history.history["knn_2"]
    [1.0]

    Args:
        encoder: Keras model from images to embeddings; shares its weights with the
            model that is trained.
        gallery: Iterable of batches of images, or of dictionaries with `"images"`.
        gallery_labels: `(gallery,)`.
        queries: As `gallery`.
        query_labels: `(queries,)`.
        ks: Numbers of neighbours; those above the gallery's size are left out.
        temperature: Of the vote; see `tfembed.metrics.weighted_knn`.
        every: Evaluate after so many epochs, and after the first one; the others log
            nothing.
        ignore_label: Images of this label are left out of both sides; `None`: none is.

    Raises:
        ValueError: If labels are one-hot rows.
    """

    def __init__(
        self,
        encoder: keras.Model,
        gallery: Iterable[Any],
        gallery_labels: Labels,
        queries: Iterable[Any],
        query_labels: Labels,
        ks: Sequence[int] = (10, 200),
        temperature: float = 0.07,
        every: int = 1,
        ignore_label: Label | None = None,
    ) -> None:
        super().__init__(every)
        self.encoder = encoder
        self.gallery = gallery
        self.gallery_labels = as_vector("gallery_labels", gallery_labels)
        self.queries = queries
        self.query_labels = as_vector("query_labels", query_labels)
        size = np.sum(kept(self.gallery_labels, ignore_label))
        self.ks = [k for k in ks if k <= size]
        self.ignore_label = ignore_label
        self.temperature = temperature

    def names(self) -> list[str]:
        """Returns the names that it logs."""
        return [f"knn_{k}" for k in self.ks]

    def evaluate(self) -> dict[str, float]:
        """Returns a dictionary from `"knn_K"` to accuracy, from 0 to 1."""
        hits = weighted_knn_hits(
            embed(self.encoder, self.queries),
            self.query_labels,
            embed(self.encoder, self.gallery),
            self.gallery_labels,
            self.ks,
            self.temperature,
            ignore_label=self.ignore_label,
        )
        return {f"knn_{k}": float(np.mean(right)) for k, right in hits.items()}
