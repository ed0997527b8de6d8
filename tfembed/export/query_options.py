"""The inputs of `query`, and the check of its numbers.

Each has one value a row, so that the requests of all callers have one shape, and each a
value that asks for nothing.
"""

import numpy as np
import tensorflow as tf

NO_LIMIT = 2**31 - 1
"""`per_label` of a question without such a limit."""


def check_options(min_score, per_label, negative_weight, problems):
    """Checks the options of each row of a batch.

    Args:
        min_score: float32 `(batch,)`: from -1, which leaves nothing out, to 1.
        per_label: int32 `(batch,)`: from 1; as many as an answer has, or more, leave
            nothing out.
        negative_weight: float32 `(batch,)`: from 0 to 1.
        problems: `Problems`, to which theirs are added.

    Returns:
        `per_label`, at least 1.
    """
    # So written that a score that is not a number is out of range.
    problems.add(
        ~((min_score >= -1) & (min_score <= 1)),
        "`min_score` must be from -1 to 1; -1 leaves nothing out. Received: ",
        min_score,
        ".",
    )
    problems.add(
        per_label < 1,
        "`per_label` must be at least 1; 2147483647 leaves nothing out. Received: ",
        per_label,
        ".",
    )
    problems.add(
        ~((negative_weight >= 0) & (negative_weight <= 1)),
        "`negative_weight` must be from 0 to 1. Received: ",
        negative_weight,
        ".",
    )
    return tf.maximum(per_label, 1)


def nothing_asked(count, dim):
    """Returns inputs of `query` that ask for nothing, to put what is asked into.

    Args:
        count: Rows.
        dim: Length of an embedding.

    Returns:
        `{name: NumPy array}`, in the order of the signature.
    """
    strings = ("positive_ids", "negative_ids")
    strings += ("positive_embeddings", "negative_embeddings")
    filters = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")
    return {
        "image_bytes": np.full(count, b"", object),
        "embeddings": np.zeros((count, dim), np.float32),
        **{name: np.full(count, b"", object) for name in strings},
        "negative_weight": np.full(count, 0.5, np.float32),
        "min_score": np.full(count, -1, np.float32),
        "per_label": np.full(count, NO_LIMIT, np.int32),
        **{name: np.full(count, b"", object) for name in filters},
    }
