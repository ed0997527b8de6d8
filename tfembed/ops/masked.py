"""Reductions over the entries that a mask leaves, for rows that may have none.

Each function reduces the last axis. What is masked out may be anything, infinite
too: it reaches neither the value nor the gradient.
"""

import tensorflow as tf


def masked_sum(values, mask):
    """Sums the entries of `mask`; 0 without any."""
    return tf.reduce_sum(tf.where(mask, values, tf.zeros_like(values)), axis=-1)


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


def log_sum_exp(logits, mask, empty=0.0):
    """Computes `log(sum{exp(logits)})` over `mask`, or `empty` without any."""
    total, top = _scaled_sum(logits, mask)
    there = tf.reduce_any(mask, axis=-1)
    log = tf.math.log(tf.where(there, total, tf.ones_like(total))) + top
    return tf.where(there, log, tf.cast(empty, logits.dtype))


def log1p_sum_exp(logits, mask):
    """Computes `log(1 + sum{exp(logits)})` over `mask`; 0 without any."""
    total, top = _scaled_sum(logits, mask, floor=0.0)
    return tf.math.log(total + tf.exp(-top)) + top


def _scaled_sum(logits, mask, floor=None):
    """Returns `sum{exp(logits - top)}` over `mask`, and `top`, a constant.

    `top` is the largest masked entry (0 without any), and at least `floor`.
    """
    top = tf.stop_gradient(masked_max(logits, mask))
    if floor is not None:
        top = tf.maximum(top, tf.cast(floor, logits.dtype))
    shifted = tf.where(mask, logits - top[..., None], tf.zeros_like(logits))
    return masked_sum(tf.exp(shifted), mask), top
