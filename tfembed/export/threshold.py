"""From which best score on a query counts as known, calibrated on held-out data.

A query is genuine if its class is one of the gallery's; of the gallery's own rows,
those whose class has another one. Of the best scores of genuine
queries that the gallery does not hold, the threshold is the quantile at the share that
may be rejected: 5 % by default. How many foreign queries it lets pass depends on them,
and is not promised.
"""

import dataclasses
from typing import Optional

import numpy as np

from tfembed.export.run_directory import NEVER_UNKNOWN
from tfembed.ops.arguments import as_number

FALSE_REJECTION = 0.05
_MOST = 1000
_LEAST = 200
_SCORES = 10**9  # of a larger gallery fewer rows are searched for the others
_ROWS = 1 << 16
_ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A threshold and where it is from.

    Attributes:
        value: A best score below it is not known.
        calibrated_on: What it was calibrated on, in words.
        queries: Number of genuine queries, 0 if it was not calibrated here.
        false_rejection: Share of them that it rejects; `None` if not measured.
    """

    value: float
    calibrated_on: str
    queries: int = 0
    false_rejection: Optional[float] = None


def choose_threshold(
    gallery, queries=None, threshold=None, false_rejection=None, seed=0
):
    """Returns the threshold of an export.

    The one that is given; or one calibrated, if `false_rejection` is given; or the
    gallery's own; or one calibrated. It is calibrated on the queries, and without any
    on rows of the gallery, each searched among the others.

    Args:
        gallery: A `Gallery`.
        queries: `Queries` that the gallery does not hold, or `None`.
        threshold: A number, or `None`.
        false_rejection: Share of genuine queries that may be rejected, from 0 to 1;
            `None`: 0.05, where it is needed.
        seed: Chooses the rows of the gallery, 200 to 1000.

    Returns:
        A `Threshold`.

    Raises:
        ValueError: If both `threshold` and `false_rejection` are given, or one is out
            of range.
    """
    check_threshold(threshold, false_rejection)
    share = FALSE_REJECTION if false_rejection is None else false_rejection
    if threshold is not None:
        return Threshold(float(threshold), "given, not calibrated")
    own = _without_rounding(gallery.known_threshold)
    best, what = _best_scores(gallery, queries, seed)
    if false_rejection is None and own > NEVER_UNKNOWN:
        rejected = float((best < own).mean()) if len(best) else None
        return Threshold(own, "as the gallery's file says", len(best), rejected)
    if not len(best):
        return Threshold(NEVER_UNKNOWN, what)
    value = np.float32(np.quantile(best, share))
    return Threshold(float(value), what, len(best), float((best < value).mean()))


def check_threshold(threshold=None, false_rejection=None):
    """Checks the two that `choose_threshold` is told.

    Raises:
        ValueError: If both are given, or one is out of range.
    """
    if threshold is not None and false_rejection is not None:
        raise ValueError(
            "Give `threshold` or `false_rejection`, not both. Received: "
            f"threshold={threshold!r}, false_rejection={false_rejection!r}."
        )
    if threshold is not None:
        as_number("threshold", threshold)
    if false_rejection is not None:
        note = ": the share of genuine queries that is rejected"
        as_number("false_rejection", false_rejection, 0, below=1, note=note)


def _best_scores(gallery, queries, seed):
    """Returns the best scores of genuine queries, and a description of the queries."""
    if queries is not None:
        genuine = np.ones(len(queries.embeddings), bool)
        if queries.labels is not None and (gallery.labels >= 0).any():
            labels = np.unique(gallery.labels)
            if queries.labels.dtype.kind in "OU":
                labels = gallery.class_names[labels[labels >= 0]].tolist()
            genuine = np.isin(queries.labels, labels)
        if genuine.any():
            rows = np.flatnonzero(genuine)
            best = best_scores(queries.embeddings[rows], gallery.embeddings)
            return best, f"{len(rows):,} held-out queries ({queries.source})"
    if gallery.size < 2:
        return np.empty(0), "not calibrated: the gallery has one row"
    count = rows_searched(gallery.size)
    rows = np.random.default_rng(seed).permutation(gallery.size)
    rows = rows[_has_company(gallery.labels)[rows]][:count]
    best = best_scores(gallery.embeddings[rows], gallery.embeddings, rows)
    return best, f"{len(rows):,} rows of the gallery, each searched among the others"


def rows_searched(size):
    """Returns how many rows of a gallery are searched for the others, at most.

    Args:
        size: Rows of the gallery.
    """
    return int(np.clip(_SCORES // size, _LEAST, _MOST))


def _has_company(labels):
    """Which rows are genuine queries of the others: those of a class with another row.

    Rows without a label are, too; and all are where every row is a class of its own.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    genuine = (labels < 0) | (counts[inverse] > 1)
    return genuine if genuine.any() else np.ones(len(labels), bool)


def best_scores(queries, embeddings, own=None):
    """Returns each query's largest score, cut to [-1, 1], without a table of scores.

    Args:
        queries: float32 `(q, d)`.
        embeddings: float32 `(n, d)`.
        own: `(q,)`, a row of each query that does not count; `None`: all count.

    Returns:
        float32 `(q,)`.
    """
    best = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(embeddings), _ROWS):
        scores = queries @ embeddings[start : start + _ROWS].T
        if own is not None:
            here = np.flatnonzero((own >= start) & (own < start + _ROWS))
            scores[here, own[here] - start] = -np.inf
        np.maximum(best, scores.max(axis=1), out=best)
    return np.clip(best, -1, 1, out=best)


def _without_rounding(threshold):
    """A threshold that rounding took beyond 1, the best score that is served."""
    return 1.0 if 1 < threshold < 1 + _ROUNDING else threshold
