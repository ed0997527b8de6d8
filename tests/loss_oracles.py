"""Loops over rows, in float64, that the oracles of the losses share."""

import numpy as np


def unit(x):
    """`x / |x|`; zero for a zero vector."""
    length = np.sqrt(np.sum(np.float64(x) ** 2))
    return np.float64(x) / length if length**2 > 1e-12 else np.zeros(np.shape(x))


def squared(a, b):
    """`|a - b|^2`."""
    return float(np.sum((np.float64(a) - np.float64(b)) ** 2))


def distance(a, b):
    """`|a - b|`."""
    return np.sqrt(squared(a, b))


def sides(i, labels, ref_labels):
    """Indices of row i's positives and negatives; it leaves itself out."""
    closed = ref_labels is None
    others = labels if closed else ref_labels
    positives = [
        j
        for j in range(len(others))
        if others[j] == labels[i] and not (closed and j == i)
    ]
    negatives = [j for j in range(len(others)) if others[j] != labels[i]]
    return positives, negatives


def by_row(row):
    """An oracle from `row(i, x, positives, negatives, refs)`, the loss of row i."""

    def oracle(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        return np.array(
            [row(i, x, *sides(i, labels, ref_labels), refs) for i in range(len(x))],
            np.float64,
        )

    return oracle


def over_all_terms(terms):
    """An oracle from `terms(i, x, positives, negatives, refs)`, a list: row i's terms.

    Row i is the sum of its terms times batch / number of all terms.
    """

    def oracle(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = np.float64(embeddings)
        refs = x if ref_embeddings is None else np.float64(ref_embeddings)
        rows = [terms(i, x, *sides(i, labels, ref_labels), refs) for i in range(len(x))]
        count = sum(len(row) for row in rows)
        return np.array(
            [sum(row) * len(x) / count if count else 0.0 for row in rows], np.float64
        )

    return oracle
