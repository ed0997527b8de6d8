"""Near duplicates by brute force: all cosines in float64, components by scipy."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def cosines(embeddings):
    """Returns all cosines, float64 `[n, n]`, -1 on the diagonal; 0 with a zero row."""
    rows = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths > 0, lengths, 1)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -1)
    return scores


def groups(scores, threshold):
    """Returns the components of two rows and more, lists in the order of their rows."""
    first, second = np.nonzero(np.triu(scores, 1) >= threshold)
    kept = scores[first, second] >= threshold
    graph = coo_matrix((kept, (first, second)), shape=scores.shape)
    _, labels = connected_components(graph, directed=False)
    found = [
        np.flatnonzero(labels == label).tolist()
        for label in np.flatnonzero(np.bincount(labels) > 1)
    ]
    return sorted(found)


def between(scores, near, margin=1e-5):
    """Returns a threshold near a number that no score is within rounding of."""
    values = np.unique(scores[scores > near - 0.02])
    values = np.append(values[values < near + 0.02], near + 0.02)
    gaps = np.diff(values)
    wide = np.flatnonzero(gaps > 2 * margin)
    at = wide[np.argmin(np.abs(values[wide] - near))]
    return float(values[at] + gaps[at] / 2)
