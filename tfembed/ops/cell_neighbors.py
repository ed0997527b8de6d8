"""Approximate nearest neighbours: only the rows of the nearest cells are looked at.

The rows of a gallery are grouped by cell (an inverted file, IVF), and each cell's rows
stand in blocks of `BLOCK`. The last block of a cell is filled up with copies of a row
of that block, which no answer holds.
"""

import tensorflow as tf

from tfembed.ops.chunked_neighbors import block_maxima
from tfembed.ops.each_query import each_query
from tfembed.ops.zero_rows import around_zero_rows

BLOCK = 64
CHUNK_FLOATS = 1 << 22  # of the rows that are gathered at a time: 16 MiB

# What a scan of all blocks costs, as the number of times that all of them could be
# gathered in that time: so much for a batch, and for each query of it. Measured.
SCAN_OF_BATCH, SCAN_OF_QUERY = 0.4, 0.045


def cell_neighbors(queries, centroids, starts, sizes, embeddings, rows, probes, k):
    """Finds the `k` rows with the largest inner product, in the nearest cells.

    A query's nearest cells are those whose centroids have the largest inner product
    with it. Where the `probes` nearest hold fewer than k rows, the next are looked at
    too. Their blocks are gathered and scored query by query; where all queries of a
    batch together would gather more than a scan of all blocks costs, that is done
    instead, with the scores of the other cells left out: the answers are the same.
    Scores are float32 sums. Equal scores go to the lowest row.

    Args:
        queries: `(batch, dim)`, float32.
        centroids: `(cells, dim)`, float32.
        starts: `(cells + 1,)`, int32: first block of each cell; the last entry is the
            number of blocks.
        sizes: `(cells,)`, int32: rows of each cell, none of them empty.
        embeddings: `(blocks * BLOCK, dim)`, float32.
        rows: `(blocks, BLOCK)`, int32: which row of the gallery each is, -1 for those
            that fill up.
        probes: Scalar int32, from 1 to `cells`.
        k: Number of neighbours, a scalar int32, from 1 to the gallery's size.

    Returns:
        Scores `(batch, k)` in float32, largest first, and rows `(batch, k)` in int32.
    """
    starts, sizes, rows, embeddings = (
        tf.convert_to_tensor(each) for each in (starts, sizes, rows, embeddings)
    )
    k = tf.convert_to_tensor(k, tf.int32)
    gallery = centroids, starts, sizes, embeddings, rows
    return around_zero_rows(
        lambda queries: _cell_neighbors(queries, *gallery, probes, k), queries
    )


def _cell_neighbors(queries, centroids, starts, sizes, embeddings, rows, probes, k):
    cells, counts = nearest_cells(queries, centroids, sizes, probes, k)
    lengths = starts[1:] - starts[:-1]
    wanted = tf.sequence_mask(counts, tf.shape(cells)[1])

    def each_alone():
        def search(query, cells, count):
            first = tf.gather(starts, cells[:count])
            limits = first + tf.gather(lengths, cells[:count])
            blocks = tf.ragged.range(first, limits).values
            return _best_of_blocks(query, blocks, embeddings, rows, k)

        return each_query(search, (queries, cells, counts), k)

    def scan():
        maxima = tf.transpose(block_maxima(queries, embeddings, BLOCK))
        looked_at = _blocks_of_cells(cells, counts, wanted, starts)
        maxima = tf.where(looked_at, maxima, -float("inf"))

        def search(query, maxima, looked_at):
            # The best k rows are in the k best blocks, and those as good.
            values, _ = tf.math.top_k(maxima, tf.minimum(k, tf.shape(maxima)[0]))
            blocks = tf.where(looked_at & ~(maxima < values[-1]))[:, 0]
            blocks = tf.cast(blocks, tf.int32)
            return _best_of_blocks(query, blocks, embeddings, rows, k)

        return each_query(search, (queries, maxima, looked_at), k)

    gathered = tf.where(wanted, tf.gather(lengths, cells), 0)
    gathered = tf.reduce_sum(tf.cast(gathered, tf.float32))
    blocks = tf.cast(tf.shape(rows)[0], tf.float32)
    cost = SCAN_OF_BATCH + SCAN_OF_QUERY * tf.cast(tf.shape(queries)[0], tf.float32)
    return tf.cond(gathered > cost * blocks, scan, each_alone)


