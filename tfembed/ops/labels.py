"""Labels of any dtype, as what can be compared and sent between replicas."""

import tensorflow as tf


def flat_labels(labels):
    """Returns labels as a vector, strings as hashes.

    Args:
        labels: `(batch,)` or `(batch, 1)`, integer, float, bool or string; two rows
            with equal labels belong together.

    Returns:
        `(batch,)`, of the labels' dtype; int64 for strings and booleans.
    """
    labels = tf.reshape(labels, [-1])
    if labels.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(labels, 2**63 - 1)
    if labels.dtype == tf.bool:
        return tf.cast(labels, tf.int64)
    return labels


def same_label(labels, ref_labels):
    """Compares every label with every reference's: `(rows, refs)`, bool."""
    if labels.dtype != ref_labels.dtype:
        # Keras turns labels into float32 on their way to a loss; a queue keeps int64.
        wide = tf.float64
        if labels.dtype.is_integer and ref_labels.dtype.is_integer:
            wide = tf.int64
        labels, ref_labels = tf.cast(labels, wide), tf.cast(ref_labels, wide)
    return labels[:, None] == ref_labels[None, :]
