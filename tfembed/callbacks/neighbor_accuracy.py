"""Nearest-neighbour accuracy of an encoder, after each epoch."""

import numpy as np

from tfembed.callbacks.epoch_metrics import EpochMetrics
from tfembed.metrics import embed, weighted_knn


class NeighborAccuracy(EpochMetrics):
    """Logs how well the gallery's nearest neighbours classify the queries.

    Embeds both anew, without augmentation and in inference mode, and adds
    `knn_10`, `knn_200` and so on to the epoch's logs, where the progress bar, the
    CSV log and TensorBoard find them. Changes nothing of the training.

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
    """

    def __init__(
        self,
        encoder,
        gallery,
        gallery_labels,
        queries,
        query_labels,
        ks=(10, 200),
        temperature=0.07,
        every=1,
    ):
        super().__init__(every)
        self.encoder = encoder
        self.gallery = gallery
        self.gallery_labels = np.asarray(gallery_labels)
        self.queries = queries
        self.query_labels = np.asarray(query_labels)
        self.ks = [k for k in ks if k <= len(self.gallery_labels)]
        self.temperature = temperature

    def names(self):
        """Returns the names that it logs."""
        return [f"knn_{k}" for k in self.ks]

    def evaluate(self):
        """Returns a dictionary from `"knn_K"` to accuracy, from 0 to 1."""
        predictions = weighted_knn(
            embed(self.encoder, self.queries),
            embed(self.encoder, self.gallery),
            self.gallery_labels,
            self.ks,
            self.temperature,
        )
        return {
            f"knn_{k}": float(np.mean(predicted == self.query_labels))
            for k, predicted in predictions.items()
        }
