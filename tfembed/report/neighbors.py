"""What images find: their neighbours, right or wrong, and what is confused."""

import dataclasses

import numpy as np

from tfembed.formats.unit_rows import unit_rows
from tfembed.metrics import nearest

K = 10
MOST_QUERIES = 10000
# Pairs: of so many queries, each with so many gallery images, and with so many of its
# own class.
PAIR_QUERIES, PAIR_GALLERY, PAIR_MATES = 500, 2000, 200


@dataclasses.dataclass(frozen=True)
class Search:
    """The nearest gallery images of a run's queries, or of a sample of them.

    Attributes:
        queries: Rows of the queries that were looked up, ascending, `(q,)`.
        rows: Gallery rows, nearest first, `(q, k)`.
        scores: Their cosines `(q, k)`.
        labels: Labels of the queries `(q,)`.
        found: Labels of the neighbours `(q, k)`.
        vote: Label that the weighted vote of the k gives `(q,)`; -1 where no
            neighbour has one.
        share: The query's own class's share of that vote `(q,)`.
        findable: Whether the gallery has another image of its class at all `(q,)`.
    """

    queries: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    found: np.ndarray
    vote: np.ndarray
    share: np.ndarray
    findable: np.ndarray

    @property
    def right(self):
        """Whether a neighbour is of the query's class `(q, k)`; unknown is not."""
        return (self.found == self.labels[:, None]) & (self.labels[:, None] >= 0)

    def random(self, count, seed=0):
        """Returns `count` positions, drawn without looking at what they found."""
        size = len(self.queries)
        return np.random.default_rng(seed).permutation(size)[:count]

    def worst(self, count):
        """Returns the positions of the `count` worst queries, worst first.

        The smallest share of their own class in the vote; among equal ones those
        whose nearest wrong neighbour is the nearest. Without labels, those whose
        nearest neighbour is the farthest.
        """
        if not self.findable.any():
            return np.argsort(self.scores[:, 0], kind="stable")[:count]
        wrong = np.where(self.right, -np.inf, self.scores).max(axis=1)
        order = np.lexsort((-wrong, self.share))
        return order[self.findable[order]][:count]


