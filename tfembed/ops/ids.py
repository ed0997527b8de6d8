"""Instance ids, positions in a memory bank; and labels, the numbers of classes."""

import tensorflow as tf

from tfembed.ops.labels import one_column


def flat_ids(ids, kind="Instance ids"):
    """Returns ids as int64 of shape `(batch,)`.

    Args:
        ids: `(batch,)` or `(batch, 1)`, integers.
        kind: What they are called in the message.

    Raises:
        TypeError: If the ids are not integers. A float32 cannot tell ids above
            2^24 apart.
        ValueError: If they are one-hot rows.
    """
    ids = tf.convert_to_tensor(ids)
    refuse_float_ids(ids.dtype, kind)
    return tf.cast(one_column(ids, kind), tf.int64)


def refuse_float_ids(dtype, kind="Instance ids"):
    """Raises TypeError unless a dtype, or its name, is one of integers."""
    dtype = tf.as_dtype(dtype)
    if not dtype.is_integer:
        raise TypeError(
            f"{kind} must be integers, e.g. from "
            "`keras.Input((), dtype='int64')`. "
            f"Received: ids of dtype {dtype.name}."
        )


def check_ids(ids, size):
    """Asserts that all ids lie in `[0, size)`.

    XLA drops assertions; the returned flag is what remains of the check there.

    Args:
        ids: `(batch,)`, int64.
        size: Number of rows of the bank.

    Returns:
        The ids, to be used behind the assertion, and a boolean scalar that tells
        whether all of them are in range.
    """
    return _checked(
        ids,
        size,
        f"Instance ids must lie in [0, {size}), the rows of the memory bank. "
        "Make the bank as large as the training set and count the ids from 0. "
        "Received: ids =",
    )


def check_labels(labels, classes):
    """Asserts that all labels lie in `[0, classes)`; like `check_ids`."""
    return _checked(
        labels,
        classes,
        f"Labels must lie in [0, {classes}), the classes of the layer. Count the "
        "classes from 0, and give `num_classes` their number. Received: labels =",
    )


def _checked(ids, size, message):
    valid = tf.reduce_all((ids >= 0) & (ids < size))
    with tf.control_dependencies([tf.debugging.Assert(valid, [message, ids])]):
        return tf.identity(ids), tf.identity(valid)
