"""Each anchor's k hardest pairs of either kind."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.miners.base import Miner
from tfembed.ops.arguments import check_count
from tfembed.ops.pairs import Pairs


@keras.utils.register_keras_serializable(package="tfembed")
class TopKMiner(Miner):
    """Keeps each anchor's k nearest negatives, and its k farthest positives.

    What is as far as the k-th stays as well. An anchor that has pairs of one kind
    alone keeps the hardest of these.

    >>> from tfembed.losses import Contrastive
    >>> from tfembed.miners import TopKMiner
    >>> labels = [0, 0, 1, 1]
    >>> embeddings = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
    >>> round(float(Contrastive(margin=1.0)(labels, embeddings)), 4)
    0.2228
    >>> nearest = Contrastive(margin=1.0, miner=TopKMiner(negatives=1))
    >>> round(float(nearest(labels, embeddings)), 4)
    0.3314

    Args:
        negatives: How many negatives of an anchor are kept; `None`: all.
        positives: How many positives; `None`: all.
    """

    def __init__(
        self, negatives: int | None = 10, positives: int | None = None
    ) -> None:
        counts = {"negatives": negatives, "positives": positives}
        check_count(**{key: k for key, k in counts.items() if k is not None})
        self.negatives = negatives
        self.positives = positives

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        distance = tf.stop_gradient(pairs.squared_distance)
        return (
            _largest(distance, pairs.positive, self.positives),
            _largest(-distance, pairs.negative, self.negatives),
        )


def _largest(values, mask, k):
    """Leaves the k largest values of each row of a mask, and what equals the k-th."""
    if k is None:
        return mask
    values = tf.where(mask, values, tf.fill(tf.shape(values), values.dtype.min))
    k = tf.minimum(int(k), tf.shape(values)[1])
    least = tf.reduce_min(tf.math.top_k(values, k).values, axis=1)
    return mask & (values >= least[:, None])
