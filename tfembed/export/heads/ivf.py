"""Rows in cells of which a search looks at the nearest: for millions of rows."""

import numpy as np
import tensorflow as tf

from tfembed.export.heads.cells import assign_cells, learn_cells
from tfembed.export.heads.head_state import (
    HeadState,
    check_recall,
    checked_embeddings,
)
from tfembed.export.heads.recall import HeldOut, interval, surely_reach
from tfembed.ops.arguments import as_count
from tfembed.ops.cell_neighbors import BLOCK, cell_neighbors
from tfembed.ops.chunked_neighbors import CHUNK
from tfembed.ops.pair_scores import pair_scores

CELLS_PER_ROOT = 2.0  # cells: so many times the square root of the number of rows
LEAST_ROWS = 32  # of a cell, on average
carries = ("ivf_centroids",)  # what an update may keep


def build(
    embeddings,
    *,
    recall=0.95,
    queries=None,
    k=10,
    seed=0,
    progress=None,
    previous=None,
):
    """Groups the rows by cell, and chooses how many cells a search looks at.

    The number of probes is the smallest whose measured recall@k reaches `recall` also
    at the lower end of its one-sided 99 percent interval, so that other queries of the
    same kind reach it as well. A row is found if and only if its cell is looked at, so
    one exact search of the queries measures all numbers of probes. Where no number
    below that of all cells reaches it, all cells are looked at: the search is exact
    then, and the card says so (`all_cells`, `note`).

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: Share of the k nearest rows that a search is to find, above 0, at
            most 1.
        queries: `(count, dim)`, embeddings of images that are not in the gallery, to
            measure with; None for rows of the gallery (`HeldOut`).
        k: Neighbours that are counted.
        seed: Of the cells, and of the draw of rows that are queries.
        progress: Is called with a line of text now and then.
        previous: `HeadState.arrays` of the version before, at least its
            `ivf_centroids`: these cells are kept if they have the right length and
            there are half to twice as many as this gallery would get, and rows are
            assigned to them anew; else new cells are learned. (Recall that is
            measured with rows of the gallery may be a percent too high where the cells
            were learned on some of these rows.)

    Returns:
        `HeadState` with

        - `ivf_centroids` float32 `(cells, dim)`,
        - `ivf_starts` int32 `(cells + 1,)`: first block of each cell,
        - `ivf_sizes` int32 `(cells,)`: rows of each cell,
        - `ivf_embeddings` float32 `(blocks * 64, dim)`: rows by cell, ascending in it,
        - `ivf_rows` int32 `(blocks, 64)`: which rows they are, -1 for what fills up,
        - `ivf_places` int32 `(size,)`: where each row stands in `ivf_embeddings`,
        - `ivf_probes` int32 `()`: cells that a search looks at.

    Raises:
        ValueError: If an argument is not as said.
    """
    embeddings = checked_embeddings(embeddings)
    as_count("k", k)
    check_recall(recall)
    held_out = HeldOut(embeddings, queries, k, seed, progress)
    wanted = default_cells(len(embeddings))
    centroids = kept = _kept_cells(previous, wanted, embeddings.shape[1])
    if kept is None:
        centroids = learn_cells(embeddings, wanted, seed, progress, held_out.own)
    cells = assign_cells(embeddings, centroids, progress=progress)
    sizes = np.bincount(cells, minlength=len(centroids)).astype(np.int32)
    filled = np.flatnonzero(sizes)
    number = np.full(len(centroids), -1, np.int32)
    number[filled] = np.arange(len(filled), dtype=np.int32)
    cells, centroids, sizes = number[cells], centroids[filled], sizes[filled]
    probes, shares = choose_probes(held_out, centroids, cells, recall)
    arrays = {
        "ivf_centroids": centroids,
        **in_blocks(embeddings, cells, sizes),
        "ivf_probes": np.int32(probes),
    }
    card = {
        "head": "ivf",
        "measured": True,
        "recall_wanted": float(recall),
        "recall_k": held_out.k,
        "recall_queries": len(held_out),
        "recall_queries_are": held_out.source,
        "cells": len(centroids),
        "cells_kept": kept is not None,
        "probes": int(probes),
        "all_cells": bool(probes == len(centroids)),
        "rows_looked_at": _rows_looked_at(held_out, centroids, sizes, probes),
        "largest_cell": int(sizes.max()),
    }
    if held_out.k:
        card["recall_at_k"], card["recall_interval"] = interval(shares)
    else:  # a single row
        card["recall_at_k"], card["recall_interval"] = None, None
    if card["all_cells"]:
        card["note"] = (
            f"Recall {recall:g} takes all {len(centroids)} cells: every row is looked "
            "at, and the head `exact` would do the same with less."
        )
    return HeadState(arrays, card)


