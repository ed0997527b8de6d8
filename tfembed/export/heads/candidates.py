"""The best of rows that a coarser search has found, by their own scores."""

import tensorflow as tf


def best_candidates(rows, score, k):
    """Scores rows again, and returns the best of them.

    Args:
        rows: `(batch, candidates)`, int32, each once.
        score: Function of such rows that returns their scores, float32.
        k: Scalar int32 tensor, from 1 to the number of candidates.

    Returns:
        Scores `(batch, k)`, largest first, and rows `(batch, k)`; equal scores go to
        the lowest row.
    """
    rows = tf.sort(rows, axis=1)  # so that of equal scores the lowest row comes first
    scores, places = tf.math.top_k(score(rows), k)
    return scores, tf.gather(rows, places, batch_dims=1)