def nearest_cells(queries, centroids, sizes, probes, k):
    """Finds the cells whose centroids have the largest inner product to each query.

    Args:
        queries: `(batch, dim)`, float32.
        centroids: `(cells, dim)`, float32.
        sizes: `(cells,)`, int32: rows of each cell.
        probes: Scalar int32: cells of a query, from 1 to `cells`.
        k: Scalar int32: the cells of a query have at least so many rows; those with
            fewer rows in `probes` cells get more cells.

    Returns:
        Cells `(batch, most)`, int32, nearest first, and how many of them each query
        looks at, `(batch,)`, int32.
    """
    scores = tf.matmul(queries, centroids, transpose_b=True)
    sizes = tf.convert_to_tensor(sizes)
    probes = tf.clip_by_value(probes, 1, tf.shape(sizes)[0])
    _, nearest = tf.math.top_k(scores, probes)
    rows = tf.reduce_sum(tf.gather(sizes, nearest), axis=1)

    def as_many():
        return nearest, tf.fill([tf.shape(queries)[0]], probes)

    def more():
        _, every = tf.math.top_k(scores, tf.shape(sizes)[0])
        rows = tf.cumsum(tf.gather(sizes, every), axis=1)
        few = tf.reduce_sum(tf.cast(rows < k, tf.int32), axis=1) + 1
        counts = tf.minimum(tf.maximum(few, probes), tf.shape(sizes)[0])
        return every[:, : tf.reduce_max(tf.concat([counts, [1]], axis=0))], counts

    return tf.cond(tf.reduce_any(rows < k), more, as_many)


def _blocks_of_cells(cells, counts, wanted, starts):
    """Whether each block, `(batch, blocks)`, is of one of the cells of a query."""
    batch = tf.shape(cells)[0]
    query = tf.repeat(tf.range(batch), counts)
    places = tf.stack([query, tf.boolean_mask(cells, wanted)], axis=1)
    shape = tf.stack([batch, tf.size(starts) - 1])
    looked_at = tf.scatter_nd(places, tf.ones_like(query), shape) > 0
    cell = tf.searchsorted(starts, tf.range(starts[-1]), side="right") - 1
    return tf.gather(looked_at, cell, axis=1)


def _best_of_blocks(query, blocks, embeddings, rows, k):
    """The best rows of some blocks, in chunks of them."""
    dim = tf.shape(embeddings)[1]
    chunk = tf.maximum(CHUNK_FLOATS // (BLOCK * dim), 1)
    embeddings = tf.reshape(embeddings, [-1, BLOCK, dim])
    count = (tf.size(blocks) + chunk - 1) // chunk

    def merge(index, scores, found):
        part = blocks[index * chunk : (index + 1) * chunk]
        vectors = tf.reshape(tf.gather(embeddings, part), [-1, dim])
        more = tf.reshape(tf.linalg.matvec(vectors, query), [-1, BLOCK])
        names = tf.gather(rows, part)
        more = tf.where(names < 0, -float("inf"), more)
        more, names = _of_the_best_blocks(more, names, k)
        return index + 1, *_best_rows(
            tf.concat([scores, more], axis=0), tf.concat([found, names], axis=0), k
        )

    _, scores, found = tf.while_loop(
        lambda index, *_: index < count,
        merge,
        (tf.constant(0), tf.zeros([0]), tf.zeros([0], tf.int32)),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None]),
            tf.TensorShape([None]),
        ),
        parallel_iterations=1,
    )
    return scores, found


def _of_the_best_blocks(scores, rows, k):
    """Scores and rows of the k blocks with the largest maxima, and of those as good."""
    maxima = tf.reduce_max(scores, axis=1)
    values, _ = tf.math.top_k(maxima, tf.minimum(k, tf.size(maxima)))
    # "Not less" rather than "at least": scores that are no numbers stay.
    best = tf.where(~(maxima < values[-1]))[:, 0]
    return (
        tf.reshape(tf.gather(scores, best), [-1]),
        tf.reshape(tf.gather(rows, best), [-1]),
    )


def _best_rows(scores, rows, k):
    """The k best of some rows in any order; equal scores go to the lowest row."""
    k = tf.minimum(k, tf.size(scores))
    values, _ = tf.math.top_k(scores, k)
    best = tf.where(~(scores < values[-1]))[:, 0]
    scores, rows = tf.gather(scores, best), tf.gather(rows, best)
    order = tf.argsort(rows)
    scores, rows = tf.gather(scores, order), tf.gather(rows, order)
    values, places = tf.math.top_k(scores, k)
    return values, tf.gather(rows, places)
