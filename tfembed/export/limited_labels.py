"""The nearest rows with at most so many of one label, exact wherever they stand.

One label may hold the first thousands of ranks, so that no fixed number of the nearest
rows is enough. Of a range of rows whose scores stand in memory, the nearest are taken
label by label: what of a list of the nearest is within the limits is taken; a label of
which enough is taken is closed; and the nearest of the labels that are open are listed
again, until k rows are taken or nothing is open.

- Each list closes a label, or is the last: it holds at least k rows, of which one was
  left out, and only for its label. As a closed label has its limit of rows among the k,
  there are at most `k / limit + 1` lists.
- What is taken of a closed label is before the end of the list that closed it, and
  lists end later and later, so that nothing before it can come any more.
"""

import tensorflow as tf

from tfembed.export.id_lookup import is_member
from tfembed.ops.per_label import LOWEST, best_per_label, label_places


def rows_within_limits(
    best_of, label_remains, labels_of, excluded, limits, n, k, complete
):
    """Finds the nearest rows of a range, and those with at most `limits` of one label.

    Args:
        best_of: Function of bool `(labels, batch)`, which labels are open, that returns
            the scores and rows `(batch, n)` of the nearest rows of open labels;
            `LOWEST` and -1 where there are fewer.
        label_remains: bool `(labels, batch)`: the labels that are open at first.
        labels_of: Function of rows that returns their labels, int64, negative for none.
        excluded: `(batch, any)`, int32: rows that are not taken; negative for none.
        limits: `(batch,)`, int32, at least 1: the most rows of one label.
        n: Scalar int32: at least k and as many rows as are excluded, or all rows.
        k: Scalar int32: rows wanted.
        complete: Scalar bool: whether n is the number of all rows.

    Returns:
        What `best_of` says of all labels that are open at first; and scores `(batch,
        k)` and rows `(batch, k)` within the limits, best first, equal scores in row
        order, `LOWEST` and -1 where there are fewer.
    """

    def go_on(first, label_remains, nearest, taken, _):
        scores, rows = taken
        labels = labels_of(rows)
        _, counts = label_places(rows, labels)
        closed = (rows >= 0) & (labels >= 0) & (counts >= limits[:, None])
        places = tf.where(closed)  # of query and rank
        closing = tf.stack([tf.gather_nd(labels, places) + 1, places[:, 0]], axis=1)
        label_remains = tf.tensor_scatter_nd_update(
            label_remains, closing, tf.fill([tf.shape(closing)[0]], False)
        )
        listed, found = best_of(label_remains)
        nearest = [
            tf.where(first, new, old) for new, old in zip((listed, found), nearest)
        ]
        ended = complete | (listed[:, -1] <= LOWEST)
        found = tf.where(is_member(excluded, found), -1, found)
        # The rows of open labels are listed again.
        rows = tf.concat([tf.where(closed, rows, -1), found], axis=1)
        taken = best_per_label(
            tf.concat([scores, listed], axis=1), rows, labels_of(rows), limits, k
        )
        unfinished = tf.reduce_any((taken[1][:, -1] < 0) & ~ended)
        return False, label_remains, nearest, list(taken), unfinished

    def none(width):
        shape = [tf.shape(limits)[0], width]
        return [tf.fill(shape, LOWEST), tf.fill(shape, -1)]

    table = tf.TensorShape([None, None])
    _, _, nearest, taken, _ = tf.while_loop(
        lambda *state: state[-1],
        go_on,
        [True, label_remains, none(n), none(k), True],
        shape_invariants=[
            tf.TensorShape([]),
            table,
            [table, table],
            [table, table],
            tf.TensorShape([]),
        ],
        parallel_iterations=1,
    )
    return nearest, taken
