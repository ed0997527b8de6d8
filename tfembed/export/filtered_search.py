"""Nearest neighbours among the rows that a request allows, exact for every head.

A row remains if it is in the list of allowed ids and its label in the list of allowed
labels (a list that is empty but for padding allows everything), and neither its id nor
its label is excluded. Ids and labels that the gallery does not have are ignored, but
for this: a list that allows nothing that is there allows nothing.

- With a list of allowed ids only those rows are scored.
- Else all rows are, a range of them at a time, with the scores of labels that are out
  put to the lowest, and as many more of the nearest are kept as ids are excluded.

Where a request bounds the rows of one label, the nearest within that bound are found
too, likewise exact: see `tfembed.export.limited_labels`.
"""

import tensorflow as tf

from tfembed.export.chunks import in_chunks
from tfembed.export.id_lookup import find_rows, is_member
from tfembed.export.limited_labels import rows_within_limits
from tfembed.ops.neighbors import BLOCK, top_k_of_columns
from tfembed.ops.per_label import LOWEST, best_per_label


def filtered_neighbors(head, variables, queries, filters, k, max_scores):
    """Finds the nearest rows that remain.

    Args:
        head: Module of a head.
        variables: `{name: tf.Variable}` of `tfembed.export.gallery_state`.
        queries: `(batch, dim)`, float32.
        filters: `allow_ids`, `exclude_ids`, `allow_labels`, `exclude_labels`: string
            `(batch, any)`, padded with empty strings.
        k: Scalar int32 tensor from 1 to the gallery's size.
        max_scores: As many float32 numbers may stand in memory, about.

    Returns:
        Scores `(batch, k)` in float32 and rows `(batch, k)` in int32, nearest first,
        equal scores in row order; -inf and -1 where fewer remain.
    """
    allowed = find_rows(variables, filters["allow_ids"])
    excluded = find_rows(variables, filters["exclude_ids"])
    label_remains = remaining_labels(variables["label_names"], filters)
    restricted = tf.reduce_any(filters["allow_ids"] != "", axis=1)
    every = tf.cast(tf.where(~restricted)[:, 0], tf.int32)
    some = tf.cast(tf.where(restricted)[:, 0], tf.int32)

    def subset(rows, *tensors):
        return [tf.gather(each, rows) for each in tensors]

    by_scan = tf.cond(
        tf.size(every) > 0,
        lambda: scan(
            head,
            variables,
            *subset(every, queries, excluded, label_remains),
            k,
            max_scores,
        ),
        lambda: _nothing(0, k),
    )
    by_list = tf.cond(
        tf.size(some) > 0,
        lambda: score_list(
            head,
            variables,
            *subset(some, queries, excluded, label_remains, allowed),
            k,
            max_scores,
        ),
        lambda: _nothing(0, k),
    )
    places = tf.argsort(tf.concat([every, some], 0))
    scores, rows = (tf.concat(pair, 0) for pair in zip(by_scan, by_list))
    return tf.gather(scores, places), tf.gather(rows, places)


