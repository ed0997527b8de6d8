"""Which images are trained on, and which are evaluated on."""

import numpy as np

__all__ = ["hold_out_tenth", "select_training_rows"]


def select_training_rows(size, limit, holdout, order=None):
    """Chooses rows to train on, and rows beside them to evaluate on.

    Args:
        size: Number of training images.
        limit: Train on the first so many; `None` for all.
        holdout: Evaluate on so many of the images after those (with no limit: on the
            last ones). 0 for none.
        order: Integer array `[size]`, the order in which "first" and "after" count;
            `None` for 0..size-1.

    Returns:
        `(rows, held_out)`, sorted integer arrays without a row in common.

    Raises:
        ValueError: If there are too few images.
    """
    order = np.arange(size) if order is None else order
    count = min(size if limit is None else limit, size)
    if limit is None:
        count = size - holdout
    if count < 1 or count + holdout > size:
        raise ValueError(
            "`limit` and `holdout` together must not exceed the number of training "
            f"images, and leave one to train on. Received: limit={limit}, "
            f"holdout={holdout}, with {size} images. Lower one of the two."
        )
    return np.sort(order[:count]), np.sort(order[count : count + holdout])


def hold_out_tenth(size, labels, seed):
    """Splits off a seeded tenth, of each class where there are classes.

    Args:
        size: Number of images.
        labels: int64 `[size]`, or `None`.
        seed: Integer.

    Returns:
        `(rows, held_out)`, sorted integer arrays. A class of one image is trained on.
    """
    rng = np.random.default_rng([seed, 10])
    groups = [np.arange(size)]
    if labels is not None:
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    held_out = [rng.permutation(rows)[: _tenth(len(rows))] for rows in groups]
    held_out = np.sort(np.concatenate(held_out)) if held_out else np.arange(0)
    return np.setdiff1d(np.arange(size), held_out), held_out


def _tenth(count):
    return min(max(round(count / 10), 1), count - 1)
