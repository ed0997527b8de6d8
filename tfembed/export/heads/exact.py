"""All rows are looked at: the nearest are found, always."""

import tensorflow as tf

from tfembed.export.heads.head_state import HeadState, checked_embeddings
from tfembed.ops.chunked_neighbors import BLOCK, CHUNK, chunked_neighbors
from tfembed.ops.pair_scores import pair_scores


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
    """Keeps the rows as they are.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: Not needed: it is 1.
        queries: Not needed: there is nothing to measure.
        k: Not needed.
        seed: Not needed: nothing is drawn.
        progress: Not needed.
        previous: Not needed.

    Returns:
        `HeadState` with `gallery_embeddings`, float32 `(size, dim)`.

    Raises:
        ValueError: If `embeddings` is no table of finite numbers.
    """
    del recall, queries, k, seed, progress, previous
    embeddings = checked_embeddings(embeddings)
    card = {"head": "exact", "recall_at_k": 1.0, "measured": False}
    return HeadState({"gallery_embeddings": embeddings}, card)


def search(variables, queries, k):
    """Finds the nearest rows: see `tfembed.ops.chunked_neighbors`.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return chunked_neighbors(queries, gallery, tf.minimum(k, tf.shape(gallery)[0]))


def pairs(variables, queries, rows):
    """Scores given rows.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32, below size; negative for none.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return pair_scores(queries, rows, lambda flat: tf.gather(gallery, flat))


def embeddings_of(variables, rows):
    """Returns given rows.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`.
        rows: `(n,)`, int32, from 0.

    Returns:
        `(n, dim)`, float32.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    return tf.gather(tf.convert_to_tensor(variables["gallery_embeddings"]), rows)


def score_columns(variables):
    """Returns the float32 numbers that one more query takes, a scalar int32."""
    return CHUNK + tf.shape(variables["gallery_embeddings"])[0] // BLOCK


def stored_count(variables):
    """Returns how many rows are stored, a scalar int32 tensor."""
    return tf.shape(variables["gallery_embeddings"])[0]


def stored(variables, start, count):
    """Returns a range of the rows as they are stored: in the gallery's order.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`.
        start: Scalar int32 tensor, from 0.
        count: Scalar int32 tensor; `start + count` is at most `stored_count`.

    Returns:
        Embeddings, float32 `(count, dim)`, and the gallery row of each, int32
        `(count,)`.
    """
    embeddings = tf.convert_to_tensor(variables["gallery_embeddings"])
    return embeddings[start : start + count], tf.range(start, start + count)