def score_pairs(head, variables, queries, rows, max_scores):
    """Scores given rows, a bounded number of pairs at a time.

    Args:
        head: Module of a head.
        variables: `{name: tf.Variable}` of `tfembed.export.gallery_state`.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32; negative for none.
        max_scores: As many float32 numbers may stand in memory, about.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    width = tf.maximum(tf.shape(rows)[1], 1)
    flat = tf.reshape(rows, [-1])
    of_query = tf.range(tf.size(flat)) // width
    scores = score_each(head, variables, queries, of_query, flat, max_scores)
    return tf.reshape(scores, tf.shape(rows))


def score_each(head, variables, queries, of_query, rows, max_scores):
    """Scores pairs of a query and a row, a bounded number at a time.

    Args:
        head: Module of a head.
        variables: `{name: tf.Variable}` of `tfembed.export.gallery_state`.
        queries: `(batch, dim)`, float32.
        of_query: `(n,)`, int32: the query of each pair.
        rows: `(n,)`, int32: its row; negative for none.
        max_scores: As many float32 numbers may stand in memory, about.

    Returns:
        `(n,)`, float32; -inf where there is no row.
    """
    chunk = max_scores // (2 * tf.shape(queries)[1])

    def score(start, stop):
        some = tf.gather(queries, of_query[start:stop])
        return (head.pairs(variables, some, rows[start:stop, None])[:, 0],)

    (scores,) = in_chunks(tf.size(rows), chunk, score, [(tf.float32, [None])])
    return scores


def remaining_labels(names, filters):
    """Tells for each request and label whether rows of the label remain.

    Args:
        names: String `(labels,)`, the first the empty one of label -1.
        filters: As for `filtered_neighbors`.

    Returns:
        bool `(batch, labels)`.
    """

    def listed(wanted):
        # The empty string pads: it means neither label -1, whose name it is, nor a
        # class that is named so.
        def look(column, found):
            name = wanted[:, column, None]
            return column + 1, found | ((names[None, :] == name) & (name != ""))

        found = tf.fill([tf.shape(wanted)[0], tf.shape(names)[0]], False)
        columns = tf.shape(wanted)[1]
        return tf.while_loop(lambda column, _: column < columns, look, [0, found])[1]

    restricted = tf.reduce_any(filters["allow_labels"] != "", axis=1, keepdims=True)
    allowed = ~restricted | listed(filters["allow_labels"])
    return allowed & ~listed(filters["exclude_labels"])


def _nothing(batch, k):
    return tf.fill([batch, k], -float("inf")), tf.fill([batch, k], -1)


def scan(
    head,
    variables,
    queries,
    excluded,
    label_remains,
    k,
    max_scores,
    limits=None,
    shown=None,
):
    """Looks at all rows as the head stores them, a range at a time.

    Args:
        head: As for `filtered_neighbors`.
        variables: As for `filtered_neighbors`.
        queries: As for `filtered_neighbors`.
        excluded: `(batch, any)`, int32: rows that do not remain; negative for none.
        label_remains: `(batch, labels)`, as `remaining_labels` returns it.
        k: As for `filtered_neighbors`.
        max_scores: As for `filtered_neighbors`.
        limits: `(batch,)`, int32, at least 1: the most rows of one label; `None`: no
            such limit.
        shown: With `limits`, how many rows within them: scalar int32, at most `k`.

    Returns:
        Scores `(batch, k)` and rows `(batch, k)`, limits or not; with `limits` the
        scores and rows `(batch, shown)` within them, too.
    """
    size = head.stored_count(variables)
    batch, dim = tf.shape(queries)[0], tf.shape(queries)[1]
    keep = tf.minimum(k + tf.shape(excluded)[1], size)
    chunk = tf.maximum(max_scores // tf.maximum(batch, dim), BLOCK)
    label_remains = tf.transpose(label_remains)  # (labels, batch)

    def look(start, scores, rows, *within):
        count = tf.minimum(chunk, size - start)
        embeddings, stored = head.stored(variables, start, count)
        embeddings = tf.ensure_shape(embeddings, [None, queries.shape[1]])
        labels = labels_of(variables, stored)
        here = tf.matmul(embeddings, queries, transpose_b=True)

        def best_of(label_remains):
            remains = tf.gather(label_remains, labels + 1) & (stored >= 0)[:, None]
            masked = tf.where(remains, here, LOWEST)
            best, places = top_k_of_columns(masked, tf.minimum(keep, count))
            return best, tf.where(best > LOWEST, tf.gather(stored, places), -1)

        if limits is None:
            best, found = best_of(label_remains)
        else:
            (best, found), more = rows_within_limits(
                best_of,
                label_remains,
                lambda rows: labels_of(variables, rows),
                excluded,
                limits,
                tf.minimum(keep, count),
                shown,
                keep >= count,
            )
            both = tf.concat([within[1], more[1]], 1)
            within = best_per_label(
                tf.concat([within[0], more[0]], 1),
                both,
                labels_of(variables, both),
                limits,
                shown,
            )
        # What was found before comes first: equal scores stay in stored order.
        scores, order = tf.math.top_k(tf.concat([scores, best], 1), keep)
        rows = tf.gather(tf.concat([rows, found], 1), order, batch_dims=1)
        return start + count, scores, rows, *within

    widths = [keep] if limits is None else [keep, shown]
    lists = [
        each
        for width in widths
        for each in (tf.fill([batch, width], LOWEST), tf.fill([batch, width], -1))
    ]
    _, scores, rows, *within = tf.while_loop(
        lambda start, *_: start < size,
        look,
        [0, *lists],
        shape_invariants=[tf.TensorShape(())]
        + len(lists) * [tf.TensorShape([None, None])],
        parallel_iterations=1,
    )
    remains = (rows >= 0) & ~is_member(excluded, rows)
    scores, rows = nearest_of(scores, rows, remains, k)
    if limits is None:
        return scores, rows
    return scores, rows, tf.where(within[1] >= 0, within[0], -float("inf")), within[1]


def score_list(
    head,
    variables,
    queries,
    excluded,
    label_remains,
    allowed,
    k,
    max_scores,
    limits=None,
    shown=None,
):
    """Looks only at the rows of the allowed ids.

    Args:
        head: As for `scan`.
        variables: As for `scan`.
        queries: As for `scan`.
        excluded: As for `scan`.
        label_remains: As for `scan`.
        allowed: `(batch, any)`, int32: the rows; negative for none.
        k: As for `scan`.
        max_scores: As for `scan`.
        limits: As for `scan`.
        shown: As for `scan`.

    Returns:
        As `scan`.
    """
    rows = tf.sort(allowed)
    again = tf.pad(rows[:, 1:] == rows[:, :-1], [[0, 0], [1, 0]])
    labels = labels_of(variables, rows)
    remains = (rows >= 0) & ~again & ~is_member(excluded, rows)
    remains &= tf.gather(label_remains, labels + 1, batch_dims=1)
    rows = tf.where(remains, rows, -1)
    scores = score_pairs(head, variables, queries, rows, max_scores)
    nearest = nearest_of(scores, rows, remains, k)
    if limits is None:
        return nearest
    scores, rows = best_per_label(scores, rows, labels, limits, shown)
    return *nearest, tf.where(rows >= 0, scores, -float("inf")), rows


def labels_of(variables, rows):
    """Returns the labels of rows, int64; -1 for none and for a negative row."""
    labels = tf.gather(variables["gallery_labels"], tf.maximum(rows, 0))
    return tf.where(rows >= 0, tf.maximum(labels, -1), -1)


def nearest_of(scores, rows, remains, k):
    """Returns the best k of those that remain, equal scores in row order.

    Args:
        scores: `(batch, n)`, float32.
        rows: `(batch, n)`, int32.
        remains: `(batch, n)`, bool.
        k: Scalar int32.

    Returns:
        Scores and rows, `(batch, k)`; -inf and -1 where fewer remain.
    """
    scores = tf.where(remains, scores, -float("inf"))
    rows = tf.where(remains, rows, -1)
    missing = tf.maximum(k - tf.shape(rows)[1], 0)
    scores = tf.pad(scores, [[0, 0], [0, missing]], constant_values=-float("inf"))
    rows = tf.pad(rows, [[0, 0], [0, missing]], constant_values=-1)
    order = tf.argsort(rows, axis=1)
    scores = tf.gather(scores, order, batch_dims=1)
    rows = tf.gather(rows, order, batch_dims=1)
    scores, order = tf.math.top_k(scores, k)
    return scores, tf.gather(rows, order, batch_dims=1)
