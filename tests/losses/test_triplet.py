"""Triplet loss: what the contracts do not say."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.losses import triplet
from tfembed.losses.triplet import DISTANCES, MININGS


def value_and_gradient(labels, x, **settings):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_mean(triplet(labels, x, **settings))
    return float(loss), tape.gradient(loss, x).numpy()


@pytest.mark.thin(3)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", MININGS)
def test_the_gradient_is_the_slope(mining, distance, soft):
    rng = np.random.default_rng(4)
    labels, x = rng.integers(0, 3, 12), rng.normal(size=(12, 5))
    settings = {
        "mining": mining,
        "distance": distance,
        "soft": soft,
        "margin": 0.6,
        "normalize": True,
    }
    # Draws follow the bits of float32: smaller steps leave the triplets as they are.
    x = np.float64(np.float32(x))
    way, step = x * rng.uniform(-1, 1, (12, 5)), 1e-8
    loss, gradient = value_and_gradient(labels, x, **settings)
    above, _ = value_and_gradient(labels, x + step * way, **settings)
    below, _ = value_and_gradient(labels, x - step * way, **settings)
    slope = (above - below) / (2 * step)
    assert loss > 0
    np.testing.assert_allclose(slope, np.sum(gradient * way), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mining", MININGS)
def test_far_classes_cost_nothing(mining):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 3)
    x = np.eye(4)[labels] + 1e-2 * rng.normal(size=(12, 4))
    loss, gradient = value_and_gradient(labels, x, mining=mining)
    assert loss == 0 and not np.any(gradient)


def test_an_anchor_without_negatives_counts_nowhere():
    rng = np.random.default_rng(1)
    x, refs = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    labels, ref_labels = [0, 0, 1, 2], [0, 0, 0, 1, 1, 1]
    for mining in MININGS:
        settings = {"mining": mining, "margin": 5.0}
        rows = triplet(labels, x, ref_labels, refs, **settings)
        fewer = triplet(labels[:3], x[:3], ref_labels, refs, **settings)
        assert rows[3] == 0
        np.testing.assert_allclose(rows[:3], fewer * 4 / 3)
        alone = triplet([0, 0], x[:2], [0, 0], refs[:2], **settings)
        assert not np.any(alone), "no negative, no triplet"


def test_semi_hard_takes_the_farthest_if_none_is_farther():
    x = np.array([[0.0], [3.0], [1.0], [2.0]])
    labels = [0, 0, 1, 2]
    rows = triplet(labels, x, margin=0.5, distance="euclidean")
    # 0 to 3: negatives at 1 and 2, 2 it is; 3 to 0 likewise.
    np.testing.assert_allclose(rows, [3.0, 3.0, 0, 0])


def test_semi_hard_is_strictly_farther():
    x = np.array([[0.0], [1.0], [-1.0], [1.5]])
    labels = [0, 0, 1, 2]
    rows = triplet(labels, x, margin=0.75, distance="euclidean")
    # From 0 to 1: the negative at -1 is as far and not farther, the one at 1.5 is it.
    np.testing.assert_allclose(rows, [0.5, 0, 0, 0])


def test_hundreds_of_positives():
    rng = np.random.default_rng(2)
    labels, x = np.arange(300) % 2, np.float32(rng.normal(size=(300, 4)))
    d = np.sum(np.square(np.float64(x)[:, None] - x[None]), axis=2)
    total, count = 0.0, 0
    for i in range(300):
        near = d[i, (labels == labels[i]) & (np.arange(300) != i)]
        gaps = near[:, None] - d[i, labels != labels[i]][None]
        total, count = total + np.maximum(gaps + 0.2, 0).sum(), count + gaps.size
    compiled = tf.function(lambda: tf.reduce_mean(triplet(labels, x, mining="all")))
    np.testing.assert_allclose(compiled(), total / count, rtol=1e-4)
