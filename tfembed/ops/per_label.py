"""The best of a ranking with no more than so many of one label, in stock ops."""

import tensorflow as tf

LOWEST = tf.float32.min


def best_per_label(scores, rows, labels, limits, k):
    """Walks down a ranking, and takes a row unless its label has been taken enough.

    Rows without a label are taken as if each had a label of its own: nothing says that
    two of them are alike.

    What is taken of a part of a ranking holds all that is taken of the whole and is of
    that part: a row that is taken has fewer than its limit of better rows of its label,
    and fewer than k better rows that are taken, and a part has no more of either. So
    the parts' answers, put together, give the answer of the whole.

    Args:
        scores: `(batch, n)`, float32 above `LOWEST`, in any order.
        rows: `(batch, n)`, int32: which row each is; negative for none. A row may stand
            there once.
        labels: `(batch, n)`, int64: their labels, negative for none.
        limits: `(batch,)`, int32, at least 1: the most rows of one label.
        k: Scalar int32: rows wanted.

    Returns:
        Scores `(batch, k)` and rows `(batch, k)`, best first, equal scores in row
        order; `LOWEST` and -1 where there are fewer.
    """
    missing = tf.maximum(k - tf.shape(rows)[1], 0)
    scores = tf.where(rows >= 0, scores, LOWEST)
    padding = [[0, 0], [0, missing]]
    scores = tf.pad(scores, padding, constant_values=LOWEST)
    rows = tf.pad(rows, padding, constant_values=-1)
    labels = tf.pad(labels, padding, constant_values=-1)
    order = tf.argsort(rows, axis=1)
    scores, rows, labels = _in_order(order, scores, rows, labels)
    scores, order = tf.math.top_k(scores, tf.shape(scores)[1])
    rows, labels = _in_order(order, rows, labels)
    places, _ = label_places(rows, labels)
    taken = (rows >= 0) & (places < limits[:, None])
    rows = tf.where(taken, rows, -1)
    scores, order = tf.math.top_k(tf.where(taken, scores, LOWEST), k)
    return scores, *_in_order(order, rows)


def label_places(rows, labels):
    """Counts the rows of each label in a ranking.

    Args:
        rows: `(batch, n)`, int32, best first; negative for none.
        labels: `(batch, n)`, int64, negative for none.

    Returns:
        How many rows of its label stand before each, and how many there are in all,
        both int32 `(batch, n)`. A row without a label is alone.
    """
    # Where there is no row it is -1, a group that no row is of.
    groups = tf.where((labels >= 0) & (rows >= 0), labels, -2 - tf.cast(rows, tf.int64))
    order = tf.argsort(groups, axis=1, stable=True)
    (groups,) = _in_order(order, groups)
    first, after = (
        bound(sorted_inputs=groups, values=groups, out_type=tf.int32)
        for bound in (tf.raw_ops.LowerBound, tf.raw_ops.UpperBound)
    )
    places = tf.range(tf.shape(groups)[1]) - first
    return _in_order(tf.argsort(order, axis=1), places, after - first)


def _in_order(order, *tensors):
    return [tf.gather(each, order, batch_dims=1) for each in tensors]
