"""The first numbers of each row find candidates, all of them their scores.

For encoders whose first numbers are an embedding, too, as `tfembed.losses.Matryoshka`
trains them.
"""

import numpy as np
import tensorflow as tf

from tfembed.export.heads.candidates import best_candidates
from tfembed.export.heads.head_state import (
    HeadState,
    check_recall,
    checked_embeddings,
)
from tfembed.export.heads.recall import (
    HeldOut,
    facts_of_recall,
    note_shortfall,
    shares_of,
    surely_reach,
)
from tfembed.ops.arguments import as_count
from tfembed.ops.chunked_neighbors import BLOCK, CHUNK, chunked_neighbors
from tfembed.ops.pair_scores import pair_scores

options = ("numbers", "candidates")
PART = 4  # a prefix is so many times shorter than a row, if nothing else is said
LEAST, MOST = 128, 8192  # candidates, if nothing else is said

_ROWS = 1 << 16  # at a time


def build(
    embeddings,
    *,
    recall=0.95,
    queries=None,
    k=10,
    seed=0,
    progress=None,
    previous=None,
    numbers=None,
    candidates=None,
):
    """Splits the rows, and chooses how many candidates a search scores in full.

    Prefixes are compared by their cosines. The number of candidates is the first of
    `LEAST`, or 2 k if that is more, twice that, and so on, up to `MOST`, whose measured
    recall@k reaches `recall` also at the lower end of its one-sided 99 percent
    interval; where none does, the card says so (`note`), and so does a line of
    progress.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        recall: Share of the k nearest rows that a search is to find, above 0, at
            most 1.
        queries: `(count, dim)`, embeddings of images that are not in the gallery, to
            measure with; None for rows of the gallery (`HeldOut`).
        k: Neighbours that are counted.
        seed: Of the draw of rows that are queries.
        progress: Is called with a line of text now and then.
        previous: Not needed.
        numbers: How many numbers a prefix has, from 1 to `dim`; None: a quarter of
            them.
        candidates: How many, at least 1; None: as many as `recall` takes.

    Returns:
        `HeadState` with

        - `prefix_embeddings` float32 `(size, numbers)`: the first numbers of the rows,
        - `prefix_rest` float32 `(size, dim - numbers)`: the others,
        - `prefix_scales` float32 `(size,)`: 1 by the length of the first, 0 if that is,
        - `prefix_candidates` int32 `()`.

    Raises:
        ValueError: If an argument is not as said.
    """
    del previous
    embeddings = checked_embeddings(embeddings)
    as_count("k", k)
    check_recall(recall)
    size, dim = embeddings.shape
    numbers = max(1, dim // PART) if numbers is None else as_count("numbers", numbers)
    if numbers > dim:
        raise ValueError(
            f"`numbers` must be from 1 to {dim}, how many numbers a row has. "
            f"Received: numbers={numbers}."
        )
    most = min(size, MOST)
    if candidates is not None:
        most = min(size, as_count("candidates", candidates))
    arrays = _split(embeddings, numbers)
    held_out = HeldOut(embeddings, queries, k, seed, progress)
    free = candidates is None and recall < 1
    first = max(LEAST, 2 * held_out.k) if free else most
    count, shares = _choose(arrays, held_out, dim, first, most, recall)
    arrays["prefix_candidates"] = np.int32(count)
    card = {
        "head": "prefix",
        "recall_wanted": float(recall),
        **facts_of_recall(held_out, shares),
        "numbers": int(numbers),
        "candidates": int(count),
    }
    note_shortfall(card, "More `numbers` or `candidates` find more", progress)
    return HeadState(arrays, card)


def _split(embeddings, numbers):
    scales = np.empty(len(embeddings), np.float32)
    for start in range(0, len(embeddings), _ROWS):
        part = embeddings[start : start + _ROWS, :numbers]
        length = np.linalg.norm(part, axis=1)
        scales[start : start + _ROWS] = 1 / np.where(length > 0, length, np.inf)
    return {
        "prefix_embeddings": np.ascontiguousarray(embeddings[:, :numbers]),
        "prefix_rest": np.ascontiguousarray(embeddings[:, numbers:]),
        "prefix_scales": scales,
    }


def _choose(arrays, held_out, dim, count, most, recall):
    """The least candidates that reach the recall, or the most, and the shares found."""
    if not held_out.k:  # a single row
        return most, None
    variables = {name: tf.constant(value) for name, value in arrays.items()}
    variables["prefix_candidates"] = chosen = tf.Variable(count, dtype=tf.int32)
    vectors = tf.TensorSpec([None, dim], tf.float32)
    wanted = held_out.k + int(held_out.own_are_rows)

    @tf.function(input_signature=[vectors], autograph=False)
    def find(some):
        return search(variables, some, wanted)[1]

    while True:
        count = min(count, most)
        chosen.assign(count)
        shares = shares_of(find, score_columns(variables), held_out)
        if count == most or surely_reach(shares, recall):
            return count, shares
        count *= 2


def search(variables, queries, k):
    """Finds candidates by their prefixes, and the nearest of them by whole rows.

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        k: An integer or a scalar int32 tensor, at least 1.

    Returns:
        Scores, float32, and rows, int32, both `(batch, min(k, size))`.
    """
    first = tf.convert_to_tensor(variables["prefix_embeddings"])
    size = tf.shape(first)[0]
    k = tf.minimum(k, size)
    count = tf.minimum(tf.maximum(variables["prefix_candidates"], 2 * k), size)
    short = queries[:, : first.shape[1]]
    _, rows = chunked_neighbors(short, first, count, variables["prefix_scales"])
    return best_candidates(rows, lambda rows: pairs(variables, queries, rows), k)


def pairs(variables, queries, rows):
    """Scores given rows, by all of their numbers.

    Args:
        variables: `{name: variable}` with the names of `build`.
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32, below size; negative for none.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    return pair_scores(queries, rows, _reader(variables))


def embeddings_of(variables, rows):
    """Returns given rows.

    Args:
        variables: `{name: variable}` with the names of `build`.
        rows: `(n,)`, int32, from 0.

    Returns:
        `(n, dim)`, float32.
    """
    return _reader(variables)(rows)


def score_columns(variables):
    """Returns the float32 numbers that one more query takes, a scalar int32."""
    blocks = tf.shape(variables["prefix_embeddings"])[0] // BLOCK
    return CHUNK + blocks + tf.convert_to_tensor(variables["prefix_candidates"])


def stored_count(variables):
    """Returns how many rows are stored, a scalar int32 tensor."""
    return tf.shape(variables["prefix_embeddings"])[0]


def stored(variables, start, count):
    """Returns a range of the rows as they are stored: in the gallery's order.

    Args:
        variables: `{name: variable}` with the names of `build`.
        start: Scalar int32 tensor, from 0.
        count: Scalar int32 tensor; `start + count` is at most `stored_count`.

    Returns:
        Embeddings, float32 `(count, dim)`, and the gallery row of each, int32
        `(count,)`.
    """
    parts = [tf.convert_to_tensor(variables[name]) for name in _PARTS]
    rows = tf.concat([part[start : start + count] for part in parts], axis=1)
    return rows, tf.range(start, start + count)


_PARTS = ("prefix_embeddings", "prefix_rest")


def _reader(variables):
    # Once rows of a variable are gathered, each of its reads is a copy of it: read it.
    parts = [tf.convert_to_tensor(variables[name]) for name in _PARTS]

    def read(rows):
        return tf.concat([tf.gather(part, rows) for part in parts], axis=1)

    return read
