"""All pairs of the anchors that have both kinds."""

import tensorflow as tf
from tensorflow import keras

from tfembed.miners.base import Miner


@keras.utils.register_keras_serializable(package="tfembed")
class AllValidMiner(Miner):
    """Keeps every pair of an anchor that has positives and negatives.

    An anchor with pairs of one kind alone, which makes no triplet, keeps nothing.
    """

    def __call__(self, pairs):
        both = tf.reduce_any(pairs.positive, axis=1)
        both &= tf.reduce_any(pairs.negative, axis=1)
        return pairs.positive & both[:, None], pairs.negative & both[:, None]
