"""What a search has to answer, in NumPy: it shares no code with the graph."""

import numpy as np

_ROWS = 1 << 16


def nearest(queries, embeddings, count, remains=None):
    """Finds the rows with the largest inner products.

    Args:
        queries: `(q, d)`.
        embeddings: `(n, d)`, read a part at a time.
        count: Rows wanted, at most n.
        remains: Function of `(start, stop)` that tells which of these rows count, bool
            `(q, stop - start)`; `None`: all.

    Returns:
        float64 cosines `(q, count)`, largest first, and rows `(q, count)`; equal ones
        in row order. -inf and -1 where fewer remain.
    """
    queries = np.asarray(queries, np.float64)
    scores = np.full((len(queries), count), -np.inf)
    rows = np.full((len(queries), count), -1)
    for start in range(0, len(embeddings), _ROWS):
        part = embeddings[start : start + _ROWS].astype(np.float64)
        here = queries @ part.T
        if remains is not None:
            here = np.where(remains(start, start + len(part)), here, -np.inf)
        places = np.broadcast_to(start + np.arange(len(part)), here.shape)
        scores, rows = (np.hstack(pair) for pair in ((scores, here), (rows, places)))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        scores = np.take_along_axis(scores, order, 1)
        rows = np.take_along_axis(rows, order, 1)
    there = np.isfinite(scores)
    scores = np.where(there, np.clip(scores, -1, 1), scores)
    return scores, np.where(there, rows, -1)


def shares_of_classes(scores, labels, classes, temperature):
    """Returns each class's share of the weighted vote of one query's neighbours.

    Args:
        scores: `(k,)`.
        labels: `(k,)`, negative ones do not vote.
        classes: Number of classes.
        temperature: Of the vote.

    Returns:
        float64 `(classes,)`, summing to 1, or zeros without a vote.
    """
    shares = np.zeros(classes)
    votes = labels >= 0
    if not votes.any():
        return shares
    weights = np.exp((scores - scores.max()) / temperature)
    np.add.at(shares, labels[votes], weights[votes])
    return shares / shares.sum()
