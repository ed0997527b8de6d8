"""Cells of a gallery: spherical k-means by matrix products, in chunks of rows."""

import time

import numpy as np
import tensorflow as tf

ROUNDS = 10
ROWS_PER_CELL = 64  # of the sample that the cells are learned on
CHUNK_SCORES = 1 << 23  # 32 MiB of scores at a time
SECONDS = 5  # between two lines of progress


def learn_cells(embeddings, cells, seed=0, progress=None, leave_out=()):
    """Learns the directions that the rows of a gallery gather around.

    k-means with inner products: a row is of the cell whose direction it points to
    most, a cell's direction is that of its rows' sum. Learned on a sample of
    `ROWS_PER_CELL` rows a cell, in at most `ROUNDS` rounds. A cell that no row is of
    is put onto a row of one of the largest cells.

    Args:
        embeddings: `(size, dim)`, float32.
        cells: How many, from 1 to `size`.
        seed: Of the sample and of the first directions.
        progress: Is called with a line of text now and then.
        leave_out: Rows that are not learned on, because something is measured with
            them; -1 is none. Where too few others are left, all rows are learned on.

    Returns:
        Directions, `(cells, dim)` float32, of unit length (zero if all rows are).
    """
    rng = np.random.default_rng(seed)
    may = np.ones(len(embeddings), bool)
    leave_out = np.asarray(leave_out, np.int64)
    may[leave_out[leave_out >= 0]] = False
    may = np.flatnonzero(may) if may.sum() >= cells else np.arange(len(embeddings))
    sample = rng.permutation(may)[: ROWS_PER_CELL * cells]
    rows = np.ascontiguousarray(embeddings[np.sort(sample)])
    first = rng.permutation(len(rows))[:cells]
    centroids = _unit(rows[first])
    before = None
    for number in range(ROUNDS):
        of, scores = assign_cells(rows, centroids, with_scores=True)
        total = float(scores.sum(dtype=np.float64))
        if progress is not None:
            progress(
                f"cells: round {number + 1} of at most {ROUNDS}, mean similarity to "
                f"the own cell {total / len(rows):.4f}"
            )
        counts = np.bincount(of, minlength=cells)
        centroids = _sums(rows, of, cells)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            centroids[empty] = rows[_rows_of_large_cells(of, counts, len(empty), rng)]
        centroids = _unit(centroids)
        if before is not None and not len(empty) and total <= before * (1 + 1e-4):
            break
        before = total
    return centroids


def assign_cells(embeddings, centroids, with_scores=False, progress=None):
    """Tells of which cell each row is: the largest inner product, the lowest of equals.

    Args:
        embeddings: `(size, dim)`, float32.
        centroids: `(cells, dim)`, float32.
        with_scores: Whether to return the inner products too.
        progress: Is called with a line of text now and then.

    Returns:
        `(size,)` int32; or that and `(size,)` float32.
    """
    size = len(embeddings)
    chunk = max(256, CHUNK_SCORES // len(centroids))
    centroids = tf.constant(centroids)
    of, scores = np.empty(size, np.int32), np.empty(size, np.float32)
    last = time.monotonic()
    for start in range(0, size, chunk):
        part = slice(start, start + chunk)
        of[part], scores[part] = (
            each.numpy() for each in _nearest(tf.constant(embeddings[part]), centroids)
        )
        if progress is not None and time.monotonic() - last > SECONDS:
            last = time.monotonic()
            progress(f"cells: {min(start + chunk, size):,} of {size:,} rows assigned")
    return (of, scores) if with_scores else of


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.float32),
    ]
)
def _nearest(rows, centroids):
    scores = tf.matmul(rows, centroids, transpose_b=True)
    return tf.argmax(scores, axis=1, output_type=tf.int32), tf.reduce_max(scores, 1)


def _sums(rows, of, cells):
    """The sum of each cell's rows."""
    order = np.argsort(of, kind="stable")
    counts = np.bincount(of, minlength=cells)
    sums = np.zeros((cells, rows.shape[1]), np.float32)
    filled = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[filled]
    if len(filled):
        sums[filled] = np.add.reduceat(rows[order], starts, axis=0)
    return sums


def _rows_of_large_cells(of, counts, wanted, rng):
    """Rows out of the largest cells, for cells that have none."""
    largest = np.argsort(-counts, kind="stable")[:wanted]
    chosen = []
    for cell in np.resize(largest[counts[largest] > 0], wanted):
        members = np.flatnonzero(of == cell)
        chosen.append(members[rng.integers(len(members))])
    return np.array(chosen)


def _unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(norms, 1e-12)).astype(np.float32)
