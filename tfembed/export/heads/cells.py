"""Cells of a gallery: spherical k-means by matrix products, in chunks of rows."""

import time

import numpy as np
import tensorflow as tf

ROUNDS = 25
ROWS_PER_CELL = 64  # that a round looks at
KEPT = 0.8  # of the sums of the rounds before, at the end; less before
CHUNK_SCORES = 1 << 23  # 32 MiB of scores at a time
SECONDS = 5  # between two lines of progress


def learn_cells(embeddings, cells, seed=0, progress=None, leave_out=()):
    """Learns the directions that the rows of a gallery gather around.

    k-means with inner products: a row is of the cell whose direction it points to
    most, a cell's direction is that of its rows' sum. A round looks at `ROWS_PER_CELL`
    rows a cell, and each at the next in a random order: a cell that is learned on the
    same few rows again and again is drawn to their noise. In the first rounds its sum
    is that of the round's rows alone; later more and more of the sums before is kept,
    in round r of R the share `KEPT` r / R, so that it ends as a mean over many rows
    (Sculley, 2010, keeps all of them, and learns slower). Where a round has all rows
    of a gallery, nothing is kept, and it ends when no row changes its cell: Lloyd's
    rounds. A cell that has no row of a round is put onto one, drawn by how far each is
    from the direction of its cell; where all rows are where their cells are, it stays.

    Args:
        embeddings: `(size, dim)`, float32.
        cells: How many, from 1; at most `size` are made.
        seed: Of the order of the rows, the first directions, and of what empty cells
            are put onto. The same seed gives the same cells.
        progress: Is called with a line of text now and then.
        leave_out: Rows that are not learned on, because something is measured with
            them; -1 is none. Where too few others are left, all rows are learned on.

    Returns:
        Directions, `(cells, dim)` float32, of unit length (zero if all rows are).

    Reference:
        Sculley, 2010, Web-scale k-means clustering
        (https://doi.org/10.1145/1772690.1772862).
    """
    rng = np.random.default_rng(seed)
    cells = min(cells, len(embeddings))
    may = np.ones(len(embeddings), bool)
    leave_out = np.asarray(leave_out, np.int64)
    may[leave_out[leave_out >= 0]] = False
    may = np.flatnonzero(may) if may.sum() >= cells else np.arange(len(embeddings))
    centroids = _unit(embeddings[rng.permutation(may)[:cells]])
    order = rng.permutation(may)
    count = min(ROWS_PER_CELL * cells, len(order))
    every = count == len(order)
    sums, before = np.zeros_like(centroids), np.empty(0)
    last = time.monotonic()
    for number in range(ROUNDS):
        if number == 0 or not every:
            places = np.arange(number * count, (number + 1) * count)
            chosen = np.take(order, places, mode="wrap")
            rows = np.ascontiguousarray(embeddings[np.sort(chosen)])
        of, scores = assign_cells(rows, centroids, with_scores=True)
        if progress is not None and (number == 0 or time.monotonic() - last > SECONDS):
            last = time.monotonic()
            progress(
                f"cells: round {number + 1} of at most {ROUNDS}, mean similarity to "
                f"the own cell {scores.mean(dtype=np.float64):.4f}"
            )
        kept = 0.0 if every else KEPT * number / ROUNDS
        sums = np.float32(kept) * sums + _sums(rows, of, cells)
        empty = np.flatnonzero(np.bincount(of, minlength=cells) == 0)
        far = _far_rows(rows, scores, len(empty), rng)
        sums[empty] = centroids[empty]
        sums[empty[: len(far)]] = rows[far]
        centroids = _unit(sums)
        if every and not len(far) and np.array_equal(of, before):
            break
        before = of
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


def _far_rows(rows, scores, wanted, rng):
    """Some rows, drawn by their distance from their cell's direction; not those on it.

    Squared, as k-means++ has it, and of unit rows: 2 - 2 score.
    """
    if not wanted:
        return np.empty(0, np.int64)
    norms = np.linalg.norm(rows, axis=1)
    far = np.where(scores < norms * (1 - 1e-5), norms - scores, 0).astype(np.float64)
    wanted = min(wanted, np.count_nonzero(far))
    if not wanted:
        return np.empty(0, np.int64)
    return rng.choice(len(rows), wanted, replace=False, p=far / far.sum())


def _unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(norms, 1e-12)).astype(np.float32)
