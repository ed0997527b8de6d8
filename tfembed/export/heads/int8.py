"""Rows of 8-bit integers with a scale each: about a quarter of the memory."""

import types

import numpy as np
import tensorflow as tf

from tfembed.export.heads.head_state import (
    HeadState,
    check_recall,
    checked_embeddings,
)
from tfembed.export.heads.recall import measured_recall, note_shortfall
from tfembed.ops.arguments import as_count
from tfembed.ops.chunked_neighbors import BLOCK, CHUNK, chunked_neighbors
from tfembed.ops.pair_scores import pair_scores

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
_LARGEST = 127
_LEAST = np.float32(1e-30)  # a scale below it is 0

tolerance = 2.0**-6  # of a score, as rows are rounded; `kept` says exactly how


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

    Rows that are alike, as those of tight clusters, are the more often exchanged. Where
    less is found than was asked for, the card says so (`note`), and so does a line of
    progress.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: Share of the k nearest rows that a search should find, above 0, at
            most 1; that it does is not made sure.
        queries: `(count, dim)`, embeddings of images that are not in the gallery, to
            measure with; None for rows of the gallery (`HeldOut`).
        k: Neighbours that are counted.
        seed: Of the draw of rows that are queries.
        progress: Is called with a line of text now and then.
        previous: Not needed.

    Returns:
        `HeadState` with `int8_embeddings`, int8 `(size, dim)`, and `int8_scales`,
        float32 `(size,)`.

    Raises:
        ValueError: If an argument is not as said.
    """
    del previous
    embeddings = checked_embeddings(embeddings)
    as_count("k", k)
    check_recall(recall)
    arrays = in_int8(embeddings)
    head = types.SimpleNamespace(search=search, score_columns=score_columns)
    card = {"head": "int8", "recall_wanted": float(recall)}
    card |= measured_recall(head, arrays, embeddings, queries, k, seed, progress)
    remedy = "`int8_bfloat16` keeps rows of 16 bits for the final scores"
    note_shortfall(card, remedy, progress)
    return HeadState(arrays, card)


def in_int8(embeddings):
    """Rounds rows to integers from -127 to 127 times a scale each.

    A scale is a row's largest number divided by 127, rounded up to 17 bits: so a
    product of it and an integer is exact in float32, and rows that were rounded before
    are rounded to themselves.

    Args:
        embeddings: `(size, dim)`, float32.

    Returns:
        `{"int8_embeddings": int8 (size, dim), "int8_scales": float32 (size,)}`.
    """
    rounded = np.empty(embeddings.shape, np.int8)
    scales = np.empty(len(embeddings), np.float32)
    for start in range(0, len(embeddings), _ROWS):
        part = embeddings[start : start + _ROWS]
        scale = np.abs(part).max(axis=1) / np.float32(_LARGEST)
        scale = ((scale.view(np.uint32) + 0x7F) & np.uint32(0xFFFFFF80)).view("f4")
        scale[scale < _LEAST] = 0
        scales[start : start + _ROWS] = scale
        whole = np.rint(part / np.where(scale > 0, scale, 1)[:, None])
        whole[scale == 0] = 0
        rounded[start : start + _ROWS] = whole.clip(-_LARGEST, _LARGEST)
    return {"int8_embeddings": rounded, "int8_scales": scales}


def kept(embeddings):
    """Returns rows as they are kept, `(n, dim)`, float32."""
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    arrays = in_int8(embeddings)
    return arrays["int8_embeddings"] * arrays["int8_scales"][:, None]


def search(variables, queries, k):
    """Finds the rows nearest by their values as they are kept.

    Rows are made float32 a chunk at a time (`tfembed.ops.chunked_neighbors`), and the
    scores of an answer are float32 sums over float32 queries and the integers, times
    the scale.

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    rows = tf.convert_to_tensor(variables["int8_embeddings"])
    k = tf.minimum(k, tf.shape(rows)[0])
    return chunked_neighbors(queries, rows, k, variables["int8_scales"])


def pairs(variables, queries, rows):
    """Scores given rows, by their values as they are kept, with sums in float32.

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32, below size; negative for none.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    return pair_scores(queries, rows, _reader(variables))


def embeddings_of(variables, rows):
    """Returns given rows, as they are kept.

    Args:
        variables: `{name: variable}` with the names of `build`.
        rows: `(n,)`, int32, from 0.

    Returns:
        `(n, dim)`, float32.
    """
    return _reader(variables)(rows)


def score_columns(variables):
    """Returns the float32 numbers that one more query takes, a scalar int32."""
    return CHUNK + tf.shape(variables["int8_embeddings"])[0] // BLOCK


def stored_count(variables):
    """Returns how many rows are stored, a scalar int32 tensor."""
    return tf.shape(variables["int8_embeddings"])[0]


def stored(variables, start, count):
    """Returns a range of the rows as they are stored: in the gallery's order.

    Args:
        variables: `{name: variable}` with the names of `build`.
        start: Scalar int32 tensor, from 0.
        count: Scalar int32 tensor; `start + count` is at most `stored_count`.

    Returns:
        Embeddings, made float32 `(count, dim)`, and the gallery row of each, int32
        `(count,)`.
    """
    part = slice(start, start + count)
    rows = tf.convert_to_tensor(variables["int8_embeddings"])[part]
    scales = tf.convert_to_tensor(variables["int8_scales"])[part]
    return _made_float(rows, scales), tf.range(start, start + count)


def _reader(variables):
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    integers = tf.convert_to_tensor(variables["int8_embeddings"])
    scales = tf.convert_to_tensor(variables["int8_scales"])

    def read(rows):
        return _made_float(tf.gather(integers, rows), tf.gather(scales, rows))

    return read


def _made_float(integers, scales):
    return tf.cast(integers, tf.float32) * scales[:, None]
