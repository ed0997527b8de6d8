"""What the signature `query` has to answer: NumPy, float64, all rows walked down."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Question:
    """One row of a request; what is None is not asked for.

    Attributes:
        query: `(d,)`, an embedding.
        positive_ids: Ids; as `negative_ids`.
        positive_embeddings: `(m, d)`; as `negative_embeddings`.
        filters: `{name: list of strings}`.
    """

    query: object = None
    positive_ids: tuple = ()
    negative_ids: tuple = ()
    positive_embeddings: tuple = ()
    negative_embeddings: tuple = ()
    negative_weight: float = 0.5
    min_score: float = -1.0
    per_label: int = 2**31 - 1
    filters: dict = dataclasses.field(default_factory=dict)

    def looks_at_all(self, k):
        """Whether every row counts, whatever the head."""
        return bool(any(self.filters.values())) or self.per_label < k


def unit(rows):
    """Rows in float64 and of length 1."""
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def direction(question, gallery, stored):
    """The one query of all examples."""
    row_of = {name: row for row, name in enumerate(gallery.ids.tolist())}

    def examples(ids, embeddings):
        return [
            *(unit(stored[row_of[each]]) for each in ids),
            *(unit(each) for each in embeddings),
        ]

    positives = examples(question.positive_ids, question.positive_embeddings)
    negatives = examples(question.negative_ids, question.negative_embeddings)
    if question.query is not None:
        positives.append(unit(question.query))
    combined = np.mean(positives, axis=0)
    if negatives:
        combined = combined - question.negative_weight * np.mean(negatives, axis=0)
    return unit(combined)


def remaining(question, gallery):
    """Which rows may be found, bool `(n,)`: by filters, and because of the examples."""
    names = np.array([*gallery.class_names, ""])[gallery.labels]
    labelled = gallery.labels >= 0
    rows = ~np.isin(gallery.ids, [*question.positive_ids, *question.negative_ids])
    filters = {name: each for name, each in question.filters.items() if each}
    if "allow_ids" in filters:
        rows &= np.isin(gallery.ids, filters["allow_ids"])
    if "allow_labels" in filters:
        rows &= np.isin(names, filters["allow_labels"]) & labelled
    rows &= ~np.isin(gallery.ids, filters.get("exclude_ids", []))
    return rows & ~(np.isin(names, filters.get("exclude_labels", [])) & labelled)


def answer(question, gallery, stored, k, counts=None):
    """Walks down the whole ranking.

    Args:
        question: `Question`.
        gallery: `Gallery`.
        stored: `(n, d)`, the rows as the head keeps them.
        k: Neighbours of an answer.
        counts: Which rows the head looks at, bool `(n,)`; None for all.

    Returns:
        Rows that are found, their scores, and the shares of the classes.
    """
    scores = np.clip(
        stored.astype(np.float64) @ direction(question, gallery, stored), -1, 1
    )
    remains = remaining(question, gallery) & (scores >= question.min_score)
    if counts is not None and not question.looks_at_all(k):
        remains &= counts
    order = np.argsort(-scores, kind="stable")
    order = order[remains[order]]
    found, taken = [], {}
    for row in order:
        label = gallery.labels[row]
        # Each row without a label counts as of a label of its own.
        key = int(label) if label >= 0 else ("row", int(row))
        if len(found) < k and taken.get(key, 0) < question.per_label:
            found.append(int(row))
            taken[key] = taken.get(key, 0) + 1
    shares = np.zeros(len(gallery.class_names))
    for row in order[: gallery.vote_k]:
        if gallery.labels[row] >= 0:
            weight = np.exp(scores[row] / gallery.vote_temperature)
            shares[gallery.labels[row]] += weight
    return found, scores[found], shares / (shares.sum() or 1)


def as_inputs(questions, dim, image_bytes=None):
    """The inputs of the signature `query`, `{name: array}`."""
    count = len(questions)
    bare = np.zeros((count, dim), np.float32)
    for row, each in enumerate(questions):
        if each.query is not None:
            bare[row] = each.query

    def lines(lists):
        return np.array(["\n".join(each).encode() for each in lists], object)

    def numbers(rows):
        return np.asarray(rows, "<f4").tobytes() if len(rows) else b""

    inputs = {
        "image_bytes": np.array(image_bytes or [b""] * count, object),
        "embeddings": bare,
        "positive_ids": lines(each.positive_ids for each in questions),
        "negative_ids": lines(each.negative_ids for each in questions),
        "positive_embeddings": np.array(
            [numbers(each.positive_embeddings) for each in questions], object
        ),
        "negative_embeddings": np.array(
            [numbers(each.negative_embeddings) for each in questions], object
        ),
        "negative_weight": np.float32([each.negative_weight for each in questions]),
        "min_score": np.float32([each.min_score for each in questions]),
        "per_label": np.int32([each.per_label for each in questions]),
    }
    for name in ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels"):
        inputs[name] = lines(each.filters.get(name, ()) for each in questions)
    return inputs
