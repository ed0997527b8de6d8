"""Measures a subject by its protocol, and two of them against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfembed.evaluate.subject import Rows, Subject
from tfembed.metrics import Measurement, compare, measure_seen, measure_unseen
from tfembed.progress import Stages


def evaluate(
    subject: Subject,
    knn: Sequence[int] = (10, 200),
    temperature: float | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
    linear_probe: bool = False,
    cluster: dict[str, Any] | None = None,
    similarity: str = "cosine",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    say: Callable[[str], object] | None = None,
) -> Measurement:
    """Measures a `Subject` by its protocol.

    Args:
        subject: Of `find_subject`.
        knn: Numbers of neighbours that vote (seen classes).
        temperature: Of the vote; the subject's own, or 0.07, by default.
        ks: Ranks of recall and precision.
        linear_probe: Whether a linear probe is trained on the gallery's embeddings
            (seen classes).
        cluster: Dictionary of arguments of `tfembed.metrics.clustering`, for NMI and
            AMI (unseen classes); `None` for neither.
        similarity: `"cosine"` or `"inner_product"`.
        confidence: Of the intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        say: Given a line of progress now and then; `None` for none.

    Returns:
        A `tfembed.metrics.Measurement`.
    """
    queries: Rows = subject.queries
    gallery: Any = subject.gallery
    common: dict[str, Any] = {
        "ks": ks,
        "normalize": similarity == "cosine",
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
        "progress": Stages(say).step if say else None,
    }
    if subject.protocol == "unseen":
        return measure_unseen(
            queries.embeddings, queries.labels, cluster=cluster, **common
        )
    named = queries.ids is not None and gallery.ids is not None
    return measure_seen(
        queries.embeddings,
        queries.labels,
        gallery.embeddings,
        gallery.labels,
        ids=queries.ids if named else None,
        gallery_ids=gallery.ids if named else None,
        knn=knn,
        temperature=vote_temperature(subject, temperature),
        probe=linear_probe,
        **common,
    )


def vote_temperature(subject, temperature=None):
    """Returns the temperature that was asked for, the subject's own, or 0.07."""
    choices = (temperature, subject.temperature, 0.07)
    return next(choice for choice in choices if choice is not None)


def compare_subjects(subject, measured, other, others, **settings):
    """Compares two measurements on the queries that both have.

    Args:
        subject: A `Subject`.
        measured: Its `Measurement`.
        other: Another `Subject`, of the same protocol and queries.
        others: Its `Measurement`.
        **settings: Of `tfembed.metrics.compare`.

    Returns:
        `{name: tfembed.metrics.Comparison}`.

    Raises:
        ValueError: If the two are not of the same protocol and queries.
    """
    if subject.protocol != other.protocol:
        raise ValueError(
            "--compare needs the same protocol on both sides. Received: "
            f"{subject.name!r}, {subject.protocol} classes, and {other.name!r}, "
            f"{other.protocol} classes."
        )
    mine, theirs = subject.queries, other.queries
    named = mine.ids is not None and theirs.ids is not None
    ids = (mine.ids, theirs.ids) if named else (None, None)
    found = compare(
        measured.per_query,
        others.per_query,
        *ids,
        **settings,
    )
    pairs = slice(None), slice(None)
    if named:
        pairs = np.intersect1d(*ids, return_indices=True)[1:]
    if np.any(mine.labels[pairs[0]] != theirs.labels[pairs[1]]):
        raise ValueError(
            "--compare needs the same queries on both sides. Received: "
            f"{subject.name!r} and {other.name!r}, which give some of them other "
            "labels. Give both files `ids` that name the images."
        )
    return found
