"""Projected affinities: the gradient, where the decomposition has none."""

import numpy as np
import tensorflow as tf

from tfembed.losses import affinity_projection


def gradient(labels, embeddings):
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = tf.reduce_mean(affinity_projection(labels, embeddings))
    return tape.gradient(loss, embeddings).numpy()


def closed_form(labels, embeddings):
    """`-4 (I - E E^+) C (E^+)^T`, C the projection to the labels: Law et al., 2017."""
    inverse = np.linalg.pinv(embeddings)
    y = (labels[:, None] == np.unique(labels)).astype(float)
    residual = np.eye(len(labels)) - embeddings @ inverse
    return -4 * residual @ (y @ np.linalg.pinv(y)) @ inverse.T


def with_singular_values(values, rows, seed):
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(rows, len(values))))[0]
    right = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    return left * values @ right


def test_gradient_is_that_of_deep_spectral_clustering():
    labels = np.random.default_rng(0).integers(0, 4, 15)
    for values in ([3.0, 2.0, 1.0, 0.5], [5.0, 1.0, 0.1, 0.01]):
        x = with_singular_values(values, 15, 1)
        np.testing.assert_allclose(
            gradient(labels, x), closed_form(labels, x), rtol=1e-7, atol=1e-8
        )


def test_gradient_where_singular_values_meet():
    labels = np.random.default_rng(2).integers(0, 3, 12)
    for values in ([1.0] * 4, [2.0, 2.0, 1.0, 1.0], [1.0, 1 + 1e-9, 1 - 1e-9, 0.5]):
        x = with_singular_values(values, 12, 3)
        np.testing.assert_allclose(
            gradient(labels, x), closed_form(labels, x), rtol=1e-7, atol=1e-9
        )


def test_what_it_saves_to_leave_out_what_cancels():
    labels = np.random.default_rng(2).integers(0, 3, 12)
    y = (labels[:, None] == np.unique(labels)).astype(float)
    target = tf.constant(y @ np.linalg.pinv(y))
    values = with_singular_values([1.0, 1 + 1e-10, 1 - 1e-10, 0.5], 12, 3)
    x = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(x)
        left = tf.linalg.svd(x)[1]
        shared = tf.reduce_sum(tf.matmul(left, left, transpose_b=True) * target)
    expected = closed_form(labels, values)
    through_vectors = -2 * tape.gradient(shared, x).numpy()
    error = np.abs(gradient(labels, values) - expected).max()
    assert error < 1e-12
    assert np.abs(through_vectors - expected).max() > 1000 * error


def test_dimensions_without_rank_have_no_part_in_it():
    labels = np.random.default_rng(4).integers(0, 3, 12)
    x = with_singular_values([2.0, 1.0, 0.5], 12, 5)
    wide = np.hstack([x, x[:, :1] + x[:, 1:2], np.zeros((12, 1))])
    np.testing.assert_allclose(
        affinity_projection(labels, wide), affinity_projection(labels, x), rtol=1e-9
    )
    assert np.isfinite(gradient(labels, wide)).all()
    # The gradient can only turn the space: it does not change along it.
    np.testing.assert_allclose(x.T @ gradient(labels, x), 0, atol=1e-9)


def test_zero_at_the_labels_own_space():
    labels = np.array([0, 1, 2, 0, 1, 2, 2])
    x = np.eye(3)[labels] @ np.random.default_rng(6).normal(size=(3, 3))
    np.testing.assert_allclose(affinity_projection(labels, x), 0, atol=1e-9)
    np.testing.assert_allclose(gradient(labels, x), 0, atol=1e-8)
