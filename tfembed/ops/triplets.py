"""Sums over triplets (anchor, positive, negative), O(rows x refs) of memory.

Each loops over the positives of the anchors. A triplet's loss is a function of its gap
D[a, p] - D[a, n], so that one pass gives the sums and their derivatives by the
distances: nothing is computed again in the backward pass.
"""

import math

import tensorflow as tf

from tfembed.ops.floats import like
from tfembed.ops.positives import PositiveSlots


def hinge(margin):
    """`max(gap + margin, 0)`: what is added to the gap, and what becomes of the sum.

    The latter is a function that gives value and derivative.
    """

    def term(gap):
        value = tf.nn.relu(gap)
        return value, tf.cast(value > 0, gap.dtype)

    return margin, term


def _softplus(gap):
    return tf.nn.softplus(gap), tf.sigmoid(gap)


soft = (0.0, _softplus)  # `log(1 + exp(gap))`, likewise


def all_triplets(distance, positive, negative, term, window=None):
    """Sums all triplets of each anchor, or those of a window.

    Args:
        distance: `(rows, refs)`.
        positive: `(rows, refs)`, bool.
        negative: `(rows, refs)`, bool.
        term: `hinge(margin)`, `soft`, or another such pair.
        window: Leaves the triplets with `-window < gap < 0`.

    Returns:
        `(rows,)`: the sum of each anchor's terms; and `(rows,)`, their number.
    """
    slots = PositiveSlots(positive)
    margin, term = like(term[0], distance), term[1]
    if window is not None:
        window = tf.stop_gradient(like(window, distance))

    @tf.custom_gradient
    def compute(distance, margin):
        far = tf.where(negative, distance, _like(math.inf, distance))
        rows = tf.range(tf.shape(distance)[0])

        def body(k, total, count, slopes, weights):
            column, there = slots(k)
            where = tf.stack([rows, column], axis=1)
            near = tf.gather_nd(distance, where)
            near = tf.where(there, near, _like(-math.inf, near))[:, None]
            value, slope = term(near - far + margin)
            if window is not None:
                inside = (near < far) & (far < near + window)
                value = tf.where(inside, value, tf.zeros_like(value))
                slope = tf.where(inside, slope, tf.zeros_like(slope))
                count += tf.reduce_sum(tf.cast(inside, count.dtype), axis=1)
            total += tf.reduce_sum(value, axis=1)
            of_slot = tf.reduce_sum(slope, axis=1)
            weights = tf.tensor_scatter_nd_add(weights - slope, where, of_slot)
            return k + 1, total, count, slopes + of_slot, weights

        nothing = tf.zeros_like(rows, distance.dtype)
        _, total, count, slopes, weights = tf.while_loop(
            lambda k, *_: k < slots.slots,
            body,
            (tf.constant(0), nothing, nothing, nothing, tf.zeros_like(distance)),
            parallel_iterations=1,
        )
        if window is None:
            negatives = tf.reduce_sum(tf.cast(negative, distance.dtype), axis=1)
            count = tf.cast(slots.count, distance.dtype) * negatives
        return (total, count), lambda upstream, _: (
            upstream[:, None] * weights,
            tf.reduce_sum(upstream * slopes),
        )

    return compute(distance, margin)


def one_negative_each(distance, positive, negative, term, choose):
    """Sums a triplet for each positive: with the negative that `choose` names.

    Args:
        distance: `(rows, refs)`.
        positive: `(rows, refs)`, bool.
        negative: `(rows, refs)`, bool.
        term: As in `all_triplets`.
        choose: `choose(column, near)` gets the positive's column and distance, both
            `(rows,)`, and returns the negative's column.

    Returns:
        `(rows,)`: the sum of each anchor's terms; and `(rows,)`, their number, 0 for
        an anchor without negatives.
    """
    slots = PositiveSlots(positive)
    possible = tf.reduce_any(negative, axis=1)
    margin, term = like(term[0], distance), term[1]

    @tf.custom_gradient
    def compute(distance, margin):
        rows = tf.range(tf.shape(distance)[0])

        def body(k, total, slopes, weights):
            column, there = slots(k)
            there &= possible
            where = tf.stack([rows, column], axis=1)
            near = tf.gather_nd(distance, where)
            chosen = tf.stack([rows, choose(column, near)], axis=1)
            gap = near - tf.gather_nd(distance, chosen)
            value, slope = term(tf.where(there, gap, tf.zeros_like(gap)) + margin)
            value = tf.where(there, value, tf.zeros_like(value))
            slope = tf.where(there, slope, tf.zeros_like(slope))
            weights = tf.tensor_scatter_nd_add(
                weights,
                tf.concat([where, chosen], axis=0),
                tf.concat([slope, -slope], axis=0),
            )
            return k + 1, total + value, slopes + slope, weights

        nothing = tf.zeros_like(rows, distance.dtype)
        _, total, slopes, weights = tf.while_loop(
            lambda k, *_: k < slots.slots,
            body,
            (tf.constant(0), nothing, nothing, tf.zeros_like(distance)),
            parallel_iterations=1,
        )
        return total, lambda upstream: (
            upstream[:, None] * weights,
            tf.reduce_sum(upstream * slopes),
        )

    count = tf.where(possible, slots.count, tf.zeros_like(slots.count))
    return compute(distance, margin), tf.cast(count, distance.dtype)


def semi_hard(distance, negative):
    """Chooses the nearest negative that is farther than the positive.

    If none is, it is the farthest one.
    """
    distance = tf.stop_gradient(distance)
    # A column more for a batch of no rows: argmin wants one at least.
    more = [[0, 0], [0, tf.maximum(1 - tf.shape(distance)[1], 0)]]
    far = tf.where(negative, distance, _like(math.inf, distance))
    far = tf.pad(far, more, constant_values=math.inf)
    least = tf.where(tf.math.is_inf(far), _like(-1.0, far), far)
    farthest = tf.argmax(least, axis=1, output_type=tf.int32)

    def choose(column, near):
        farther = tf.where(far > near[:, None], far, _like(math.inf, far))
        nearest = tf.argmin(farther, axis=1, output_type=tf.int32)
        found = tf.gather(farther, nearest, batch_dims=1) < math.inf
        return tf.where(found, nearest, farthest)

    return choose


def _like(value, tensor):
    return tf.constant(value, tensor.dtype)
