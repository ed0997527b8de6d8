"""What a search that is not exact finds of the nearest rows."""

import time

import numpy as np
import tensorflow as tf

from tfembed.ops.neighbors import top_k_neighbors

SAMPLE = 2000  # gallery rows that search, where no queries are given
CHUNK = 1 << 14  # rows of the gallery at a time
_SURE = 2.33  # standard errors of a one-sided 99 percent interval
_SCORES = 1 << 23  # numbers that stand in memory while a head is measured
SECONDS = 5  # between two lines of progress


class HeldOut:
    """Queries, and the rows that an exact search finds for them.

    Args:
        embeddings: `(size, dim)`, float32: the gallery.
        queries: `(count, dim)`, float32, of images that are not in the gallery; or
            None, then `SAMPLE` rows of the gallery are drawn, at most half of them, and
            none is its own neighbour. (Cells have to be learned without them, or they
            find their neighbours more often than others do: by a percent or so.
            Images of one gallery may also be more alike than a user's are to them.)
        k: Neighbours of a query; at most as many as there are.
        seed: Of the draw.
        progress: Is called with a line of text now and then.

    Attributes:
        queries: `(count, dim)`, float32.
        own: `(count,)`: the row that each query is, -1 if it is none.
        rows: `(count, k)`: the nearest rows, the query's own left out.
        k: As given, or fewer.
        source: What the queries are, for the model card.
        own_are_rows: Whether the queries are rows of the gallery.
    """

    def __init__(self, embeddings, queries, k, seed=0, progress=None):
        size = len(embeddings)
        if queries is None:
            rng = np.random.default_rng(seed)
            self.own = np.sort(rng.permutation(size)[: min(SAMPLE, -(-size // 2))])
            self.own = self.own.astype(np.int32)
            self.queries = embeddings[self.own]
            self.source = "gallery rows, each without itself"
        else:
            self.queries = checked_queries(queries, embeddings.shape[1])
            self.own = np.full(len(self.queries), -1, np.int32)
            self.source = "given"
        self.own_are_rows = queries is None
        self.k = min(int(k), size - (queries is None))
        if self.k > 0:
            more = self.k + (queries is None)
            rows = nearest_rows(embeddings, self.queries, more, progress)
            self.rows = without_own(rows, self.own)[:, : self.k]
        else:
            self.rows = np.empty((len(self.queries), 0), np.int32)

    def __len__(self):
        return len(self.queries)


def checked_queries(queries, dim):
    """Returns queries as float32, `(count, dim)`.

    Raises:
        ValueError: If they are no table of finite numbers, or of another length.
    """
    given = np.asarray(queries)
    fits = given.ndim == 2 and len(given) and given.shape[1] == dim
    if not fits or given.dtype.kind not in "fiu" or not np.isfinite(given).all():
        raise ValueError(
            f"`queries` must be a table (count, {dim}) of finite numbers, embeddings "
            "by the gallery's encoder of images that are not in it. Received: shape "
            f"{given.shape}, dtype {given.dtype}. Leave it out to measure with rows "
            "of the gallery."
        )
    return np.ascontiguousarray(given, np.float32)


def nearest_rows(embeddings, queries, k, progress=None):
    """Finds the nearest rows of a NumPy table, whatever its size, exactly.

    Args:
        embeddings: `(size, dim)`, float32 or bfloat16. Sums are float32.
        queries: `(count, dim)`, float32.
        k: From 1 to `size`.
        progress: Is called with a line of text now and then.

    Returns:
        `(count, k)`, int32, nearest first; equal scores go to the lowest row.
    """
    count, size = len(queries), len(embeddings)
    queries = tf.constant(queries)
    scores = tf.zeros([count, 0])
    rows = tf.zeros([count, 0], tf.int32)
    last = time.monotonic()
    for start in range(0, size, CHUNK):
        part = np.asarray(embeddings[start : start + CHUNK], np.float32)
        scores, rows = _merge(queries, tf.constant(part), start, k, scores, rows)
        if progress is not None and time.monotonic() - last > SECONDS:
            last = time.monotonic()
            progress(f"recall: {min(start + CHUNK, size):,} of {size:,} rows compared")
    return rows.numpy()


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.int32),
    ]
)
def _merge(queries, part, start, k, scores, rows):
    more, places = top_k_neighbors(queries, part, tf.minimum(k, tf.shape(part)[0]))
    scores = tf.concat([scores, more], axis=1)  # lower rows first: they win ties
    rows = tf.concat([rows, start + places], axis=1)
    scores, places = tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))
    return scores, tf.gather(rows, places, axis=1, batch_dims=1)


