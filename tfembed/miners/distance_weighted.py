"""Negatives at all distances alike, as many as there are positives."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.miners.base import Miner
from tfembed.ops.arguments import check_positive
from tfembed.ops.distance_weighted import DistanceWeighted
from tfembed.ops.pairs import Pairs
from tfembed.ops.positives import PositiveSlots
from tfembed.ops.unit_rows import unit_rows


@keras.utils.register_keras_serializable(package="tfembed")
class DistanceWeightedMiner(Miner):
    """Draws a negative for each positive of an anchor, by its distance.

    Points on a sphere are almost all at the distance sqrt(2). A negative is drawn in
    proportion to the inverse of the density of its distance d:

        1 / q(d),  q(d) ~ d^(n - 2) * (1 - d^2 / 4)^((n - 3) / 2),  n dimensions

    with d at least `nearest`, and not at all from `farthest` on, as long as anything
    is nearer. Distances are those of the rows at unit length. It is drawn with
    replacement: what comes twice is kept once. All positives stay, but for an anchor
    without negatives nothing does. The draws are functions of the embeddings' bits:
    the same embeddings, the same draws.

    >>> from tfembed.layers import Margin
    >>> from tfembed.miners import DistanceWeightedMiner
    >>> layer = Margin(num_classes=100, miner=DistanceWeightedMiner())
    >>> embeddings = tf.math.l2_normalize(tf.random.normal([8, 16]), axis=1)
    >>> layer([embeddings, tf.range(8) // 2]).shape  # passed through
    TensorShape([8, 16])

    Args:
        nearest: Distance below which no negative gets more likely.
        farthest: Distance from which on none is drawn.

    Reference: Wu et al., 2017 (https://arxiv.org/abs/1706.07567).
    """

    draws = True

    def __init__(self, nearest: float = 0.5, farthest: float = 1.4) -> None:
        check_positive(nearest=nearest, farthest=farthest)
        if not nearest < farthest < 2:
            raise ValueError(
                "`farthest` must be above `nearest`, and below 2, the largest distance "
                f"of unit rows. Received: nearest={nearest}, farthest={farthest}."
            )
        self.nearest = nearest
        self.farthest = farthest

    def __call__(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        if pairs.anchors is None:
            cosines = pairs.similarity
        else:
            cosines = tf.matmul(
                unit_rows(pairs.anchors), unit_rows(pairs.refs), transpose_b=True
            )
        draw = DistanceWeighted(pairs, cosines, self.nearest, self.farthest)
        slots = PositiveSlots(pairs.positive)
        rows = tf.range(tf.shape(pairs.positive)[0])

        def body(k, kept):
            column, there = slots(k)
            where = tf.stack([rows, draw(column)], axis=1)
            return k + 1, tf.tensor_scatter_nd_add(
                kept, where, tf.cast(there, kept.dtype)
            )

        _, kept = tf.while_loop(
            lambda k, _: k < slots.slots,
            body,
            (tf.constant(0), tf.zeros_like(pairs.positive, tf.int32)),
            parallel_iterations=1,
        )
        possible = tf.reduce_any(pairs.negative, axis=1)
        return pairs.positive & possible[:, None], pairs.negative & (kept > 0)
