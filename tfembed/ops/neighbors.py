"""Exact nearest neighbours by inner product, in stock TensorFlow ops.

For the metric, the recipes and the small galleries that are served; large ones are
read in chunks (`tfembed.ops.chunked_neighbors`), and the same is found.
"""

import tensorflow as tf

from tfembed.ops.zero_rows import around_zero_rows

BLOCK = 128


def top_k_neighbors(queries, gallery, k, block=BLOCK):
    """Finds the `k` gallery rows with the largest inner product to each query.

    Any row among the best k lies in one of the k blocks of rows whose maximum is
    largest, so only k + 1 blocks of `block` rows are searched row by row. The
    scores come from `gallery @ queries^T`, in this orientation, which is the
    faster one for few queries and many rows.

    Exact. Equal scores go to the lowest row, as in `tf.math.top_k`. The scores of
    all pairs stand in memory: `4 * batch * size` bytes. Callers with many queries
    chunk them (`tfembed.metrics.weighted_knn` does).

    Args:
        queries: `(batch, dim)`, float32.
        gallery: `(size, dim)`, float32; a tensor or a variable. `size` may be
            dynamic.
        k: Number of neighbours, an integer or a scalar int32 tensor, from 1 to
            `size`.
        block: Rows per block.

    Returns:
        Scores `(batch, k)` in float32, largest first, and rows `(batch, k)` in
        int32.
    """
    gallery = tf.convert_to_tensor(gallery)

    def search(queries):
        scores = tf.matmul(gallery, queries, transpose_b=True)
        return top_k_of_columns(scores, k, block)

    return around_zero_rows(search, queries)


def top_k_of_columns(scores, k, block=BLOCK):
    """Finds the `k` largest scores of each column, as `top_k_neighbors` does.

    Args:
        scores: `(size, batch)`, float32, finite: all scores of a batch of queries.
        k: Number of rows, an integer or a scalar int32 tensor, from 1 to `size`.
        block: Rows per block.

    Returns:
        Scores `(batch, k)`, largest first, and rows `(batch, k)` in int32; equal
        scores in ascending row order.
    """
    size = tf.shape(scores)[0]
    k = tf.convert_to_tensor(k, tf.int32)
    blocks = (size + block - 1) // block
    return tf.cond(
        k + 1 < blocks,
        lambda: _block_top_k(scores, size, k, block),
        lambda: _plain_top_k(scores, k),
    )


def _plain_top_k(scores, k):
    """`tf.math.top_k` over columns of `scores`, `(size, batch)`."""
    values, rows = tf.math.top_k(tf.transpose(scores), k)
    return values, rows


def _block_top_k(scores, size, k, block):
    """Top-k through the maximum of each block of rows."""
    batch = tf.shape(scores)[1]
    whole = size // block
    maxima = tf.reshape(scores[: whole * block], [whole, block, batch])
    maxima = tf.reduce_max(maxima, axis=1)
    rest = tf.reduce_max(scores[whole * block :], axis=0, keepdims=True)
    maxima = tf.transpose(tf.concat([maxima, rest], axis=0))  # (batch, blocks)
    _, best = tf.math.top_k(maxima, k + 1, sorted=False)
    best = tf.sort(best, axis=1)  # lowest rows first, so that they win ties
    # (batch, (k + 1) * block): the rows of the best blocks of each query.
    rows = best[:, :, None] * block + tf.range(block)
    rows = tf.reshape(rows, [batch, (k + 1) * block])
    # A copy of a few scores, where a transposed copy would be of all of them.
    places = tf.cast(tf.minimum(rows, size - 1), tf.int64) * tf.cast(batch, tf.int64)
    places += tf.range(tf.cast(batch, tf.int64))[:, None]
    candidates = tf.gather(tf.reshape(scores, [-1]), places)
    lowest = tf.constant(-float("inf"), scores.dtype)
    candidates = tf.where(rows < size, candidates, lowest)
    values, positions = tf.math.top_k(candidates, k)
    return values, tf.gather(rows, positions, axis=1, batch_dims=1)
