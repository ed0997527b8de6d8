"""All pairs of rows whose cosine is high, by blocks of rows against blocks of rows."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.dedup.forest import ROUNDING, SpanningForest
from tfembed.dedup.rows import Rows
from tfembed.ops.arguments import as_number
from tfembed.progress import Progress

__all__ = ["LOWEST", "Links", "find_links"]

BLOCK = 2048
LOWEST = 0.8
"""No threshold is looked for below it."""
_SAMPLE = 2000
_PAIRS_A_ROW = 32
_SECONDS_BETWEEN_STATES = 60.0


@dataclasses.dataclass(frozen=True)
class Links:
    """What groups and histograms are made of; the pairs themselves are not kept.

    Attributes:
        first: int32 `[l]`, rows.
        second: int32 `[l]`, other rows.
        scores: float32 `[l]`, cosines, largest first: with the rows, the maximum
            spanning forest of all pairs whose cosine is not below `floor`.
        nearest: float32 `[n]`, each row's cosine to its nearest other row; -1 where
            there is no other.
        floor: The lowest threshold at which groups are known.
    """

    first: Any
    second: Any
    scores: Any
    nearest: Any
    floor: float


def find_links(
    embeddings: Rows,
    floor: float | None = None,
    block: int = BLOCK,
    say: Callable[[str], object] | None = None,
    state: Any = None,
) -> Links:
    """Compares all rows with all others, exactly.

    Memory holds two blocks of rows, their scores and a few numbers for each row,
    however many pairs pass. Cosines are of float32: right to about one millionth.

    Args:
        embeddings: Float array `[n, d]`, or `Rows`.
        floor: Lowest cosine of a pair that is kept. `None`: 0.8, or more where a
            sample says that more than some tens of pairs a row would pass.
        block: Rows that are compared with as many others at a time.
        say: Function that is given a line of progress now and then.
        state: `State` that is written now and then and gone on from; `None` for none.

    Returns:
        `Links`.

    Raises:
        ValueError: If `floor` is no cosine, or the embeddings are no finite matrix.
    """
    rows = embeddings
    if not isinstance(rows, Rows):
        rows = Rows([(np.asarray(embeddings), None)], "`embeddings`")
    if floor is not None:
        as_number("floor", floor, -1, 1, note=", a cosine")
    own_floor = floor is None
    taken = state.read(rows, floor) if state else None
    if taken is None:
        floor = _floor(rows) if floor is None else float(floor)
        links = Links([], [], [], np.full(rows.size, -1, np.float32), floor)
        begin = 0
    else:
        begin, links = taken
    if begin >= rows.size:
        (say or (lambda line: None))("compared before; not again")
        return links
    forest = SpanningForest(rows.size, links.floor)
    if len(links.first):
        forest.add(links.first, links.second, links.scores)
    nearest = links.nearest
    every, done = _pairs(rows.size, rows.size), _pairs(rows.size, begin)
    progress = Progress(say, every, "pairs", "comparing", done)
    saved = time.monotonic()
    with _whole_float32():
        for start in range(begin, rows.size, block):
            _compare(rows, start, block, links.floor, forest, nearest, progress)
            if state and time.monotonic() - saved >= _SECONDS_BETWEEN_STATES:
                first, second, scores = forest.links()
                found = Links(first, second, scores, nearest, links.floor)
                state.write(rows, start + block, found, own_floor)
                saved = time.monotonic()
    first, second, scores = forest.links()
    found = Links(first, second, scores, nearest, links.floor)
    if state:
        state.write(rows, rows.size, found, own_floor)
    progress.end()
    return found


def _pairs(size, start):
    """Pairs of the rows before `start` with rows behind them."""
    return start * size - start * (start + 1) // 2


def _compare(rows, start, block, floor, forest, nearest, progress):
    """Compares a block with itself and with all blocks behind it."""
    stop = min(start + block, rows.size)
    ours = tf.constant(rows.block(start, stop))
    lowest = tf.constant(min(floor, 1 - ROUNDING), tf.float32)
    for other in range(start, rows.size, block):
        end = min(other + block, rows.size)
        theirs = ours if other == start else tf.constant(rows.block(other, end))
        best, their_best, pairs, scores = (
            each.numpy() for each in _scores(ours, theirs, other == start, lowest)
        )
        for part, values in (
            (slice(start, stop), best),
            (slice(other, end), their_best),
        ):
            np.maximum(nearest[part], np.minimum(values, 1), out=nearest[part])
        if len(pairs):
            first, second = pairs[:, 0] + start, pairs[:, 1] + other
            if other == start:
                once = first < second
                first, second, scores = first[once], second[once], scores[once]
            forest.add(first, second, scores)
        count = end - other
        progress.step(
            _pairs(count, count) if other == start else (stop - start) * count
        )


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([], tf.bool),
        tf.TensorSpec([], tf.float32),
    ]
)
def _scores(ours, theirs, same, floor):
    """The best score of each row of both, and the pairs that are not below the floor.

    Of a block with itself, a row is not compared with itself, and a pair comes twice.
    """
    scores = tf.matmul(ours, theirs, transpose_b=True)
    scores = tf.cond(
        same,
        lambda: tf.linalg.set_diag(scores, tf.fill(tf.shape(scores)[:1], -2.0)),
        lambda: scores,
    )
    best, their_best = tf.reduce_max(scores, 1), tf.reduce_max(scores, 0)
    some = tf.where(best >= floor)[:, 0]

    def pick():
        high = tf.gather(scores, some)
        pairs = tf.where(high >= floor)
        picked = tf.gather_nd(high, pairs)
        return tf.stack([tf.gather(some, pairs[:, 0]), pairs[:, 1]], 1), picked

    none = tf.zeros([0, 2], tf.int64), tf.zeros([0], tf.float32)
    pairs, picked = tf.cond(tf.size(some) > 0, pick, lambda: none)
    return best, their_best, pairs, picked


def _floor(rows):
    """A floor that lets some tens of pairs a row pass, by a sample of them."""
    if rows.size < 3:
        return LOWEST
    draws = np.random.default_rng(0)
    count = min(_SAMPLE, rows.size)
    some = np.sort(draws.choice(rows.size, count, replace=False))
    values = rows.take(some)
    scores = (values @ values.T)[np.triu_indices(count, 1)]
    share = min(1.0, 2 * _PAIRS_A_ROW / (rows.size - 1))
    return float(np.clip(np.quantile(scores, 1 - share), LOWEST, 0.95))


@contextlib.contextmanager
def _whole_float32():
    """On GPUs that would, products are not rounded to TensorFloat-32."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
