"""Rows with 8 significant bits: half the memory, and nearly the same neighbours."""

import numpy as np
import tensorflow as tf

from tfembed.export.heads.head_state import HeadState, checked_embeddings
from tfembed.export.heads.kept_rows import (
    embeddings_of,
    pairs,
    score_columns,
    search,
    stored,
    stored_count,
)
from tfembed.export.heads.recall import (
    HeldOut,
    facts_of_recall,
    found_shares,
    nearest_rows,
    without_own,
)
from tfembed.ops.arguments import as_count

__all__ = [
    "build",
    "embeddings_of",
    "kept",
    "pairs",
    "score_columns",
    "search",
    "stored",
    "stored_count",
]

_ROWS = 1 << 16  # rounded at a time

tolerance = 2.0**-8  # a score is off by no more, as rows are rounded


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
    """Rounds the rows, and measures what that loses.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: Not needed: it is what it is, nearly 1, and stands in the card.
        queries: `(count, dim)`, embeddings of images that are not in the gallery, to
            measure with; None for rows of the gallery (`HeldOut`).
        k: Neighbours that are counted.
        seed: Of the draw of rows that are queries.
        progress: Is called with a line of text now and then.
        previous: Not needed.

    Returns:
        `HeadState` with `gallery_embeddings`, bfloat16 `(size, dim)`.

    Raises:
        ValueError: If an argument is not as said.
    """
    del recall, previous
    embeddings = checked_embeddings(embeddings)
    as_count("k", k)
    rows = rounded(embeddings)
    held_out = HeldOut(embeddings, queries, k, seed, progress)
    shares = None  # of a single row there are none
    if held_out.k:
        more = held_out.k + int(queries is None)
        found = nearest_rows(rows, held_out.queries, more, progress)
        found = without_own(found, held_out.own)[:, : held_out.k]
        shares = found_shares(found, held_out.rows)
    card = {"head": "bfloat16", **facts_of_recall(held_out, shares)}
    return HeadState({"gallery_embeddings": rows}, card)


def rounded(embeddings):
    """Returns rows in bfloat16, `(size, dim)`, made a part at a time."""
    rows = np.empty(embeddings.shape, tf.bfloat16.as_numpy_dtype)
    for start in range(0, len(embeddings), _ROWS):
        rows[start : start + _ROWS] = embeddings[start : start + _ROWS]
    return rows


def kept(embeddings):
    """Returns rows as they are kept, `(n, dim)`."""
    return embeddings.astype(tf.bfloat16.as_numpy_dtype)
