"""NCE's terms against the formula, where they are large and where they are small."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.nce import info_nce, log_normalizer_estimate, noise_contrastive


@pytest.mark.parametrize("log_normalizer", [-5.0, 3.0, 12.0])
def test_equals_the_formula(log_normalizer, rng, run):
    positive, negatives = rng.normal(size=6) * 4, rng.normal(size=(6, 9)) * 4
    size = 50
    p, q = np.exp(positive - log_normalizer), np.exp(negatives - log_normalizer)
    noise = 9 / size
    expected = -np.log(p / (p + noise))
    expected -= np.sum(np.log(noise / (q + noise)), axis=1)
    losses, posterior = run(
        lambda a, b: noise_contrastive(a, b, log_normalizer, size),
        tf.constant(positive, tf.float32),
        tf.constant(negatives, tf.float32),
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(posterior, np.mean(q / (q + noise), 1), rtol=1e-4)


def test_huge_scores_stay_finite_with_their_gradient():
    positive = tf.constant([200.0, -200.0])
    negatives = tf.constant([[200.0, -200.0], [0.0, 200.0]])
    with tf.GradientTape() as tape:
        tape.watch([positive, negatives])
        losses, _ = noise_contrastive(positive, negatives, 1.0, 10)
    assert np.isfinite(losses).all()
    for gradient in tape.gradient(losses, [positive, negatives]):
        assert np.isfinite(gradient).all()
    assert np.isfinite(float(log_normalizer_estimate(positive, negatives, 10)))
    assert np.isfinite(info_nce(positive, negatives)).all()


def test_normalizer_estimate_is_size_times_the_mean(rng):
    positive, negatives = rng.normal(size=4), rng.normal(size=(4, 3))
    scores = np.concatenate([positive[:, None], negatives], axis=1)
    found = log_normalizer_estimate(
        tf.constant(positive, tf.float32), tf.constant(negatives, tf.float32), 70
    )
    assert np.exp(found) == pytest.approx(70 * np.exp(scores).mean(), rel=1e-5)