def search(run, seed=0, most=MOST_QUERIES, k=K):
    """Looks up a run's queries in its gallery, by cosine, exactly.

    Without queries of its own the gallery searches itself, an image not finding
    itself. A query that stands in the gallery by its id is left out likewise.

    Args:
        run: A `Run` with a gallery.
        seed: Of the sample, where there are more than `most` queries.
        most: Queries that are looked up.
        k: Neighbours, fewer in a smaller gallery.

    Returns:
        A `Search`.
    """
    judged, gallery = run.judged, run.gallery
    rows = np.arange(judged.size)
    if judged.size > most:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    itself = _own_rows(judged.ids[rows], gallery.ids)
    if run.queries is None:
        itself = rows
    finds_itself = bool((itself >= 0).any())
    k = max(1, min(k, gallery.size - finds_itself))
    look = min(gallery.size, k + finds_itself)
    scores, found = nearest(judged.embeddings[rows], gallery.embeddings, look)
    order = np.argsort(found == itself[:, None], axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(found, order, axis=1)
    scores = np.take_along_axis(scores, order, axis=1)
    labels, their = judged.labels[rows], gallery.labels[found]
    vote, share = _vote(scores, their, labels, run.vote_temperature)
    known, counts = np.unique(gallery.labels, return_counts=True)
    at = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    others = np.where(known[at] == labels, counts[at], 0)
    others -= (itself >= 0) & (gallery.labels[itself] == labels)
    findable = (labels >= 0) & (others > 0)
    return Search(rows, found, scores, labels, their, vote, share, findable)


def _own_rows(ids, gallery_ids):
    """Returns each query's own gallery row, -1 where it has none."""
    where = {str(name): row for row, name in enumerate(gallery_ids)}
    return np.array([where.get(str(name), -1) for name in ids], np.int64)


def _vote(scores, found, labels, temperature):
    """Returns the label with the most weight, and the own label's share of all."""
    weights = np.exp((scores - scores[:, :1]) / temperature) * (found >= 0)
    total = np.maximum(weights.sum(axis=1), 1e-30)
    same = found[:, :, None] == found[:, None, :]
    each = (weights[:, None, :] * same).sum(axis=2)  # its label's weight
    each = np.where(found >= 0, each, -1)
    best = each.max(axis=1, keepdims=True)
    tied = np.where(each >= best * (1 - 1e-6), found, np.iinfo(np.int64).max)
    vote = np.where(best[:, 0] >= 0, tied.min(axis=1), -1)
    own = (weights * (found == labels[:, None])).sum(axis=1)
    return vote, np.where(labels >= 0, own / total, np.nan)


def confusions(search):
    """Counts which class the nearest neighbour is of.

    Args:
        search: A `Search`.

    Returns:
        The labels that occur `(c,)`, ascending, and counts `(c, c)`: row the query's
        class, column its nearest neighbour's. Queries that could find no image of
        their class are left out.
    """
    use = search.findable & (search.found[:, 0] >= 0)
    labels, nearest_labels = search.labels[use], search.found[use, 0]
    classes = np.unique(np.concatenate([labels, nearest_labels]))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    at = np.searchsorted(classes, labels), np.searchsorted(classes, nearest_labels)
    np.add.at(counts, at, 1)
    return classes, counts


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A class that is taken for another one.

    Attributes:
        label: The class.
        taken_for: The class of the nearest neighbours.
        count: How many queries of the class.
        queries: Of so many.
        example: Position in the search of the one whose wrong neighbour is nearest.
    """

    label: int
    taken_for: int
    count: int
    queries: int
    example: int


def most_confused(search, count=8):
    """Returns the `count` pairs of classes that are confused most often.

    Args:
        search: A `Search`.
        count: How many.
    """
    use = np.flatnonzero(search.findable & (search.found[:, 0] >= 0))
    labels, taken = search.labels[use], search.found[use, 0]
    totals = dict(zip(*np.unique(labels, return_counts=True)))
    wrong = labels != taken
    pairs, sizes = np.unique(
        np.stack([labels[wrong], taken[wrong]], axis=1), axis=0, return_counts=True
    )
    found = []
    for (label, other), size in zip(pairs, sizes):
        mine = use[(labels == label) & (taken == other)]
        example = mine[np.argmax(search.scores[mine, 0])]
        found.append(
            Confusion(int(label), int(other), int(size), int(totals[label]), example)
        )
    found.sort(key=lambda each: (-each.count, each.queries))
    return found[:count]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Cosines of pairs of a query and a gallery image.

    Attributes:
        positive: Of the same class, or, without labels, nearest neighbours.
        negative: Of different classes, or, without labels, any pairs.
        labelled: Which of both.
        separation: Probability that a positive pair is more alike than a negative
            one, the area under the ROC curve; NaN where one kind is missing.
    """

    positive: np.ndarray
    negative: np.ndarray
    labelled: bool
    separation: float


def pairs(run, search, seed=0):
    """Takes the cosines of pairs of a sample of queries and of the gallery.

    Args:
        run: A `Run` with a gallery.
        search: Its `Search`.
        seed: Of the samples.

    Returns:
        A `Pairs`.
    """
    from sklearn.metrics import roc_auc_score

    gallery = run.gallery
    generator = np.random.default_rng(seed)
    at = generator.permutation(len(search.queries))[:PAIR_QUERIES]
    columns = generator.permutation(gallery.size)[:PAIR_GALLERY]
    rows = search.queries[at]
    queries = unit_rows(run.judged.embeddings[rows])
    ids, labels = run.judged.ids[rows], search.labels[at]
    cosines = queries @ unit_rows(gallery.embeddings[columns]).T
    other = ids[:, None] != gallery.ids[columns]
    if not run.labelled:
        return Pairs(search.scores[at, 0], cosines[other], False, float("nan"))
    theirs = gallery.labels[columns]
    known = (labels[:, None] >= 0) & (theirs >= 0)
    negative = cosines[other & known & (labels[:, None] != theirs)]
    order = np.argsort(gallery.labels, kind="stable")
    ordered = gallery.labels[order]
    positive = [np.zeros(0, np.float32)]
    for query, name, label in zip(queries, ids, labels):
        if label >= 0:
            bounds = np.searchsorted(ordered, [label, label + 1])
            mates = generator.permutation(order[slice(*bounds)])[:PAIR_MATES]
            mates = mates[gallery.ids[mates] != name]
            positive.append(unit_rows(gallery.embeddings[mates]) @ query)
    positive = np.concatenate(positive)
    separation = float("nan")
    if len(positive) and len(negative):
        separation = roc_auc_score(
            np.repeat([1, 0], [len(positive), len(negative)]),
            np.concatenate([positive, negative]),
        )
    return Pairs(positive, negative, True, float(separation))
