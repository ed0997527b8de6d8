"""Instance ids: positions in a memory bank."""

import tensorflow as tf


def flat_ids(ids):
    """Returns ids as int64 of shape `(batch,)`.

    Raises:
        TypeError: If the ids are not integers. A float32 cannot tell ids above
            2^24 apart.
    """
    ids = tf.convert_to_tensor(ids)
    if not ids.dtype.is_integer:
        raise TypeError(
            "Instance ids must be integers, e.g. from "
            "`keras.Input((), dtype='int64')`. "
            f"Received: ids of dtype {ids.dtype.name}."
        )
    return tf.cast(tf.reshape(ids, [-1]), tf.int64)


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
    valid = tf.reduce_all((ids >= 0) & (ids < size))
    message = (
        f"Instance ids must lie in [0, {size}), the rows of the memory bank. "
        "Make the bank as large as the training set and count the ids from 0. "
        "Received: ids ="
    )
    with tf.control_dependencies([tf.debugging.Assert(valid, [message, ids])]):
        return tf.identity(ids), tf.identity(valid)
