"""What heads do that keep every row, in the gallery's order, and look at all of them.

The rows are one variable, of float32 or shorter numbers; what is computed is float32.
"""

import tensorflow as tf

from tfembed.ops.chunked_neighbors import BLOCK, CHUNK, chunked_neighbors
from tfembed.ops.pair_scores import pair_scores

__all__ = [
    "embeddings_of",
    "pairs",
    "score_columns",
    "search",
    "stored",
    "stored_count",
]


def search(variables, queries, k):
    """Finds the rows nearest by their values as they are kept.

    Rows are made float32 a chunk at a time (`tfembed.ops.chunked_neighbors`), and the
    scores of an answer are float32 sums over float32 queries and the kept rows.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, float32 or shorter.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return chunked_neighbors(queries, gallery, tf.minimum(k, tf.shape(gallery)[0]))


def pairs(variables, queries, rows):
    """Scores given rows, by their values as they are kept, with sums in float32.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, float32 or shorter.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32, below size; negative for none.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    gallery = tf.convert_to_tensor(variables["gallery_embeddings"])
    return pair_scores(queries, rows, lambda flat: tf.gather(gallery, flat))


def embeddings_of(variables, rows):
    """Returns given rows, as they are kept.

    Args:
        variables: `{"gallery_embeddings": (size, dim)}`, float32 or shorter.
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
        variables: `{"gallery_embeddings": (size, dim)}`, float32 or shorter.
        start: Scalar int32 tensor, from 0.
        count: Scalar int32 tensor; `start + count` is at most `stored_count`.

    Returns:
        Embeddings, made float32 `(count, dim)`, and the gallery row of each, int32
        `(count,)`.
    """
    embeddings = tf.convert_to_tensor(variables["gallery_embeddings"])
    embeddings = tf.cast(embeddings[start : start + count], tf.float32)
    return embeddings, tf.range(start, start + count)
