"""Nearest gallery rows of many queries, in bounded memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfembed.formats.unit_rows import unit_rows
from tfembed.hints import Rows
from tfembed.ops.arguments import as_count, check_finite_rows, check_rows
from tfembed.ops.cosines import cut_cosines
from tfembed.ops.neighbors import top_k_neighbors

SCORE_BYTES = 2**27


def nearest(
    queries: Rows,
    gallery: Rows,
    k: int,
    normalize: bool = True,
    score_bytes: int = SCORE_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the `k` most similar gallery rows of each query.

    Exact; equal similarities go to the lowest row. The queries are taken in chunks
    whose scores against the whole gallery fit into `score_bytes`. The work is done
    by `tfembed.ops.neighbors.top_k_neighbors`; the exact head that is served finds
    the same (`tfembed.ops.chunked_neighbors`).

    >>> from tfembed.metrics import nearest
    >>> gallery = np.array([[1.0, 0.0], [0.0, 2.0], [0.6, 0.8]])
    >>> similarities, rows = nearest([[0.0, 1.0]], gallery, k=2)
    >>> rows.tolist(), similarities.round(4).tolist()
    ([[1, 2]], [[1.0, 0.8...]])

    Args:
        queries: `(queries, dim)`, float.
        gallery: `(size, dim)`, float.
        k: From 1 to `size`.
        normalize: Whether to divide all rows by their lengths first, which makes
            the similarity the cosine, cut to [-1, 1]. Without it, the inner product.
        score_bytes: Bound on the scores that stand in memory at a time; at least
            one query is taken.

    Returns:
        Similarities `(queries, k)`, float32, largest first, and rows
        `(queries, k)`, int64.

    Raises:
        ValueError: If the shapes do not fit together, or `k` is out of range.
    """
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    check_k(k, len(gallery))
    scores = np.empty((len(queries), k), np.float32)
    rows = np.empty((len(queries), k), np.int64)
    chunk = max(1, score_bytes // (4 * len(gallery)))
    for part, *found in nearest_in_chunks(queries, gallery, k, normalize, chunk):
        scores[part], rows[part] = cut_cosines(*found) if normalize else found
    return scores, rows


def nearest_in_chunks(queries, gallery, k, normalize, chunk):
    """Yields `(slice of the queries, scores, rows)`, `chunk` queries at a time.

    Args:
        queries: As in `nearest`.
        gallery: As in `nearest`.
        k: As in `nearest`.
        normalize: As in `nearest`.
        chunk: Queries at a time.
    """
    queries = check_embeddings("queries", queries)
    gallery = check_embeddings("gallery", gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "`queries` and `gallery` must have rows of the same length. Received: "
            f"queries of shape {queries.shape}, gallery of shape {gallery.shape}."
        )
    if normalize:
        queries, gallery = unit_rows(queries), unit_rows(gallery)
    gallery = tf.constant(gallery)
    for start in range(0, len(queries), chunk):
        part = slice(start, start + chunk)
        scores, rows = _top_k(tf.constant(queries[part]), gallery, tf.constant(int(k)))
        yield part, scores.numpy(), rows.numpy()


@tf.function(reduce_retracing=True)
def _top_k(queries, gallery, k):
    return top_k_neighbors(queries, gallery, k)


def check_embeddings(name, values):
    """Returns `values` as a float32 matrix.

    Raises:
        ValueError: If they are not a matrix of finite numbers, or have no row.
    """
    values = np.asarray(values, np.float32)
    check_rows(f"`{name}`", values)
    check_finite_rows(f"`{name}`", values)
    return values


def check_k(k, size):
    """Raises a ValueError unless `k` is an integer from 1 to `size`."""
    as_count("k", k, 1, size, note=", the gallery's size")


def rows_of_ids(ids, gallery_ids, queries, gallery):
    """Returns each query's own gallery row, int64 `(queries,)`, -1 where it has none.

    Raises:
        ValueError: If one side has no ids, or not one for each row, or an id stands in
            the gallery twice.
    """
    if (ids is None) != (gallery_ids is None):
        raise ValueError(
            "`ids` and `gallery_ids` come together, or not at all. Received: "
            f"{'gallery_ids' if ids is None else 'ids'} alone."
        )
    if ids is None:
        return np.full(len(queries), -1)
    ids, gallery_ids = np.asarray(ids).reshape(-1), np.asarray(gallery_ids).reshape(-1)
    if len(ids) != len(queries):
        raise ValueError(
            "`ids` must name every query. Received: "
            f"{len(ids)} ids and {len(queries)} queries."
        )
    known, rows, times = np.unique(gallery_ids, return_index=True, return_counts=True)
    if len(gallery_ids) != len(gallery) or times.max(initial=1) > 1:
        raise ValueError(
            "`gallery_ids` must name every gallery row, each id once. Received: "
            f"{len(known)} different ids for {len(gallery)} rows."
        )
    if not len(known):
        return np.full(len(ids), -1)
    where = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[where] == ids, rows[where], -1)
