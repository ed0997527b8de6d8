"""Exact nearest neighbours by inner product, in stock TensorFlow ops.

One function for the metric, the recipes and the served head: what was measured
is what is served.
"""

import tensorflow as tf

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
    queries = tf.convert_to_tensor(queries)
    gallery = tf.convert_to_tensor(gallery)
    return top_k_of_columns(tf.matmul(gallery, queries, transpose_b=True), k, block)


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
        lambda: _block_top_k(scores, size, k, block, blocks),
        lambda: _plain_top_k(scores, k),
    )


def _plain_top_k(scores, k):
    """`tf.math.top_k` over columns of `scores`, `(size, batch)`."""
    values, rows = tf.math.top_k(tf.transpose(scores), k)
    return values, rows


def _block_top_k(scores, size, k, block, blocks):
    """Top-k through the maximum of each block of rows."""
    batch = tf.shape(scores)[1]
    padding = blocks * block - size
    lowest = scores.dtype.min
    scores = tf.pad(scores, [[0, padding], [0, 0]], constant_values=lowest)
    scores = tf.reshape(scores, [blocks, block, batch])
    maxima = tf.transpose(tf.reduce_max(scores, axis=1))  # (batch, blocks)
    _, best = tf.math.top_k(maxima, k + 1, sorted=False)
    best = tf.sort(best, axis=1)  # lowest rows first, so that they win ties
    # (batch, k + 1, block): the scores of the best blocks of each query.
    columns = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(best))
    candidates = tf.gather_nd(
        tf.transpose(scores, [0, 2, 1]), tf.stack([best, columns], axis=2)
    )
    candidates = tf.reshape(candidates, [batch, (k + 1) * block])
    values, positions = tf.math.top_k(candidates, k)
    block_rows = tf.gather(best, positions // block, axis=1, batch_dims=1)
    return values, block_rows * block + positions % block
