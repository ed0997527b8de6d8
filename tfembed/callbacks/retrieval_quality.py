"""Retrieval among given images, after each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tensorflow import keras

from tfembed.callbacks.epoch_metrics import EpochMetrics
from tfembed.formats.label_vectors import as_vector
from tfembed.hints import Label, Labels
from tfembed.metrics import embed, retrieval


class RetrievalQuality(EpochMetrics):
    """Logs how well images find others of their class.

    Embeds them anew, without augmentation and in inference mode, and adds `R@1` (and so
    on for all `ks`), `R-precision`, `MAP@R` and `MRR` to the epoch's logs, where the
    progress bar, the CSV log and TensorBoard find them, and `ModelCheckpoint` and
    `EarlyStopping` by `monitor="MAP@R", mode="max"`. Changes nothing of the training.

    A stop or a checkpoint chosen by these numbers has seen the images: choose on
    classes that are held out of training, and report others.

    >>> from tfembed.callbacks import RetrievalQuality
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    >>> encoder.compile("sgd", "mse")
    >>> images, labels = np.eye(2)[[0, 1] * 4], np.array([0, 1] * 4)
    >>> quality = RetrievalQuality(encoder, [images], labels)
    >>> options = {"callbacks": [quality], "verbose": 0}
    >>> history = encoder.fit(images, np.ones((8, 4)), **options)
    >>> history.history["R@1"], history.history["MAP@R"]
    ([1.0], [1.0])

    Args:
        encoder: Keras model from images to embeddings; shares its weights with the
            model that is trained.
        queries: Iterable of batches of images, or of dictionaries with `"images"`; it
            is gone through in each epoch, so that a generator will not do.
        labels: `(queries,)`.
        gallery: As `queries`, what is searched; by default the queries themselves.
        gallery_labels: `(gallery,)`, with `gallery`.
        ids: `(queries,)`, with `gallery_ids`: which queries stand in the gallery.
        gallery_ids: `(gallery,)`, each once.
        ks: Ranks of the recall.
        every: Evaluate after so many epochs, and after the first one; the others log
            nothing.
        prefix: Put before each name, to tell two of these apart.
        ignore_label: Images of this label are left out, here and in the gallery;
            `None`: none is.

    Raises:
        ValueError: If labels are one-hot rows.
    """

    def __init__(
        self,
        encoder: keras.Model,
        queries: Iterable[Any],
        labels: Labels,
        gallery: Iterable[Any] | None = None,
        gallery_labels: Labels | None = None,
        ids: Labels | None = None,
        gallery_ids: Labels | None = None,
        ks: Sequence[int] = (1,),
        every: int = 1,
        prefix: str = "",
        ignore_label: Label | None = None,
    ) -> None:
        super().__init__(every)
        if (gallery is None) != (gallery_labels is None):
            raise ValueError(
                "`gallery` and `gallery_labels` come together, or not at all. "
                f"Received: {'gallery_labels' if gallery is None else 'gallery'} alone."
            )
        self.encoder = encoder
        self.queries = queries
        self.labels = as_vector("labels", labels)
        self.gallery = gallery
        self.gallery_labels = gallery_labels
        if gallery_labels is not None:
            self.gallery_labels = as_vector("gallery_labels", gallery_labels)
        self.ids = ids
        self.gallery_ids = gallery_ids
        self.ks = sorted(ks)
        self.prefix = prefix
        self.ignore_label = ignore_label

    def names(self) -> list[str]:
        """Returns the names that it logs."""
        names = [f"R@{k}" for k in self.ks] + ["R-precision", "MAP@R", "MRR"]
        return [self.prefix + name for name in names]

    def evaluate(self) -> dict[str, float]:
        """Returns a dictionary from the names to numbers from 0 to 1."""
        gallery = None if self.gallery is None else embed(self.encoder, self.gallery)
        means = retrieval(
            embed(self.encoder, self.queries),
            self.labels,
            gallery,
            self.gallery_labels,
            self.ids,
            self.gallery_ids,
            self.ks,
            ignore_label=self.ignore_label,
        ).means()
        return {name: means[name[len(self.prefix) :]] for name in self.names()}
