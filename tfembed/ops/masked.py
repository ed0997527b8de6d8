"""Reductions over the entries that a mask leaves, for rows that may have none.

Each function reduces the last axis, or the one given as `axis`. What is masked out may
be anything, infinite too: it reaches neither the value nor the gradient.
"""

import math

import tensorflow as tf


def masked_sum(values, mask):
    """Sums the entries of `mask`; 0 without any."""

    @tf.custom_gradient
    def of_all(values):
        kept = tf.cast(mask, values.dtype)
        total = tf.reduce_sum(tf.math.multiply_no_nan(values, kept), axis=-1)
        return total, lambda upstream: upstream[..., None] * kept

    return of_all(values)


def masked_count(mask, dtype):
    """Counts the entries of `mask`, as a float."""
    return tf.reduce_sum(tf.cast(mask, dtype), axis=-1)


def masked_mean(values, mask):
    """Averages the entries of `mask`; 0 without any."""
    return tf.math.divide_no_nan(
        masked_sum(values, mask), masked_count(mask, values.dtype)
    )


def masked_max(values, mask, empty=0.0):
    """Returns the largest entry of `mask`, or `empty` without any."""
    lowest = tf.fill(tf.shape(values), values.dtype.min)
    largest = tf.reduce_max(tf.where(mask, values, lowest), axis=-1)
    there = tf.reduce_any(mask, axis=-1)
    return tf.where(there, largest, tf.cast(empty, values.dtype))


def masked_min(values, mask, empty=0.0):
    """Returns the smallest entry of `mask`, or `empty` without any."""
    return -masked_max(-values, mask, -empty)


def log_sum_exp(logits, mask, empty=0.0, axis=-1):
    """Computes `log(sum{exp(logits)})` over `mask`, or `empty` without any."""

    @tf.custom_gradient
    def of_kept(logits):
        kept, top = _kept(logits, mask, axis)
        there = tf.not_equal(top, -math.inf)
        top = tf.where(there, top, tf.zeros_like(top))
        parts = tf.exp(kept - tf.expand_dims(top, axis))
        total = tf.reduce_sum(parts, axis=axis)
        log = tf.math.log(tf.where(there, total, tf.ones_like(total))) + top
        value = tf.where(there, log, tf.cast(empty, logits.dtype))
        return value, _share_of(parts, total, axis)

    return of_kept(logits)


def log1p_sum_exp(logits, mask, axis=-1):
    """Computes `log(1 + sum{exp(logits)})` over `mask`; 0 without any."""

    @tf.custom_gradient
    def of_kept(logits):
        kept, top = _kept(logits, mask, axis)
        top = tf.maximum(top, tf.zeros_like(top))
        parts = tf.exp(kept - tf.expand_dims(top, axis))
        total = tf.reduce_sum(parts, axis=axis) + tf.exp(-top)
        return tf.math.log(total) + top, _share_of(parts, total, axis)

    return of_kept(logits)


def _kept(logits, mask, axis):
    """Returns the logits, -inf outside of `mask`, and the largest, a constant."""
    nothing = tf.fill(tf.shape(logits), tf.constant(-math.inf, logits.dtype))
    kept = tf.where(mask, logits, nothing)
    return kept, tf.stop_gradient(tf.reduce_max(kept, axis=axis))


def _share_of(parts, total, axis):
    """Returns the gradient of `log(total)`: one product, and only `parts` are kept."""

    def gradient(upstream):
        return parts * tf.expand_dims(tf.math.divide_no_nan(upstream, total), axis)

    return gradient
