"""Labels of any dtype, as what can be compared and sent between replicas."""

import tensorflow as tf

# From here on a dtype has no longer every whole number.
_WHOLE = {tf.bfloat16: 2**8, tf.float16: 2**11, tf.float32: 2**24, tf.float64: 2**53}
ONE_HOT = (
    "{name} must have the shape `(batch,)` or `(batch, 1)`, class numbers and not "
    "one-hot rows. Give `tf.argmax(labels, axis=-1)`, or `label_mode='int'` to "
    "`image_dataset_from_directory`. Received: shape {shape}."
)


def flat_labels(labels):
    """Returns labels as a vector, strings as hashes.

    Args:
        labels: `(batch,)` or `(batch, 1)`, integer, float, bool or string; two rows
            with equal labels belong together.

    Returns:
        `(batch,)`, of the labels' dtype; int64 for strings and booleans.

    Raises:
        ValueError: If the labels are one-hot rows, or floats so large that their dtype
            does not tell neighbours apart; in a graph, where values are not known,
            InvalidArgumentError.
    """
    labels = one_column(labels)
    if labels.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(labels, 2**63 - 1)
    if labels.dtype == tf.bool:
        return tf.cast(labels, tf.int64)
    return labels


def one_column(labels, name="`labels`"):
    """Returns labels as a vector, of their own dtype.

    Raises:
        ValueError: As in `flat_labels`.
    """
    labels = tf.convert_to_tensor(labels)
    shape = labels.shape
    if shape.rank is None or shape[1:].num_elements() is None:
        columns = tf.reduce_prod(tf.shape(labels)[1:])
        hint = ONE_HOT.split(" shape {")[0].format(name=name)
        one = tf.debugging.Assert(columns == 1, [hint, "shape", tf.shape(labels)])
        with tf.control_dependencies([one]):
            labels = tf.identity(labels)
    elif shape[1:].num_elements() != 1:
        raise ValueError(ONE_HOT.format(name=name, shape=tuple(shape)))
    return _told_apart(tf.reshape(labels, [-1]), name)


def may_be_rounded(labels):
    """Tells whether labels are floats that their dtype does not tell apart.

    Keras makes half floats of float labels, and float32 of float64, on their way to a
    loss.

    Returns:
        A bool scalar; `None` for labels that are no floats, or no vector or column.
    """
    if labels.dtype not in _WHOLE or labels.shape[1:].num_elements() != 1:
        return None
    rounded = tf.abs(labels) >= tf.constant(_WHOLE[labels.dtype], labels.dtype)
    if labels.dtype.size == 2:
        rounded |= tf.math.is_finite(labels) & (labels != tf.round(labels))
    return tf.reduce_any(rounded)


def _told_apart(labels, name):
    rounded = may_be_rounded(labels)
    if rounded is None:
        return labels
    text = (
        f"{name} of dtype {labels.dtype.name} must be whole numbers below "
        f"{_WHOLE[labels.dtype]}, or neighbours would be one class. Keras casts floats "
        "on their way to a loss, under mixed precision to half floats: give integers "
        "or strings. Received:"
    )
    value = tf.get_static_value(rounded)
    if value is not None and not value:
        return labels
    if value:
        largest = tf.reduce_max(tf.abs(tf.cast(labels, tf.float64)))
        raise ValueError(f"{text} labels up to {float(largest):g}.")
    with tf.control_dependencies([tf.debugging.Assert(~rounded, [text, labels])]):
        return tf.identity(labels)


def same_label(labels, ref_labels):
    """Compares every label with every reference's: `(rows, refs)`, bool."""
    if labels.dtype != ref_labels.dtype:  # a queue keeps int64
        wide = tf.float64
        if labels.dtype.is_integer and ref_labels.dtype.is_integer:
            wide = tf.int64
        labels, ref_labels = tf.cast(labels, wide), tf.cast(ref_labels, wide)
    return labels[:, None] == ref_labels[None, :]
