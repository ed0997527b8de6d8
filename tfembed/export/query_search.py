"""Nearest neighbours for all that the signature `query` can ask, row by row.

How a row is searched depends on what it asks itself and on nothing else of its batch,
so that its answer is the same whoever else is joined with it:

- with a list of allowed ids, those rows alone are scored;
- with another filter, or fewer rows of one label than the answer has, all rows are
  looked at, exactly, whatever the head;
- else the head searches, as for `search`, for as many rows more as a question may have
  examples, because these are left out.
"""

import tensorflow as tf

from tfembed.export.filtered_search import (
    nearest_of,
    remaining_labels,
    scan,
    score_list,
)
from tfembed.export.heads import load_head, trait
from tfembed.export.id_lookup import find_rows, is_member

_EXACT = {
    "exact": "all that is asked",
    "bfloat16": "all that is asked, by the rows as they are rounded",
    "int8": "all that is asked, by the rows as they are rounded to integers",
    "int8_bfloat16": "with filters, or with fewer rows of one label than are shown: "
    "every row is looked at, as rounded; else what is among the candidates, as in "
    "`search`",
    "prefix": "with filters, or with fewer rows of one label than are shown: every row "
    "is looked at; else what is among the candidates, as in `search`",
    "ivf": "with filters, or with fewer rows of one label than are shown: every row is "
    "looked at; else what is in the cells looked at, as in `search`",
    "": "with filters, or with fewer rows of one label than are shown: every row "
    "is looked at; else what the head finds, as in `search`",
}


def what_is_exact(head):
    """Returns what of an answer to `query` is exact: for the model card.

    Args:
        head: Name of the head.
    """
    other = "exact" if trait(load_head(head), "exact") else ""
    return _EXACT.get(head, _EXACT[other])


def query_neighbors(
    head, search, variables, queries, filters, examples, limits, k, shown, max_scores
):
    """Finds the nearest rows that remain, and those within limits of their labels.

    Args:
        head: Module of a head.
        search: Its `search`, of queries and k alone.
        variables: `{name: tf.Variable}` of `tfembed.export.gallery_state`.
        queries: `(batch, dim)`, float32.
        filters: As for `tfembed.export.filtered_search.filtered_neighbors`.
        examples: `(batch, any)`, int32, equally wide in all batches: rows that are left
            out; negative for none.
        limits: `(batch,)`, int32, at least 1: the most rows of one label.
        k: Scalar int32 tensor from 1 to the gallery's size.
        shown: Scalar int32 tensor from 1 to `k`.
        max_scores: As many float32 numbers may stand in memory, about.

    Returns:
        Scores `(batch, k)` in float32 and rows `(batch, k)` in int32, nearest first,
        equal scores in row order, -inf and -1 where fewer remain; and the same
        `(batch, shown)` with at most `limits` rows of one label.
    """
    size = tf.shape(variables["gallery_labels"])[0]
    allowed = find_rows(variables, filters["allow_ids"])
    excluded = find_rows(variables, filters["exclude_ids"])
    excluded = tf.concat([excluded, examples], axis=1)
    label_remains = remaining_labels(variables["label_names"], filters)
    has = {name: tf.reduce_any(each != "", axis=1) for name, each in filters.items()}
    filtered = has["exclude_ids"] | has["allow_labels"] | has["exclude_labels"]
    of_list = has["allow_ids"]
    of_scan = ~of_list & (filtered | (limits < shown))
    of_head = ~of_list & ~of_scan

    def subset(rows, *tensors):
        return [tf.gather(each, rows) for each in tensors]

    def by_list(rows):
        some = subset(rows, queries, excluded, label_remains, allowed)
        most, bound = tf.gather(limits, rows), max_scores
        return score_list(head, variables, *some, k, bound, most, shown)

    def by_scan(rows):
        some = subset(rows, queries, excluded, label_remains)
        most = tf.gather(limits, rows)
        return scan(head, variables, *some, k, max_scores, most, shown)

    def by_head(rows):
        some, out = subset(rows, queries, examples)
        more = tf.minimum(k + tf.shape(out)[1], size)
        scores, found = search(some, more)
        nearest = nearest_of(scores, found, ~is_member(out, found), k)
        return *nearest, *(each[:, :shown] for each in nearest)

    ways = [(of_list, by_list), (of_scan, by_scan), (of_head, by_head)]
    order, answers = [], []
    for those, way in ways:
        rows = tf.cast(tf.where(those)[:, 0], tf.int32)
        order.append(rows)
        answers.append(
            tf.cond(
                tf.size(rows) > 0,
                lambda way=way, rows=rows: tuple(way(rows)),
                lambda: _nothing(k) + _nothing(shown),
            )
        )
    places = tf.argsort(tf.concat(order, axis=0))
    return [tf.gather(tf.concat(parts, axis=0), places) for parts in zip(*answers)]


def _nothing(k):
    return tf.zeros([0, k]), tf.zeros([0, k], tf.int32)
