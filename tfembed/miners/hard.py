"""Each anchor's hardest pair of either kind."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.miners.base import Miner
from tfembed.ops.masked import masked_max, masked_min
from tfembed.ops.pairs import Pairs


@keras.utils.register_keras_serializable(package="tfembed")
class HardMiner(Miner):
    """Keeps each anchor's farthest positive and its nearest negative.

    Of several equally hard ones it keeps all. An anchor without positives, or without
    negatives, keeps nothing.

    >>> from tfembed.losses import Triplet
    >>> from tfembed.miners import HardMiner
    >>> labels = [0, 0, 1, 1]
    >>> embeddings = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
    >>> float(Triplet(miner=HardMiner())(labels, embeddings)) >= float(
    ...     Triplet()(labels, embeddings)
    ... )  # the mean of the hardest, not of all
    True

    Reference: Hermans et al., 2017 (https://arxiv.org/abs/1703.07737).
    """

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        distance = tf.stop_gradient(pairs.squared_distance)
        both = tf.reduce_any(pairs.positive, axis=1)
        both &= tf.reduce_any(pairs.negative, axis=1)
        farthest = masked_max(distance, pairs.positive)[:, None]
        nearest = masked_min(distance, pairs.negative)[:, None]
        return (
            pairs.positive & (distance == farthest) & both[:, None],
            pairs.negative & (distance == nearest) & both[:, None],
        )
