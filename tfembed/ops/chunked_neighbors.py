"""Exact nearest neighbours without the scores of all rows, in stock TensorFlow ops."""

import tensorflow as tf

from tfembed.ops.each_query import each_query
from tfembed.ops.neighbors import top_k_neighbors, top_k_of_columns
from tfembed.ops.zero_rows import around_zero_rows

BLOCK = 16
GROUP = 32  # blocks, whose maxima are searched in the same way
CHUNK = 16384  # rows: with their scores they stay in a processor's cache
TABLE = 1 << 21  # scores: a table of so many, 8 MiB, is faster than chunks


def chunked_neighbors(queries, gallery, k):
    """Finds the `k` gallery rows with the largest inner product to each query.

    As `top_k_neighbors`, but the gallery is read in chunks of `CHUNK` rows of which
    only the maximum of each block of `BLOCK` rows is kept. Any row among the best k
    lies in one of the k blocks whose maximum is largest; the rows of k + 1 blocks are
    scored again, query by query. `CHUNK + size / BLOCK` scores a query stand in
    memory, and the rows of two queries' blocks. Small galleries and batches, of `TABLE`
    scores at most, are searched by `top_k_neighbors`. Where k is more than a quarter of
    the blocks, each query is searched alone, with the scores of all rows.

    Exact, but for scores that only rounding tells apart: products are summed in
    float32. Equal scores go to the lowest row.

    Args:
        queries: `(batch, dim)`, float32.
        gallery: `(size, dim)`, float32 or bfloat16, a tensor or a variable; `size` may
            be dynamic. Rows are made float32 a chunk at a time: never do all of them
            stand in memory as float32.
        k: Number of neighbours, an integer or a scalar int32 tensor, from 1 to
            `size`.

    Returns:
        Scores `(batch, k)` in float32, largest first, and rows `(batch, k)` in
        int32.
    """
    gallery = tf.convert_to_tensor(gallery)
    k = tf.convert_to_tensor(k, tf.int32)
    return around_zero_rows(
        lambda queries: _chunked_neighbors(queries, gallery, k), queries
    )


def _chunked_neighbors(queries, gallery, k):
    size = tf.shape(gallery)[0]
    blocks = (size + BLOCK - 1) // BLOCK

    def through_blocks():
        maxima = block_maxima(queries, gallery, BLOCK)
        _, best = top_k_of_columns(maxima, k + 1, GROUP)
        best = tf.sort(best, axis=1)  # lowest rows first, so that they win ties

        def search(query, best):
            return _best_of_blocks(query, best, gallery, k)

        return each_query(search, (queries, best), k)

    def all_rows():
        return top_k_neighbors(queries, tf.cast(gallery, tf.float32), k)

    def one_by_one():
        return each_query(lambda query: _best_of_all(query, gallery, k), (queries,), k)

    small = size <= CHUNK
    if gallery.dtype == tf.float32:  # others would all be made so at once
        batch = tf.shape(queries, tf.int64)[0]
        small |= tf.cast(size, tf.int64) * batch <= TABLE
    return tf.case(
        [(small, all_rows), (4 * (k + 1) > blocks, one_by_one)],
        default=through_blocks,
    )


def block_maxima(queries, gallery, block, chunk=CHUNK):
    """Scores all rows, and keeps the largest score of each block of rows.

    Args:
        queries: `(batch, dim)`, float32.
        gallery: `(size, dim)`, float32 or bfloat16.
        block: Rows of a block.
        chunk: Rows at a time, a multiple of `block`.

    Returns:
        `(ceil(size / block), batch)`, float32.
    """
    batch = tf.shape(queries)[0]

    def maxima(scores):
        rows = tf.shape(scores)[0]
        missing = -rows % block
        lowest = -float("inf")
        scores = tf.cond(
            missing > 0,
            lambda: tf.pad(scores, [[0, missing], [0, 0]], constant_values=lowest),
            lambda: scores,
        )
        scores = tf.reshape(scores, [(rows + missing) // block, block, batch])
        return tf.reduce_max(scores, axis=1)

    return _in_chunks(queries, gallery, chunk, maxima)


def _in_chunks(queries, gallery, chunk, keep):
    """`keep` of the scores `(rows, batch)` of each chunk, one below the other."""
    count = (tf.shape(gallery)[0] + chunk - 1) // chunk
    kept = tf.TensorArray(
        tf.float32, count, infer_shape=False, element_shape=[None, None]
    )

    def score(index, kept):
        # A slice of whole rows is no copy.
        rows = tf.cast(gallery[index * chunk : (index + 1) * chunk], tf.float32)
        scores = tf.matmul(rows, queries, transpose_b=True)
        return index + 1, kept.write(index, keep(scores))

    _, kept = tf.while_loop(
        lambda index, _: index < count,
        score,
        [tf.constant(0), kept],
        parallel_iterations=2,
    )
    return kept.concat()


def _best_of_all(query, gallery, k):
    scores = _in_chunks(query[None], gallery, CHUNK, lambda scores: scores)
    values, rows = tf.math.top_k(scores[:, 0], k)
    return values, rows


def _best_of_blocks(query, blocks, gallery, k):
    """The best rows of some blocks, `blocks` ascending."""
    size = tf.shape(gallery)[0]
    rows = tf.reshape(blocks[:, None] * BLOCK + tf.range(BLOCK), [-1])
    embeddings = tf.gather(gallery, tf.minimum(rows, size - 1))
    scores = tf.linalg.matvec(tf.cast(embeddings, tf.float32), query)
    scores = tf.where(rows < size, scores, -float("inf"))
    values, places = tf.math.top_k(scores, k)
    return values, tf.gather(rows, places)
