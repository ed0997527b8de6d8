"""Coupled clusters: what the gradient takes as a constant."""

import numpy as np
import tensorflow as tf

from tfembed.losses import coupled_clusters


def test_gradient_of_the_paper():
    """An active row is pulled along x - c; its x* is pushed along c - x*."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1, 1, 2])
    x = rng.normal(size=(6, 3))
    embeddings = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = tf.reduce_mean(coupled_clusters(labels, embeddings, margin=2.0))
    expected = np.zeros((6, 3))
    valid = [0, 1, 2, 3, 4]  # the last row is alone in its class
    for i in valid:
        c = x[labels == labels[i]].mean(axis=0)
        others = np.flatnonzero(labels != labels[i])
        nearest = min(others, key=lambda j, c=c: np.sum((x[j] - c) ** 2))
        if np.sum((x[i] - c) ** 2) + 2.0 > np.sum((x[nearest] - c) ** 2):
            expected[i] += (x[i] - c) / len(valid)
            expected[nearest] += (c - x[nearest]) / len(valid)
    assert np.any(expected)
    np.testing.assert_allclose(tape.gradient(loss, embeddings), expected, atol=1e-12)


def test_a_class_of_one_row_is_no_cluster():
    labels, x = np.array([0, 1, 2]), np.eye(3)
    assert not np.any(coupled_clusters(labels, x, margin=9.0))
