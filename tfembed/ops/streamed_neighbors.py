"""Exact nearest rows of a large bank, a chunk of it at a time."""

import tensorflow as tf

from tfembed.ops.neighbors import top_k_neighbors
from tfembed.ops.rows import read_rows
from tfembed.ops.streamed_softmax import CHUNK
from tfembed.ops.zero_rows import around_zero_rows


def streamed_neighbors(queries, bank, k, chunk=CHUNK):
    """Finds the `k` rows of a bank with the largest inner product to each query.

    Like `top_k_neighbors`, ties to the lowest row; the bank is neither copied, nor do
    the scores of all its rows stand in memory.

    Args:
        queries: `(batch, dim)`, float32.
        bank: A `tf.Variable` of shape `(size, dim)`, float32.
        k: An integer from 1 to `size`.
        chunk: Rows per step, an integer.

    Returns:
        Scores `(batch, k)`, float32, largest first, and rows `(batch, k)`, int64.
    """
    return around_zero_rows(
        lambda queries: _streamed_neighbors(queries, bank, k, chunk), queries
    )


def _streamed_neighbors(queries, bank, k, chunk):
    size = bank.shape[0]
    chunk = min(max(chunk, k), size)
    batch = tf.shape(queries)[0]

    def merge(start, rows, scores, found):
        more, places = top_k_neighbors(
            queries, read_rows(bank, start + tf.range(rows)), min(k, rows)
        )
        scores = tf.concat([scores, more], axis=1)  # earlier rows first: they win ties
        found = tf.concat([found, tf.cast(start + places, tf.int64)], axis=1)
        scores, places = tf.math.top_k(scores, k)
        return scores, tf.gather(found, places, axis=1, batch_dims=1)

    best = (
        tf.fill([batch, k], queries.dtype.min),
        tf.zeros([batch, k], tf.int64),
    )
    whole = size // chunk * chunk
    _, *best = tf.while_loop(
        lambda start, *_: start < whole,
        lambda start, *best: (start + chunk, *merge(start, chunk, *best)),
        (tf.constant(0), *best),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, k]),
            tf.TensorShape([None, k]),
        ),
        parallel_iterations=1,
    )
    if whole < size:
        best = merge(tf.constant(whole), size - whole, *best)
    return tuple(best)
