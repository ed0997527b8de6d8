"""How well the neighbours of an embedding share its class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfembed.formats.unit_rows import unit_rows
from tfembed.hints import Label, Labels, Rows
from tfembed.metrics.labels import gallery_without_ignored, without_ignored
from tfembed.metrics.nearest import check_embeddings, rows_of_ids
from tfembed.metrics.ranking import SCORE_BYTES, ranked_in_chunks
from tfembed.ops.arguments import as_count


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """What `retrieval` found, query by query.

    A query whose class has no other row in the gallery cannot find anything: it is in
    no average, and counted in `lone`.

    >>> from tfembed.metrics import retrieval
    >>> embeddings = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> found = retrieval(embeddings, ["shoe", "shoe", "bag"], ks=(1,))
    >>> found.queries.tolist(), found.recall[1].tolist(), found.lone
    ([0, 1], [1.0, 1.0], 1)

    Attributes:
        queries: Positions, among all that were given, of the queries that count, int64
            `(counted,)`.
        recall: `{k: (counted,)}`, 1.0 where a row of the class is among the nearest
            k, else 0.0.
        precision: `{k: (counted,)}`, the share of the class among the nearest k.
        r_precision: `(counted,)`, the same at k = R, the number of rows of the class
            in the gallery.
        map_at_r: `(counted,)`, the mean over the ranks i = 1..R of the precision at
            i where rank i is right, and 0 where it is not.
        reciprocal_rank: `(counted,)`, 1 / rank of the first row of the class.
        lone: Number of queries that do not count.
    """

    queries: np.ndarray
    recall: dict[int, np.ndarray]
    precision: dict[int, np.ndarray]
    r_precision: np.ndarray
    map_at_r: np.ndarray
    reciprocal_rank: np.ndarray
    lone: int

    def per_query(self) -> dict[str, np.ndarray]:
        """Returns `{name: (counted,)}`, with the names of the literature."""
        return {
            **{f"R@{k}": values for k, values in self.recall.items()},
            **{f"P@{k}": values for k, values in self.precision.items() if k > 1},
            "R-precision": self.r_precision,
            "MAP@R": self.map_at_r,
            "MRR": self.reciprocal_rank,
        }

    def means(self) -> dict[str, float]:
        """Returns `{name: mean over the queries}`; NaN where no query counts."""
        return {
            name: float(np.mean(values)) if len(values) else float("nan")
            for name, values in self.per_query().items()
        }


def retrieval(
    embeddings: Rows,
    labels: Labels,
    gallery: Rows | None = None,
    gallery_labels: Labels | None = None,
    ids: Labels | None = None,
    gallery_ids: Labels | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
    normalize: bool = True,
    score_bytes: int = SCORE_BYTES,
    progress: Callable[[int, int], object] | None = None,
    ignore_label: Label | None = None,
) -> Retrieval:
    """Measures Recall@k, Precision@k, R-precision, MAP@R and MRR, exactly.

    Without a gallery each row searches among all others. With one, a gallery row of
    the query's own id is left out: nothing finds itself. Equal similarities are
    ranked by their row, the lowest first, and equal rows are equally similar. The
    nearest `max(ks, R)` rows of a query are looked at, R being its class's size, in
    chunks of queries, on the processors.

    >>> from tfembed.metrics import retrieval
    >>> embeddings = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.7, 0.3]])
    >>> found = retrieval(embeddings, ["shoe", "shoe", "bag", "bag"], ks=(1, 3))
    >>> {name: round(float(value), 4) for name, value in found.means().items()}
    {'R@1': 0.75, 'R@3': 1.0, 'P@3': 0.3333, 'R-precision': 0.75, ...}

    Args:
        embeddings: `(queries, dim)`, float.
        labels: `(queries,)`, of any type that NumPy can sort.
        gallery: `(size, dim)`, float; defaults to `embeddings`.
        gallery_labels: `(size,)`, with `gallery`.
        ids: `(queries,)`, with `gallery_ids`: which queries stand in the gallery.
        gallery_ids: `(size,)`, each once.
        ks: Ranks of recall and precision, at most the gallery's size less one.
        normalize: Whether similarity is the cosine, or the inner product.
        score_bytes: Bound on the scores that stand in memory at a time.
        progress: Called as `progress(done, total)`, in queries, after each chunk.
        ignore_label: Queries and gallery rows of this label are left out; `None`: none
            is.

    Returns:
        A `Retrieval`.

    Raises:
        ValueError: If shapes do not fit together, labels are one-hot rows, an id stands
            in the gallery twice, or a k is out of range.

    Reference: Musgrave et al., 2020, section 4.2 (https://arxiv.org/abs/2003.08505).
    """
    own = gallery is None
    queries = check_embeddings("embeddings", embeddings)
    if own != (gallery_labels is None):
        raise ValueError(
            "`gallery` and `gallery_labels` come together, or not at all. Received: "
            f"{'gallery_labels' if own else 'gallery'} alone."
        )
    remaining, labels, queries, ids = without_ignored(
        ignore_label, "labels", labels, queries=queries, ids=None if own else ids
    )
    if own:
        gallery, gallery_labels = queries, labels
    else:
        gallery = check_embeddings("gallery", gallery)
        gallery, gallery_labels, gallery_ids = gallery_without_ignored(
            ignore_label, gallery, gallery_labels, gallery_ids
        )
    codes, gallery_codes = _codes(labels, gallery_labels, own)
    itself = np.arange(len(queries))
    if not own:
        itself = rows_of_ids(ids, gallery_ids, queries, gallery)
    finds_itself = itself >= 0
    sizes = np.bincount(gallery_codes, minlength=codes.max(initial=-1) + 1)
    relevant = sizes[codes]
    relevant -= finds_itself & (gallery_codes[itself] == codes)
    most = len(gallery_codes) - int(finds_itself.any())
    note = ", the number of rows a query can find"
    ks = sorted({as_count("ks", k, 1, most, note) for k in ks})
    counted = np.flatnonzero(relevant > 0)
    total = len(counted)
    found: dict[str, Any] = {
        "recall": {k: np.zeros(total) for k in ks},
        "precision": {k: np.zeros(total) for k in ks},
        "r_precision": np.zeros(total),
        "map_at_r": np.zeros(total),
        "reciprocal_rank": np.zeros(total),
    }
    if normalize:
        unit = unit_rows(gallery)
        queries, gallery = unit if own else unit_rows(queries), unit
    # Queries that look equally deep stand together.
    deepest = counted[np.argsort(relevant[counted], kind="stable")]
    place = np.empty(len(queries), np.int64)
    place[counted] = np.arange(total)
    for rows, right, first in ranked_in_chunks(
        queries,
        gallery,
        codes,
        gallery_codes,
        itself,
        deepest,
        np.minimum(np.maximum(relevant[deepest], max(ks, default=1)), most),
        score_bytes,
        progress,
    ):
        _measure(right, first, relevant[rows], place[rows], ks, found)
    return Retrieval(
        queries=np.flatnonzero(remaining)[counted], lone=len(queries) - total, **found
    )


def _codes(labels, gallery_labels, own):
    """Numbers the classes of both sides alike."""
    sides = [labels] if own else [labels, gallery_labels]
    _, codes = np.unique(np.concatenate(sides), return_inverse=True)
    codes = codes.reshape(-1)
    return codes[: len(labels)], codes if own else codes[len(labels) :]


def _measure(right, first, relevant, place, ks, found):
    """Writes what the neighbours of some queries are worth."""
    hits = np.cumsum(right, axis=1, dtype=np.int32)
    ranks = np.arange(1, right.shape[1] + 1)
    for k in ks:
        found["recall"][k][place] = hits[:, k - 1] > 0
        found["precision"][k][place] = hits[:, k - 1] / k
    last = np.minimum(relevant, right.shape[1]) - 1
    found["r_precision"][place] = hits[np.arange(len(hits)), last] / relevant
    inside = right & (ranks <= relevant[:, None])
    found["map_at_r"][place] = np.sum(inside * (hits / ranks), axis=1) / relevant
    found["reciprocal_rank"][place] = 1 / first
