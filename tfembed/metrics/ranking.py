"""Which of a query's nearest rows are right, in order: exact, in bounded memory."""

import concurrent.futures
import os

import numpy as np

SCORE_BYTES = 2**28
CHUNK = 2048  # queries: the product is no faster for more
BLOCK = 2**19  # scores that a thread ranks at a time
_LONGEST = 128


def ranked_in_chunks(
    queries,
    gallery,
    codes,
    gallery_codes,
    itself,
    rows,
    depths,
    score_bytes,
    progress=None,
):
    """Ranks the gallery by inner product, for the queries `rows`, a few at a time.

    Equal scores are ranked by their gallery row, the lowest first; equal gallery rows
    have equal scores. The scores of a chunk of queries are one matrix product, NumPy's;
    then blocks of its rows are ranked on as many threads as there are processors.

    Args:
        queries: `(queries, dim)`, float32.
        gallery: `(size, dim)`, float32.
        codes: `(queries,)`, integers, the classes.
        gallery_codes: `(size,)`, likewise.
        itself: `(queries,)`, the gallery row that a query cannot find, -1 for none.
        rows: Integers, the queries to rank; each has a row of its class to find. Those
            of like depth should stand together.
        depths: As `rows`: how many ranks are looked at; a block's largest counts.
        score_bytes: Bound on a chunk's scores; at least one query is taken.
        progress: Called as `progress(done, total)` after each chunk.

    Yields:
        `(some of rows, right, first)`: whether the nearest are of the query's class,
        bool `(some, depth)`, and the rank of the first that is, from 1, int64
        `(some,)`, wherever it is.
    """
    size = len(gallery)
    chunk = max(1, min(len(rows), CHUNK, score_bytes // (4 * max(size, 1))))
    block = max(1, BLOCK // max(size, 1))
    scores = np.empty((chunk, size), np.float32)
    members = _members(gallery_codes, codes.max(initial=-1) + 1)
    copies, originals = _copies(gallery)

    def ranked(part):
        there = rows[part]
        mine = scores[part.start - start : part.stop - start]
        right = _nearest_right(
            mine, codes[there], gallery_codes, int(depths[part].max())
        )
        first = right.argmax(axis=1) + 1
        for i in np.flatnonzero(~right[np.arange(len(right)), first - 1]):
            first[i] = _first_rank(mine[i], members[codes[there[i]]])
        return there, right, first

    with concurrent.futures.ThreadPoolExecutor(_processors()) as pool:
        for start in range(0, len(rows), chunk):
            stop = min(start + chunk, len(rows))
            now = rows[start:stop]
            np.matmul(queries[now], gallery.T, out=scores[: len(now)])
            if len(copies):  # a product rounds by where a row stands
                scores[: len(now), copies] = scores[: len(now), originals]
            own = np.flatnonzero(itself[now] >= 0)
            scores[own, itself[now[own]]] = -np.inf
            parts = [
                slice(each, min(each + block, stop))
                for each in range(start, stop, block)
            ]
            yield from pool.map(ranked, parts)
            if progress is not None:
                progress(stop, len(rows))


def _processors():
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _copies(gallery):
    """Returns the rows that repeat an earlier row, and the first such row of each."""
    seen, copies, originals = {}, [], []
    for row, values in enumerate(gallery):
        first = seen.setdefault(hash(values.tobytes()), row)
        if first != row and np.array_equal(gallery[first], values):
            copies.append(row)
            originals.append(first)
    return np.array(copies, np.int64), np.array(originals, np.int64)


def _members(gallery_codes, classes):
    """Returns the gallery rows of each class, ascending."""
    order = np.argsort(gallery_codes, kind="stable")
    ends = np.cumsum(np.bincount(gallery_codes, minlength=classes))
    return np.split(order, ends[:-1]) if len(ends) else []


def _nearest_right(scores, codes, gallery_codes, depth):
    """Tells which of the `depth` highest scores of each row are of the row's class.

    The scores are taken in groups; the depth-th largest of the groups' maxima is a
    score that at least `depth` scores reach, and few more. Those alone are sorted.
    """
    count, size = scores.shape
    longest = max(1, min(_LONGEST, size // (2 * depth)))
    groups = size // longest
    maxima = scores[:, : groups * longest]
    if longest > 1:
        maxima = maxima.reshape(count, longest, groups).max(axis=1)
    reached = np.partition(maxima, groups - depth, axis=1)[:, groups - depth]
    flat = np.flatnonzero(scores >= reached[:, None])
    ends = np.searchsorted(flat, np.arange(1, count + 1) * size)
    lengths = np.diff(ends, prepend=0)
    row = np.repeat(np.arange(count), lengths)
    # One row of candidates, ascending in the gallery, for each row of scores.
    width = int(lengths.max())
    place = np.arange(len(flat)) + np.repeat(
        np.arange(count) * width - (ends - lengths), lengths
    )
    keys = np.full(count * width, np.iinfo(np.uint32).max, np.uint32)
    keys[place] = _descending(scores.reshape(-1)[flat])
    right = np.zeros(count * width, bool)
    right[place] = gallery_codes[flat - row * size] == codes[row]
    order = _stable_order(keys.reshape(count, width))[:, :depth]
    return np.take_along_axis(right.reshape(count, width), order, axis=1)


def _descending(values):
    """Maps float32 to uint32 such that larger floats are smaller integers."""
    bits = (values + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    return np.where(bits >> 31 != 0, bits, ~bits & np.uint32(2**31 - 1))


def _stable_order(keys):
    """Sorts each row of uint32, stably, by its halves: NumPy counts 16-bit integers."""
    low = np.argsort(keys.astype(np.uint16), axis=1, kind="stable")
    high = np.take_along_axis((keys >> 16).astype(np.uint16), low, axis=1)
    return np.take_along_axis(low, np.argsort(high, axis=1, kind="stable"), axis=1)


def _first_rank(scores, members):
    """Returns the rank of the best of `members`, rows of the gallery, ascending."""
    best = members[np.argmax(scores[members])]
    top = scores[best]
    equal = np.count_nonzero(scores[:best] == top)
    return 1 + np.count_nonzero(scores > top) + equal