def default_cells(size):
    """Returns the number of cells for so many rows."""
    wanted = round(CELLS_PER_ROOT * size**0.5)
    return int(max(1, min(wanted, size // LEAST_ROWS)))


def choose_probes(held_out, centroids, cells, recall):
    """Chooses how many cells a search looks at.

    Args:
        held_out: `HeldOut`.
        centroids: `(cells, dim)`, float32.
        cells: `(size,)`, int32: the cell of each row.
        recall: The share of the nearest rows to find.

    Returns:
        The number of probes, and the share of its nearest rows that each query finds
        with it, `(count,)`.
    """
    count = len(centroids)
    if not held_out.k or recall >= 1:
        return count, np.ones(len(held_out))
    ranks = _cell_ranks(held_out, centroids, cells[held_out.rows])

    def shares(probes):
        return np.mean(ranks < probes, axis=1)

    low, high = 1, count  # the least that reaches it is in here; all cells do
    while low < high:
        middle = (low + high) // 2
        enough = surely_reach(shares(middle), recall)
        low, high = (low, middle) if enough else (middle + 1, high)
    return low, shares(low)


def _cell_ranks(held_out, centroids, cells):
    """When each query looks at the cells of its nearest rows: first 0, then 1, ..."""
    ranks = np.empty(cells.shape, np.int32)
    step = max(1, (1 << 22) // len(centroids))
    for start in range(0, len(held_out), step):
        part = slice(start, start + step)
        order = _orders(held_out.queries[part], centroids)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(order.shape[1])[None], axis=1)
        ranks[part] = np.take_along_axis(rank, cells[part], axis=1)
    return ranks


def _orders(queries, centroids):
    """The cells, nearest first, as the graph orders them."""
    scores = tf.matmul(queries, centroids, transpose_b=True)
    return tf.math.top_k(scores, len(centroids)).indices.numpy()


def _rows_looked_at(held_out, centroids, sizes, probes):
    """The mean number of rows that a search looks at."""
    queries = held_out.queries[:256]
    return float(sizes[_orders(queries, centroids)[:, :probes]].sum(axis=1).mean())


def _kept_cells(previous, wanted, dim):
    """The cells of the version before, where they still fit."""
    centroids = (previous or {}).get("ivf_centroids")
    if centroids is None or centroids.shape[1] != dim:
        return None
    if not wanted <= 2 * len(centroids) or not len(centroids) <= 2 * wanted:
        return None
    return np.ascontiguousarray(centroids, np.float32)


def in_blocks(embeddings, cells, sizes):
    """Groups rows by cell, in blocks.

    Args:
        embeddings: `(size, dim)`, float32.
        cells: `(size,)`, int32: the cell of each row.
        sizes: `(cells,)`, int32: rows of each cell, none of them empty.

    Returns:
        Those of `build`'s arrays that hold rows, and where they are.
    """
    blocks = -(-sizes // BLOCK)
    starts = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int32)
    order = np.argsort(cells, kind="stable").astype(np.int32)  # ascending in a cell
    before = np.cumsum(sizes, dtype=np.int64) - sizes  # rows of earlier cells
    in_cell = np.arange(len(order)) - np.repeat(before, sizes)
    places = np.repeat(starts[:-1].astype(np.int64) * BLOCK, sizes) + in_cell
    rows = np.full(int(starts[-1]) * BLOCK, -1, np.int32)
    rows[places] = order
    # A copy of the block's first row fills up: the block's maximum stays what it is.
    first = np.repeat(rows[::BLOCK], BLOCK)
    taken = np.empty((len(rows), embeddings.shape[1]), np.float32)
    source = np.where(rows < 0, first, rows)
    for start in range(0, len(rows), 1 << 16):
        part = slice(start, start + (1 << 16))
        np.take(embeddings, source[part], axis=0, out=taken[part])
    place_of = np.empty(len(order), np.int32)
    place_of[order] = places
    return {
        "ivf_starts": starts,
        "ivf_sizes": sizes,
        "ivf_embeddings": taken,
        "ivf_rows": rows.reshape(-1, BLOCK),
        "ivf_places": place_of,
    }


def search(variables, queries, k):
    """Finds the nearest rows in the nearest cells (`tfembed.ops.cell_neighbors`).

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    size = tf.shape(variables["ivf_places"])[0]
    return cell_neighbors(
        queries,
        variables["ivf_centroids"],
        variables["ivf_starts"],
        variables["ivf_sizes"],
        variables["ivf_embeddings"],
        variables["ivf_rows"],
        variables["ivf_probes"],
        tf.minimum(k, size),
    )


def pairs(variables, queries, rows):
    """Scores given rows, whatever their cell.

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32, below size; negative for none.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    places = tf.convert_to_tensor(variables["ivf_places"])
    embeddings = tf.convert_to_tensor(variables["ivf_embeddings"])

    def read(flat):
        return tf.gather(embeddings, tf.gather(places, flat))

    return pair_scores(queries, rows, read)


def embeddings_of(variables, rows):
    """Returns given rows, whatever their cell.

    Args:
        variables: `{name: variable}` with the names of `build`.
        rows: `(n,)`, int32, from 0.

    Returns:
        `(n, dim)`, float32.
    """
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    places = tf.convert_to_tensor(variables["ivf_places"])
    embeddings = tf.convert_to_tensor(variables["ivf_embeddings"])
    return tf.gather(embeddings, tf.gather(places, rows))


def score_columns(variables):
    """Returns the float32 numbers that one more query takes, a scalar int32."""
    cells = tf.shape(variables["ivf_centroids"])[0]
    # Of all blocks: the maximum, whether it counts, and the number of it.
    return 2 * cells + 4 * tf.shape(variables["ivf_rows"])[0] + CHUNK


def stored_count(variables):
    """Returns how many rows are stored, what fills up included, a scalar int32."""
    return BLOCK * tf.shape(variables["ivf_rows"])[0]


def stored(variables, start, count):
    """Returns a range of the rows as they are stored: by cell, ascending in it.

    Rows that are equal are of one cell.

    Args:
        variables: `{name: variable}` with the names of `build`.
        start: Scalar int32 tensor, from 0.
        count: Scalar int32 tensor; `start + count` is at most `stored_count`.

    Returns:
        Embeddings, float32 `(count, dim)`, and the gallery row of each, int32
        `(count,)`, -1 for what fills up a block.
    """
    rows = tf.reshape(tf.convert_to_tensor(variables["ivf_rows"]), [-1])
    embeddings = tf.convert_to_tensor(variables["ivf_embeddings"])
    return embeddings[start : start + count], rows[start : start + count]
