"""The positives of each anchor, slot by slot, against plain loops."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.pairs import Pairs
from tfembed.ops.positives import PositiveSlots, entry, sum_over_positives

SHAPES = [(7, 1), (5, 16), (6, 17), (4, 50), (3, 0), (0, 5), (0, 0)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_slots_are_the_positives_in_order(shape, share):
    mask = np.random.default_rng(0).uniform(size=shape) < share
    slots = PositiveSlots(tf.constant(mask))
    np.testing.assert_array_equal(slots.count, mask.sum(1))
    assert slots.slots == (mask.sum(1).max() if mask.size else 0)
    found = [[] for _ in mask]
    for k in range(int(slots.slots)):
        column, there = slots(tf.constant(k))
        for i in np.flatnonzero(there):
            found[i].append(int(column[i]))
    assert found == [np.flatnonzero(row).tolist() for row in mask]


def of_triplets(distance, positive, negative):
    """Sum and number of softplus(D_ap - D_an), triplet by triplet; its gradient."""
    sums, counts = np.zeros(len(distance)), np.zeros(len(distance))
    gradient = np.zeros_like(distance)
    for i in range(len(distance)):
        for p in np.flatnonzero(positive[i]):
            for n in np.flatnonzero(negative[i]):
                gap = distance[i, p] - distance[i, n]
                sums[i] += np.logaddexp(0, gap)
                counts[i] += 1
                gradient[i, p] += 1 / (1 + np.exp(-gap))
                gradient[i, n] -= 1 / (1 + np.exp(-gap))
    return sums, counts, gradient


@pytest.mark.parametrize("jit", [None, False, True], ids=["eager", "graph", "xla"])
def test_sums_and_gradients_are_those_of_all_triplets(jit):
    rng = np.random.default_rng(1)
    labels, others = rng.integers(0, 3, 9), rng.integers(0, 4, 14)
    distance = rng.uniform(size=(9, 14))
    positive = labels[:, None] == others[None, :]
    positive[0] = False

    def compute(distance, positive):
        pairs = Pairs(None, None, positive, ~positive, None)

        def term(column, distance):
            gap = entry(distance, column)[:, None] - distance
            negative = tf.cast(pairs.negative, gap.dtype)
            return [
                tf.reduce_sum(negative * tf.nn.softplus(gap), axis=1),
                tf.reduce_sum(negative, axis=1),
            ]

        with tf.GradientTape() as tape:
            tape.watch(distance)
            sums, counts = sum_over_positives(term, pairs, [distance], outputs=2)
        return sums, counts, tape.gradient(sums, distance)

    if jit is not None:
        compute = tf.function(compute, jit_compile=jit)
    for one, other in zip(
        compute(tf.constant(distance), tf.constant(positive)),
        of_triplets(distance, positive, ~positive),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_nothing_to_sum():
    pairs = types.SimpleNamespace(positive=tf.zeros([4, 4], tf.bool))
    values = tf.fill([4, 4], np.float32(np.inf))
    assert not np.any(sum_over_positives(lambda c, v: entry(v, c), pairs, [values]))
