"""Exact nearest neighbours without the scores of all rows, in stock TensorFlow ops."""

import tensorflow as tf

from tfembed.ops.each_query import each_query
from tfembed.ops.neighbors import top_k_neighbors, top_k_of_columns
from tfembed.ops.zero_rows import around_zero_rows

BLOCK = 16
GROUP = 32  # blocks, whose maxima are searched in the same way
CHUNK = 16384  # rows: with their scores they stay in a processor's cache
TABLE = 1 << 21  # scores: a table of so many, 8 MiB, is faster than chunks


def chunked_neighbors(queries, gallery, k, scales=None):
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
        gallery: `(size, dim)`, float32, bfloat16 or int8, a tensor or a variable;
            `size` may be dynamic. Rows are made float32 a chunk at a time: never do
            all of them stand in memory as float32.
        k: Number of neighbours, an integer or a scalar int32 tensor, from 1 to
            `size`.
        scales: `(size,)`, float32, not negative: what each row is multiplied by;
            `None`: 1.

    Returns:
        Scores `(batch, k)` in float32, largest first, and rows `(batch, k)` in
        int32.
    """
    gallery = tf.convert_to_tensor(gallery)
    scales = None if scales is None else tf.convert_to_tensor(scales)
    k = tf.convert_to_tensor(k, tf.int32)
    return around_zero_rows(
        lambda queries: _chunked_neighbors(queries, gallery, k, scales), queries
    )


def _chunked_neighbors(queries, gallery, k, scales):
    size = tf.shape(gallery)[0]
    blocks = (size + BLOCK - 1) // BLOCK

    def through_blocks():
        maxima = block_maxima(queries, gallery, BLOCK, scales=scales)
        _, best = top_k_of_columns(maxima, k + 1, GROUP)
        best = tf.sort(best, axis=1)  # lowest rows first, so that they win ties

        def search(query, best):
            return _best_of_blocks(query, best, gallery, k, scales)

        return each_query(search, (queries, best), k)

    def all_rows():
        rows = tf.cast(gallery, tf.float32)
        if scales is None:
            return top_k_neighbors(queries, rows, k)
        scores = tf.matmul(rows, queries, transpose_b=True) * scales[:, None]
        return top_k_of_columns(scores, k)

    def one_by_one():
        def search(query):
            return _best_of_all(query, gallery, k, scales)

        return each_query(search, (queries,), k)

    small = size <= CHUNK
    if gallery.dtype == tf.float32 and scales is None:  # others would be made so
        batch = tf.shape(queries, tf.int64)[0]
        small |= tf.cast(size, tf.int64) * batch <= TABLE
    return tf.case(
        [(small, all_rows), (4 * (k + 1) > blocks, one_by_one)],
        default=through_blocks,
    )


def block_maxima(queries, gallery, block, chunk=CHUNK, scales=None):
    """Scores all rows, and keeps the largest score of each block of rows.

    Args:
        queries: `(batch, dim)`, float32.
        gallery: `(size, dim)`, float32, bfloat16 or int8.
        block: Rows of a block.
        chunk: Rows at a time, a multiple of `block`.
        scales: As for `chunked_neighbors`.

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

    return _in_chunks(queries, gallery, chunk, maxima, scales)


def _in_chunks(queries, gallery, chunk, keep, scales):
    """`keep` of the scores `(rows, batch)` of each chunk, one below the other."""
    count = (tf.shape(gallery)[0] + chunk - 1) // chunk
    kept = tf.TensorArray(
        tf.float32, count, infer_shape=False, element_shape=[None, None]
    )

    def score(index, kept):
        # A slice of whole rows is no copy.
        part = slice(index * chunk, (index + 1) * chunk)
        rows = tf.cast(gallery[part], tf.float32)
        scores = tf.matmul(rows, queries, transpose_b=True)
        if scales is not None:
            scores *= scales[part, None]
        return index + 1, kept.write(index, keep(scores))

    _, kept = tf.while_loop(
        lambda index, _: index < count,
        score,
        [tf.constant(0), kept],
        parallel_iterations=2,
    )
    return kept.concat()


def _best_of_all(query, gallery, k, scales):
    scores = _in_chunks(query[None], gallery, CHUNK, lambda scores: scores, scales)
    values, rows = tf.math.top_k(scores[:, 0], k)
    return values, rows


def _best_of_blocks(query, blocks, gallery, k, scales):
    """The best rows of some blocks, `blocks` ascending."""
    size = tf.shape(gallery)[0]
    rows = tf.reshape(blocks[:, None] * BLOCK + tf.range(BLOCK), [-1])
    there = tf.minimum(rows, size - 1)
    embeddings = tf.gather(gallery, there)
    scores = tf.linalg.matvec(tf.cast(embeddings, tf.float32), query)
    if scales is not None:
        scores *= tf.gather(scales, there)
    scores = tf.where(rows < size, scores, -float("inf"))
    values, places = tf.math.top_k(scores, k)
    return values, tf.gather(rows, places)
