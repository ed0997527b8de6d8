"""Soft histograms against triangles around the nodes."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.soft_histograms import soft_histograms


def pulses(positions, mask, bins):
    """Each value's triangle around each node, summed by row."""
    triangles = 1 - np.abs(positions[..., None] - np.arange(bins + 1))
    return np.sum(np.maximum(triangles, 0) * mask[..., None], axis=1)


@pytest.mark.parametrize("bins", [1, 2, 9])
def test_equals_pulses_around_the_nodes(bins):
    rng = np.random.default_rng(bins)
    positions = rng.uniform(0, bins, (5, 30))
    positions[0, :4] = [0, bins, bins / 2, 1]  # the ends, and nodes themselves
    kind = rng.integers(0, 4, (5, 30))
    masks = [kind == 0, kind == 1]
    histograms = soft_histograms(tf.constant(positions), masks, bins)
    assert histograms.shape == (5, 2, bins + 1)
    for number, mask in enumerate(masks):
        expected = pulses(positions, mask, bins)
        np.testing.assert_allclose(histograms[:, number], expected, atol=1e-12)
    np.testing.assert_allclose(
        tf.reduce_sum(histograms, axis=2),
        np.stack([mask.sum(axis=1) for mask in masks], axis=1),
    )


def test_gradient_is_the_slope_between_two_nodes():
    rng = np.random.default_rng(0)
    bins = 6
    positions = rng.uniform(0, bins, (4, 20))
    masks = [rng.uniform(size=(4, 20)) < 0.5]
    weights = rng.normal(size=(4, 1, bins + 1))
    values = tf.constant(positions)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(soft_histograms(values, masks, bins) * weights)
    left = np.int64(np.floor(positions))
    rows = np.arange(4)[:, None]
    slopes = weights[rows, 0, left + 1] - weights[rows, 0, left]
    np.testing.assert_allclose(tape.gradient(total, values), slopes * masks[0])


def test_nothing_and_not_a_number():
    none = soft_histograms(tf.zeros([0, 0]), [tf.zeros([0, 0], tf.bool)], 3)
    assert none.shape == (0, 1, 4)
    lost = soft_histograms(tf.fill([1, 2], np.nan), [tf.ones([1, 2], tf.bool)], 3)
    assert lost.shape == (1, 1, 4) and np.isnan(lost).any()
