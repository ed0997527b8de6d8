"""The pairs of semi-hard triplets."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow import keras

from tfembed.miners.base import Miner
from tfembed.ops.arguments import check_choice, check_positive
from tfembed.ops.pairs import Pairs
from tfembed.ops.positives import PositiveSlots

DISTANCES = ("squared_euclidean", "euclidean")


@keras.utils.register_keras_serializable(package="tfembed")
class SemiHardMiner(Miner):
    """Keeps the pairs that are part of a semi-hard triplet.

        D[a, p] < D[a, n] < D[a, p] + margin

    A positive stays if any negative makes such a triplet with it, a negative likewise.

    >>> from tfembed.losses import Triplet
    >>> from tfembed.miners import SemiHardMiner
    >>> loss = Triplet(margin=0.2, miner=SemiHardMiner(margin=0.2))
    >>> labels = [0, 0, 1, 1]
    >>> embeddings = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
    >>> float(loss(labels, embeddings)) >= 0
    True

    Args:
        margin: How far behind the positive a negative may be; positive.
        distance: D: `"squared_euclidean"` or `"euclidean"`, of the rows as the loss
            sees them (unit rows where it normalises).

    Reference: Schroff et al., 2015 (https://arxiv.org/abs/1503.03832).
    """

    def __init__(
        self, margin: float = 0.2, distance: str = "squared_euclidean"
    ) -> None:
        check_positive(margin=margin)
        check_choice(DISTANCES, distance=distance)
        self.margin = margin
        self.distance = distance

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        distance = tf.stop_gradient(
            pairs.distance if self.distance == "euclidean" else pairs.squared_distance
        )
        slots = PositiveSlots(pairs.positive)
        rows = tf.range(tf.shape(distance)[0])
        infinite = tf.constant(math.inf, distance.dtype)
        far = tf.where(pairs.negative, distance, infinite)

        def body(k, positive, negative):
            column, there = slots(k)
            where = tf.stack([rows, column], axis=1)
            near = tf.gather_nd(distance, where)[:, None]
            inside = (near < far) & (far < near + self.margin) & there[:, None]
            found = tf.cast(tf.reduce_any(inside, axis=1), tf.int32)
            positive = tf.tensor_scatter_nd_add(positive, where, found)
            return k + 1, positive, negative | inside

        nothing = tf.zeros_like(pairs.positive)
        _, positive, negative = tf.while_loop(
            lambda k, *_: k < slots.slots,
            body,
            (tf.constant(0), tf.cast(nothing, tf.int32), nothing),
            parallel_iterations=1,
        )
        return positive > 0, negative
