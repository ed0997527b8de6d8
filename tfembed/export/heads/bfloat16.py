"""Rows with 8 significant bits: half the memory, and nearly the same neighbours."""

import numpy as np
import tensorflow as tf

from tfembed.export.heads.head_state import HeadState, checked_embeddings
from tfembed.export.heads.recall import (
    HeldOut,
    found_shares,
    interval,
    nearest_rows,
    without_own,
)
from tfembed.ops.arguments import as_count
from tfembed.ops.chunked_neighbors import BLOCK, CHUNK, chunked_neighbors
from tfembed.ops.pair_scores import pair_scores

_ROWS = 1 << 16  # rounded at a time


def build(
    embeddings,
    *,
    recall=0.95,
    queries=None,
    k=10,
    seed=0,
    progress=None,
    previous=None,
):
    """Rounds the rows, and measures what that loses.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: Not needed: it is what it is, nearly 1, and stands in the card.
        queries: `(count, dim)`, embeddings of images that are not in the gallery, to
            measure with; None for rows of the gallery (`HeldOut`).
        k: Neighbours that are counted.
        seed: Of the draw of rows that are queries.
        progress: Is called with a line of text now and then.
        previous: Not needed.

    Returns:
        `HeadState` with `gallery_embeddings`, bfloat16 `(size, dim)`.

    Raises:
        ValueError: If an argument is not as said.
    """
    del recall, previous
    embeddings = checked_embeddings(embeddings)
    as_count("k", k)
    rounded = np.empty(embeddings.shape, tf.bfloat16.as_numpy_dtype)
    for start in range(0, len(embeddings), _ROWS):
        rounded[start : start + _ROWS] = embeddings[start : start + _ROWS]
    held_out = HeldOut(embeddings, queries, k, seed, progress)
    card = {"head": "bfloat16", "measured": True, "recall_k": held_out.k}
    card["recall_queries"] = len(held_out)
    card["recall_queries_are"] = held_out.source
    if held_out.k:
        more = held_out.k + int(queries is None)
        found = nearest_rows(rounded, held_out.queries, more, progress)
        found = without_own(found, held_out.own)[:, : held_out.k]
        shares = found_shares(found, held_out.rows)
        card["recall_at_k"], card["recall_interval"] = interval(shares)
    else:  # a single row
        card["recall_at_k"], card["recall_interval"] = None, None
    return HeadState({"gallery_embeddings": rounded}, card)


def search(variables, queries, k):
    """Finds the rows nearest by their rounded values, with products in float32.

    Rows are made float32 a chunk at a time (`tfembed.ops.chunked_neighbors`), and the
    scores of an answer are float32 sums over float32 queries and rounded rows.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, bfloat16.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return chunked_neighbors(queries, gallery, tf.minimum(k, tf.shape(gallery)[0]))


def pairs(variables, queries, rows):
    """Scores given rows, by their rounded values, with sums in float32.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, bfloat16.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32, below size; negative for none.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return pair_scores(queries, rows, lambda flat: tf.gather(gallery, flat))


def embeddings_of(variables, rows):
    """Returns given rows, rounded as they are kept.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, bfloat16.
        rows: `(n,)`, int32, from 0.

    Returns:
        `(n, dim)`, float32.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return tf.cast(tf.gather(gallery, rows), tf.float32)


def score_columns(variables):
    """Returns the float32 numbers that one more query takes, a scalar int32."""
    return CHUNK + tf.shape(variables["gallery_embeddings"])[0] // BLOCK


def stored_count(variables):
    """Returns how many rows are stored, a scalar int32 tensor."""
    return tf.shape(variables["gallery_embeddings"])[0]


def stored(variables, start, count):
    """Returns a range of the rows as they are stored: in the gallery's order.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, bfloat16.
        start: Scalar int32 tensor, from 0.
        count: Scalar int32 tensor; `start + count` is at most `stored_count`.

    Returns:
        Embeddings, made float32 `(count, dim)`, and the gallery row of each, int32
        `(count,)`.
    """
    embeddings = tf.convert_to_tensor(variables["gallery_embeddings"])
    embeddings = tf.cast(embeddings[start : start + count], tf.float32)
    return embeddings, tf.range(start, start + count)
