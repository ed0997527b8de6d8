"""Which rows have a label that is to be ignored."""

import functools

import tensorflow as tf

from tfembed.ops import replicas
from tfembed.ops.labels import flat_labels, one_column


def check_ignored(labels, ignore_label):
    """Refuses a label to ignore that is of another kind than these labels.

    Args:
        labels: Labels of any dtype; strings may be int64 already, as their hashes.
        ignore_label: The label to ignore.

    Raises:
        ValueError: If one is a string and the other is not.
    """
    dtype = tf.convert_to_tensor(labels).dtype
    name = isinstance(ignore_label, (str, bytes))
    if dtype == tf.string and not name or name and dtype not in (tf.string, tf.int64):
        raise ValueError(
            "`ignore_label` must be of the labels' kind, a number among numbers and a "
            f"string among strings. Received: ignore_label={ignore_label!r} and labels "
            f"of dtype {dtype.name}."
        )


def kept_rows(labels, ignore_label):
    """Returns `(rows,)`, bool: the label is another one.

    Raises:
        ValueError: As in `check_ignored`.
    """
    labels = one_column(labels)
    check_ignored(labels, ignore_label)
    if isinstance(ignore_label, (str, bytes)):
        return flat_labels(labels) != flat_labels([ignore_label])
    wide = tf.float64 if labels.dtype.is_floating else tf.int64
    return tf.cast(labels, wide) != tf.cast(ignore_label, wide)


def share_of_kept(labels, ignore_label, dtype):
    """Returns rows / kept rows of all replicas, a scalar; 0 where none is kept.

    Times this, the mean over all rows is that over the kept ones.
    """
    kept = tf.cast(kept_rows(labels, ignore_label), dtype)
    rows = replicas.total(tf.cast(tf.shape(kept)[0], dtype))
    return tf.math.divide_no_nan(rows, replicas.total(tf.reduce_sum(kept)))


def taking_ignore_label(constructor):
    """Returns a constructor that takes `ignore_label=` besides its own arguments."""

    @functools.wraps(constructor)
    def __init__(self, *args, ignore_label=None, **kwargs):
        constructor(self, *args, **kwargs)
        if ignore_label is not None:
            self.ignore_label = ignore_label

    return __init__
