"""Classification by the weighted vote of the nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import tensorflow as tf

from tfembed.hints import Label, Labels, Rows
from tfembed.metrics.labels import gallery_without_ignored, without_ignored
from tfembed.metrics.nearest import (
    SCORE_BYTES,
    check_k,
    nearest_in_chunks,
    rows_of_ids,
)
from tfembed.ops.arguments import as_number
from tfembed.ops.vote import weighted_vote


@overload
def weighted_knn(
    queries: Rows,
    gallery: Rows,
    gallery_labels: Labels,
    k: int = 200,
    temperature: float = 0.07,
    normalize: bool = True,
    score_bytes: int = SCORE_BYTES,
    ignore_label: Label | None = None,
) -> np.ndarray: ...


@overload
def weighted_knn(
    queries: Rows,
    gallery: Rows,
    gallery_labels: Labels,
    k: Sequence[int],
    temperature: float = 0.07,
    normalize: bool = True,
    score_bytes: int = SCORE_BYTES,
    ignore_label: Label | None = None,
) -> dict[int, np.ndarray]: ...


def weighted_knn(
    queries: Rows,
    gallery: Rows,
    gallery_labels: Labels,
    k: Any = 200,
    temperature: float = 0.07,
    normalize: bool = True,
    score_bytes: int = SCORE_BYTES,
    ignore_label: Label | None = None,
) -> Any:
    """Predicts each query's class by its `k` nearest gallery rows.

        weight[c] = sum{ exp(similarity[i] / temperature) : labels[i] == c }

    over the k nearest rows; the class of largest weight wins. Exact and stable:
    equal similarities go to the lowest row, equal weights to the lowest label.
    Memory is bounded by `score_bytes` for any `k` up to the gallery's size.

    >>> from tfembed.metrics import weighted_knn
    >>> gallery = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> labels = np.array(["shoe", "shoe", "bag"])
    >>> weighted_knn([[0.8, 0.2], [0.1, 0.9]], gallery, labels, k=2).tolist()
    ['shoe', 'bag']

    Args:
        queries: `(queries, dim)`, float.
        gallery: `(size, dim)`, float.
        gallery_labels: `(size,)`, of any type that NumPy can sort.
        k: Number of neighbours, or a sequence of such numbers, which costs no more
            than the largest of them alone.
        temperature: Positive; the paper's 0.07 for ImageNet, its code's 0.1 for
            CIFAR-10.
        normalize: Whether similarity is the cosine, or the inner product.
        score_bytes: Bound on the scores that stand in memory at a time.
        ignore_label: Gallery rows of this label are left out; `None`: none is.

    Returns:
        Predicted labels `(queries,)` in the dtype of `gallery_labels`; for a
        sequence of k, a dictionary from k to these.

    Raises:
        ValueError: If shapes do not fit, labels are one-hot rows, or `k` or
            `temperature` is out of range.

    Reference: Wu et al., 2018, section 3.4 (https://arxiv.org/abs/1805.01978).
    """
    ks = [k] if np.ndim(k) == 0 else list(k)
    gallery, gallery_labels, _ = gallery_without_ignored(
        ignore_label, gallery, gallery_labels
    )
    predictions = _predict(
        queries, gallery, gallery_labels, ks, temperature, normalize, score_bytes
    )
    return predictions if np.ndim(k) else predictions[ks[0]]


def weighted_knn_hits(
    queries: Rows,
    labels: Labels,
    gallery: Rows,
    gallery_labels: Labels,
    ks: Sequence[int] = (10, 200),
    temperature: float = 0.07,
    ids: Labels | None = None,
    gallery_ids: Labels | None = None,
    normalize: bool = True,
    score_bytes: int = SCORE_BYTES,
    progress: Callable[[int, int], object] | None = None,
    ignore_label: Label | None = None,
) -> dict[int, np.ndarray]:
    """Tells which queries `weighted_knn` classifies rightly; the mean is the accuracy.

    >>> from tfembed.metrics import weighted_knn_hits
    >>> gallery = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> queries = np.array([[0.8, 0.2], [0.1, 0.9]])
    >>> hits = weighted_knn_hits(queries, [0, 0], gallery, [0, 0, 1], ks=(1, 2))
    >>> hits[1].tolist(), hits[2].tolist()
    ([True, False], [True, False])

    Args:
        queries: `(queries, dim)`, float.
        labels: `(queries,)`, their true classes, of the type of `gallery_labels`.
        gallery: `(size, dim)`, float.
        gallery_labels: `(size,)`.
        ks: Numbers of neighbours.
        temperature: As in `weighted_knn`.
        ids: `(queries,)`, with `gallery_ids`: the gallery row of a query's own id has
            no vote.
        gallery_ids: `(size,)`, each once.
        normalize: As in `weighted_knn`.
        score_bytes: As in `weighted_knn`.
        progress: Called as `progress(done, total)`, in queries, after each chunk.
        ignore_label: Queries and gallery rows of this label are left out; `None`: none
            is.

    Returns:
        `{k: bool (queries,)}`, of the queries that remain.

    Raises:
        ValueError: As in `weighted_knn`, and if a query has no label or id.
    """
    _, labels, queries, ids = without_ignored(
        ignore_label, "labels", labels, queries=queries, ids=ids
    )
    gallery, gallery_labels, gallery_ids = gallery_without_ignored(
        ignore_label, gallery, gallery_labels, gallery_ids
    )
    predictions = _predict(
        queries,
        gallery,
        gallery_labels,
        list(ks),
        temperature,
        normalize,
        score_bytes,
        rows_of_ids(ids, gallery_ids, queries, gallery),
        progress,
    )
    return {k: predicted == labels for k, predicted in predictions.items()}


def _predict(
    queries,
    gallery,
    labels,
    ks,
    temperature,
    normalize,
    score_bytes,
    itself=None,
    progress=None,
):
    as_number("temperature", temperature, above=0)
    some_stand_there = itself is not None and bool((itself >= 0).any())
    for each in ks or [0]:
        check_k(each, len(gallery) - some_stand_there)
    classes, codes = np.unique(labels, return_inverse=True)
    codes = codes.reshape(-1)
    queries = np.asarray(queries)
    winners = {each: np.empty(len(queries), np.int64) for each in ks}
    # A step holds scores (size), neighbours (k) and votes (classes) of a query.
    look = max(ks) + some_stand_there
    held = 4 * (len(labels) + 4 * look + len(classes))
    chunk = max(1, score_bytes // held)
    for part, scores, rows in nearest_in_chunks(
        queries, gallery, look, normalize, chunk
    ):
        if some_stand_there:
            others = np.argsort(rows == itself[part, None], axis=1, kind="stable")
            scores, rows = (
                np.take_along_axis(each, others, axis=1) for each in (scores, rows)
            )
        for each in ks:
            won, _ = weighted_vote(
                tf.constant(scores[:, :each]),
                tf.constant(codes[rows[:, :each]], tf.int64),
                len(classes),
                temperature,
            )
            winners[each][part] = won.numpy()
        if progress is not None:
            progress(min(part.stop, len(queries)), len(queries))
    return {each: classes[won] for each, won in winners.items()}
