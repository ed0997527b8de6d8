"""Noise-contrastive estimation, in the log domain."""

import math

import tensorflow as tf


def noise_contrastive(positive, negatives, log_normalizer, size):
    """Tells the data term from uniform noise, given the normaliser.

        p(s) = exp(s) / Z                   h(s) = p(s) / (p(s) + m / size)
        loss = -log h(positive) - sum{ log(1 - h(negative)) : m negatives }

    Args:
        positive: `(batch,)`, float32, similarity / temperature of the own row.
        negatives: `(batch, m)`, the same of the noise rows.
        log_normalizer: Scalar, log Z.
        size: Number of instances, 1 / noise probability.

    Returns:
        Losses `(batch,)`, and the mean of h over the noise terms `(batch,)`: near 0
        where Z fits, near 1 where Z is far too small.

    Reference: Wu et al., 2018, equations 5 to 7.
    """
    log_noise = _log_noise(negatives, size)
    positive = positive - log_normalizer - log_noise
    negatives = negatives - log_normalizer - log_noise
    losses = tf.math.softplus(-positive)
    losses += tf.reduce_sum(tf.math.softplus(negatives), axis=1)
    return losses, tf.reduce_mean(tf.sigmoid(negatives), axis=1)


def log_normalizer_estimate(positive, negatives, size):
    """Estimates log Z from one batch, as the paper's code does.

        Z = size * mean of exp over all positives and negatives of the batch

    The positives are in the mean, as in the code (the paper sums over the noise
    only). A row with a score that is not finite is left out.

    Args:
        positive: `(batch,)`; on several replicas, gathered.
        negatives: `(batch, m)`.
        size: Number of instances.

    Returns:
        Float32 scalar, NaN without any row.
    """
    scores = tf.concat([positive[:, None], negatives], axis=1)
    finite = tf.reduce_all(tf.math.is_finite(scores), axis=1)
    scores = tf.where(finite[:, None], scores, scores.dtype.min)
    columns = tf.cast(tf.shape(scores)[1], tf.float32)
    count = tf.reduce_sum(tf.cast(finite, tf.float32)) * columns
    estimate = tf.reduce_logsumexp(scores) + math.log(size) - tf.math.log(count)
    return tf.where(count > 0, estimate, float("nan"))


def info_nce(positive, negatives):
    """Cross-entropy of picking the positive among `1 + m` scores, `(batch,)`."""
    scores = tf.concat([positive[:, None], negatives], axis=1)
    return tf.reduce_logsumexp(scores, axis=1) - positive


def _log_noise(negatives, size):
    """`log(m * noise probability)`."""
    return tf.math.log(tf.cast(tf.shape(negatives)[1], tf.float32) / size)
