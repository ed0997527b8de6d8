"""The two protocols of the field, each as one call: every number with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfembed.hints import Label, Labels, Rows
from tfembed.metrics.bootstrap import bootstrap_intervals
from tfembed.metrics.clustering import clustering
from tfembed.metrics.labels import gallery_without_ignored, without_ignored
from tfembed.metrics.linear_probe import linear_probe_hits
from tfembed.metrics.retrieval import retrieval
from tfembed.metrics.weighted_knn import weighted_knn_hits

KNN = (10, 200)
KS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What an encoder is worth, by one protocol.

    >>> from tfembed.metrics import measure_unseen
    >>> embeddings = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> measured = measure_unseen(embeddings, ["shoe", "shoe", "bag", "bag"])
    >>> measured.protocol, measured.values["R@1"], measured.queries
    ('unseen', 1.0, 4)
    >>> measured.per_query["R@1"].tolist()
    [1.0, 1.0, 1.0, 1.0]

    Attributes:
        protocol: `"seen"` or `"unseen"`.
        values: `{name: number}`.
        intervals: `{name: (low, high)}`, of those that are means over the queries.
        per_query: `{name: (queries,)}`, float64, of the same, for all queries that were
            given; NaN where one does not count.
        queries: Number of queries, without those of an ignored label.
        gallery: Number of gallery rows, likewise.
        lone: Queries whose class has no other row to find. They are in no mean of
            retrieval, and are misses of a vote.
    """

    protocol: str
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_query: dict[str, np.ndarray]
    queries: int
    gallery: int
    lone: int

    def row(self, representation: str) -> dict[str, Any]:
        """Returns the row of a table of `result.json`."""
        return {
            "representation": representation,
            **self.values,
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
        }


def measure_seen(
    queries: Rows,
    labels: Labels,
    gallery: Rows,
    gallery_labels: Labels,
    ids: Labels | None = None,
    gallery_ids: Labels | None = None,
    knn: Sequence[int] = KNN,
    temperature: float = 0.07,
    ks: Sequence[int] = KS,
    probe: bool | np.ndarray = False,
    normalize: bool = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    progress: Callable[[str, int, int], object] | None = None,
    ignore_label: Label | None = None,
) -> Measurement:
    """Measures on classes that were trained on: queries against a labelled gallery.

    >>> from tfembed.metrics import measure_seen
    >>> gallery = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> labels = ["shoe", "shoe", "bag", "bag"]
    >>> queries = np.array([[0.8, 0.2], [0.2, 0.8]])
    >>> measured = measure_seen(queries, ["shoe", "bag"], gallery, labels, knn=(2,))
    >>> measured.values["knn_2"], measured.values["R@1"], measured.gallery
    (1.0, 1.0, 4)

    Args:
        queries: `(queries, dim)`, float.
        labels: `(queries,)`.
        gallery: `(size, dim)`, float.
        gallery_labels: `(size,)`.
        ids: `(queries,)`, with `gallery_ids`: nothing finds itself.
        gallery_ids: `(size,)`, each once.
        knn: Numbers of neighbours that vote, `knn_K`; those above the gallery's size
            are left out.
        temperature: Of the vote.
        ks: Ranks of recall and precision, `R@K` and `P@K`; likewise.
        probe: Whether a linear probe is trained on the gallery, `linear_probe`; or its
            hits, bool `(queries,)`, one for each that was given, where it was trained
            on other features.
        normalize: Whether similarity is the cosine, or the inner product.
        confidence: Of the intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Called as `progress(what, done, total)`, in queries.
        ignore_label: Queries and gallery rows of this label are left out; `None`: none
            is.

    Returns:
        A `Measurement`.

    Raises:
        ValueError: As in `retrieval`.
    """
    per_query: dict[str, Any] = {}
    hits_given = None if probe is None or isinstance(probe, bool) else probe
    remaining, labels, asked, ids, hits_given = without_ignored(
        ignore_label, "labels", labels, queries=queries, ids=ids, probe=hits_given
    )
    rows, gallery_labels, gallery_ids = gallery_without_ignored(
        ignore_label, gallery, gallery_labels, gallery_ids
    )
    room = len(rows) - (ids is not None)
    knn = [k for k in knn if k <= room]
    if knn:
        hits = weighted_knn_hits(
            asked,
            labels,
            rows,
            gallery_labels,
            knn,
            temperature,
            ids,
            gallery_ids,
            normalize,
            progress=_named(progress, "votes"),
        )
        per_query.update({f"knn_{k}": np.float64(hits[k]) for k in knn})
    if probe is True:
        hits_given = linear_probe_hits(rows, gallery_labels, asked, labels)
    if hits_given is not None:
        per_query["linear_probe"] = np.float64(hits_given)
    found = retrieval(
        asked,
        labels,
        rows,
        gallery_labels,
        ids,
        gallery_ids,
        [k for k in ks if k <= room],
        normalize,
        progress=_named(progress, "ranking"),
    )
    per_query.update(_of_all(found, len(asked)))
    return _measurement(
        "seen",
        per_query,
        {},
        len(rows),
        found.lone,
        confidence,
        resamples,
        seed,
        remaining,
    )


