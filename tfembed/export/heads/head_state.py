"""What a head is built into, and what every head asks of a gallery."""

import dataclasses

import numpy as np

from tfembed.ops.arguments import as_number, check_finite_rows, check_rows


@dataclasses.dataclass
class HeadState:
    """Everything that a head knows of a gallery.

    >>> from tfembed.export import HeadState
    >>> rows = np.eye(4, dtype="float32")
    >>> state = HeadState({"gallery_embeddings": rows}, {"exact": True})
    >>> state.arrays["gallery_embeddings"].shape
    (4, 4)

    Args:
        arrays: `{variable name: NumPy array}`. A variable has its array's dtype
            (`tf.as_dtype(array.dtype)`) and shape, with the first dimension free.
        card: What the model card says of the head: JSON values.
    """

    arrays: dict
    card: dict


def checked_embeddings(embeddings):
    """Returns a gallery's embeddings as float32, `(size, dim)`.

    Args:
        embeddings: Array of numbers.

    Raises:
        ValueError: If it is no table of finite numbers with a row.
    """
    embeddings = np.asarray(embeddings)
    check_rows("`embeddings`", embeddings, "fiu")
    if len(embeddings) >= 2**31:
        raise ValueError(
            "Rows are counted by int32: a gallery has fewer than 2**31 rows. "
            f"Received: {len(embeddings):,} rows. Split it into several models."
        )
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    check_finite_rows("`embeddings`", embeddings)
    return embeddings


def check_recall(recall):
    """Refuses what is no share of the nearest rows.

    Raises:
        ValueError: If `recall` is not above 0 and at most 1.
    """
    note = ": the share of the nearest rows that a search finds"
    as_number("recall", recall, above=0, most=1, note=note)
