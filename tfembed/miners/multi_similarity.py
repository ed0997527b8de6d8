"""The pairs that are informative next to the hardest ones of the other kind."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.miners.base import Miner
from tfembed.ops.arguments import check_number
from tfembed.ops.masked import masked_max, masked_min
from tfembed.ops.pairs import Pairs


@keras.utils.register_keras_serializable(package="tfembed")
class MultiSimilarityMiner(Miner):
    """Keeps what is hard compared with the anchor's hardest pair of the other kind.

        a negative j, if  S[i, j] > min{S[i, k] : k positive} - epsilon
        a positive j, if  S[i, j] < max{S[i, k] : k negative} + epsilon

    An anchor without positives, or without negatives, keeps nothing.

    >>> from tfembed.losses import BinomialDeviance
    >>> from tfembed.miners import MultiSimilarityMiner
    >>> labels, embeddings = [0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> float(BinomialDeviance()(labels, embeddings)) > 0
    True
    >>> loss = BinomialDeviance(miner=MultiSimilarityMiner(epsilon=0.1))
    >>> float(loss(labels, embeddings))  # the classes are apart: no pair is hard
    0.0

    Args:
        epsilon: Slack, in units of the similarity.

    Reference: Wang et al., 2019, equations 11 and 12
    (https://arxiv.org/abs/1904.06627).
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        check_number(epsilon=epsilon)
        self.epsilon = epsilon

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        similarity = tf.stop_gradient(pairs.similarity)
        lowest, highest = similarity.dtype.min, similarity.dtype.max
        hardest_positive = masked_min(similarity, pairs.positive, empty=highest)
        hardest_negative = masked_max(similarity, pairs.negative, empty=lowest)
        return (
            similarity < hardest_negative[:, None] + self.epsilon,
            similarity > hardest_positive[:, None] - self.epsilon,
        )