def measure_unseen(
    embeddings: Rows,
    labels: Labels,
    ks: Sequence[int] = KS,
    cluster: dict[str, Any] | None = None,
    normalize: bool = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    progress: Callable[[str, int, int], object] | None = None,
    ignore_label: Label | None = None,
) -> Measurement:
    """Measures on classes that were not trained on: each row among all others.

    >>> from tfembed.metrics import measure_unseen
    >>> rng, labels = np.random.default_rng(0), np.arange(100) % 10
    >>> embeddings = np.eye(10)[labels] + rng.normal(0, 0.3, (100, 10))
    >>> measured = measure_unseen(embeddings, labels, ks=(1, 5))
    >>> low, high = measured.intervals["R@1"]
    >>> low <= measured.values["R@1"] <= high
    True

    Args:
        embeddings: `(queries, dim)`, float.
        labels: `(queries,)`.
        ks: Ranks of recall and precision; those that no row can reach are left out.
        cluster: Dictionary of arguments of `clustering`, for NMI and AMI; `None` for
            neither. With thousands of classes k-means takes long.
        normalize: Whether similarity is the cosine, or the inner product.
        confidence: Of the intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Called as `progress(what, done, total)`, in queries.
        ignore_label: Rows of this label are left out; `None`: none is.

    Returns:
        A `Measurement`.

    Raises:
        ValueError: As in `retrieval`.
    """
    remaining, labels, rows = without_ignored(
        ignore_label, "labels", labels, embeddings=embeddings
    )
    found = retrieval(
        rows,
        labels,
        ks=[k for k in ks if k < len(rows)],
        normalize=normalize,
        progress=_named(progress, "ranking"),
    )
    more = {}
    if cluster is not None:
        more = clustering(rows, labels, normalize=normalize, **cluster)
    count = len(rows)
    return _measurement(
        "unseen",
        _of_all(found, count),
        more,
        count,
        found.lone,
        confidence,
        resamples,
        seed,
        remaining,
    )


def _measurement(
    protocol,
    per_query,
    more,
    gallery,
    lone,
    confidence,
    resamples,
    seed,
    remaining,
):
    values = {
        name: float(np.mean(column[np.isfinite(column)]))
        if np.isfinite(column).any()
        else float("nan")
        for name, column in per_query.items()
    }
    return Measurement(
        protocol,
        {**values, **more},
        bootstrap_intervals(per_query, confidence, resamples, seed),
        {name: _spread(column, remaining) for name, column in per_query.items()},
        len(next(iter(per_query.values()))),
        gallery,
        lone,
    )


def _spread(column, remaining):
    """Puts the values of the queries that remain where these stood among all."""
    everywhere = np.full(len(remaining), np.nan)
    everywhere[remaining] = column
    return everywhere


def _of_all(found, count):
    """Returns what was found for each of all queries, NaN for those without."""
    columns = {}
    for name, values in found.per_query().items():
        columns[name] = np.full(count, np.nan)
        columns[name][found.queries] = values
    return columns


def _named(progress, what):
    return None if progress is None else lambda *counts: progress(what, *counts)