def without_own(rows, own):
    """Takes one of the found rows away: the query's own, or else the last.

    Args:
        rows: `(count, k)`.
        own: `(count,)`; -1 takes nothing away, if it is so for all.

    Returns:
        `(count, k - 1)`, or `rows` where no query is a row.
    """
    if (own < 0).all():
        return rows
    count, k = rows.shape
    place = np.where(rows == own[:, None], np.arange(k), k - 1).min(axis=1)
    keep = np.arange(k) != place[:, None]
    return rows[keep].reshape(count, k - 1)


def found_shares(found, wanted):
    """Returns the share of each query's nearest rows that were found, `(count,)`."""
    hits = [np.isin(want, have).mean() for have, want in zip(found, wanted)]
    return np.array(hits)


def interval(shares):
    """Returns the mean of shares, and its 95 percent interval, within 0 and 1."""
    mean = float(np.mean(shares))
    half = 1.96 * float(np.std(shares)) / max(len(shares), 1) ** 0.5
    return mean, [max(mean - half, 0.0), min(mean + half, 1.0)]


def measured_recall(
    head, arrays, embeddings, queries=None, k=10, seed=0, progress=None
):
    """Measures how many of the nearest rows a head's `search` finds.

    Args:
        head: It has `search` and `score_columns` of `tfembed.export.heads`.
        arrays: Those of the head, `{name: NumPy array}`.
        embeddings: `(size, dim)`, float32: the gallery.
        queries: As for `HeldOut`.
        k: Neighbours that are counted.
        seed: Of the draw of rows that are queries.
        progress: Is called with a line of text now and then.

    Returns:
        What the model card says of it: `measured`, `recall_at_k`, `recall_interval`,
        `recall_k`, `recall_queries`, `recall_queries_are`.
    """
    held_out = HeldOut(embeddings, queries, k, seed, progress)
    if not held_out.k:  # a single row
        return facts_of_recall(held_out, None)
    variables = {name: tf.constant(value) for name, value in arrays.items()}
    wanted = held_out.k + int(held_out.own_are_rows)
    vectors = tf.TensorSpec([None, embeddings.shape[1]], tf.float32)

    @tf.function(input_signature=[vectors], autograph=False)
    def find(some):
        return head.search(variables, some, wanted)[1]

    shares = shares_of(find, head.score_columns(variables), held_out)
    return facts_of_recall(held_out, shares)


def shares_of(find, columns, held_out):
    """Searches the queries, and returns the share that each finds, `(count,)`.

    Args:
        find: Function of queries that returns the rows that are found for them: one
            more than `held_out.k` where the queries are rows.
        columns: How many numbers a query makes stand in memory.
        held_out: `HeldOut`, with neighbours.
    """
    step = max(1, _SCORES // max(int(columns), 1))
    parts = range(0, len(held_out), step)
    found = [find(tf.constant(held_out.queries[i : i + step])).numpy() for i in parts]
    found = without_own(np.concatenate(found), held_out.own)[:, : held_out.k]
    return found_shares(found, held_out.rows)


def facts_of_recall(held_out, shares):
    """Returns what the model card says of shares that were found; `None`: of none."""
    mean, within = (None, None) if shares is None else interval(shares)
    return {
        "measured": True,
        "recall_at_k": mean,
        "recall_interval": within,
        "recall_k": held_out.k,
        "recall_queries": len(held_out),
        "recall_queries_are": held_out.source,
    }


def note_shortfall(card, remedy, progress=None):
    """Adds `note` to the card of a head that finds less than is wanted, and tells it.

    Args:
        card: With `head`, `recall_wanted`, and what `facts_of_recall` returns.
        remedy: What the user may do, in words.
        progress: Is called with the same as a line of text.
    """
    found, wanted = card["recall_at_k"], card["recall_wanted"]
    if found is None or found >= wanted:
        return
    card["note"] = (
        f"It finds {found:.3f} of the nearest {card['recall_k']} rows, less than the "
        f"{wanted:g} that was asked for. {remedy}, and `exact` finds all."
    )
    if progress is not None:
        progress(f"head {card['head']}: {card['note']}")


def surely_reach(shares, recall):
    """Tells whether the mean of shares is a recall or more, with 99 percent certainty.

    That is the lower end of its one-sided interval, so that other queries of the same
    kind reach it as well.
    """
    error = _SURE * float(np.std(shares)) / len(shares) ** 0.5
    return float(np.mean(shares)) - error >= recall
