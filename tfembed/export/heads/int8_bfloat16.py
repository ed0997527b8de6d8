"""Candidates by rows of 8-bit integers, their scores by rows of 16 bits."""

import types

import tensorflow as tf

from tfembed.export.heads import bfloat16, int8
from tfembed.export.heads.candidates import best_candidates
from tfembed.export.heads.head_state import (
    HeadState,
    check_recall,
    checked_embeddings,
)
from tfembed.export.heads.kept_rows import (
    embeddings_of,
    pairs,
    stored,
    stored_count,
)
from tfembed.export.heads.recall import measured_recall, note_shortfall
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

CANDIDATES = 256  # rows, or twice as many as are wanted

kept, tolerance = bfloat16.kept, bfloat16.tolerance


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
    """Rounds the rows twice, and measures what that loses.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: As for `int8`: where less is found, the card and a line say so.
        queries: `(count, dim)`, embeddings of images that are not in the gallery, to
            measure with; None for rows of the gallery (`HeldOut`).
        k: Neighbours that are counted.
        seed: Of the draw of rows that are queries.
        progress: Is called with a line of text now and then.
        previous: Not needed.

    Returns:
        `HeadState` with the arrays of `int8`, and `gallery_embeddings`, bfloat16
        `(size, dim)`.

    Raises:
        ValueError: If an argument is not as said.
    """
    del previous
    embeddings = checked_embeddings(embeddings)
    as_count("k", k)
    check_recall(recall)
    arrays = int8.in_int8(embeddings)
    arrays["gallery_embeddings"] = bfloat16.rounded(embeddings)
    head = types.SimpleNamespace(search=search, score_columns=score_columns)
    card = {"head": "int8_bfloat16", "recall_wanted": float(recall)}
    card |= measured_recall(head, arrays, embeddings, queries, k, seed, progress)
    card["candidates"] = int(min(CANDIDATES, len(embeddings)))
    note_shortfall(card, "`bfloat16` loses less", progress)
    return HeadState(arrays, card)


def search(variables, queries, k):
    """Finds candidates by the integers, and the nearest of them by the other rows.

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    size = tf.shape(variables["int8_embeddings"])[0]
    k = tf.minimum(k, size)
    count = tf.minimum(tf.maximum(CANDIDATES, 2 * k), size)
    _, rows = int8.search(variables, queries, count)
    return best_candidates(rows, lambda rows: pairs(variables, queries, rows), k)


def score_columns(variables):
    """Returns the float32 numbers that one more query takes, a scalar int32."""
    return int8.score_columns(variables)
