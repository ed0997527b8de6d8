"""What a head is built into, and what every head asks of a gallery."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class HeadState:
    """Everything that a head knows of a gallery.

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
    if (
        embeddings.ndim != 2
        or not embeddings.size
        or embeddings.dtype.kind not in "fiu"
    ):
        raise ValueError(
            "`embeddings` must be a table (rows, dim) of numbers, with at least one "
            f"row. Received: shape {embeddings.shape}, dtype {embeddings.dtype}."
        )
    if len(embeddings) >= 2**31:
        raise ValueError(
            "Rows are counted by int32: a gallery has fewer than 2**31 rows. "
            f"Received: {len(embeddings):,} rows. Split it into several models."
        )
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    for start in range(0, len(embeddings), 1 << 16):
        part = embeddings[start : start + (1 << 16)]
        if not np.isfinite(part).all():
            row = start + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            raise ValueError(
                "`embeddings` must be finite. Received: row "
                f"{row} with {embeddings[row][~np.isfinite(embeddings[row])][0]}."
            )
    return embeddings


def check_k(k):
    """Refuses what is no number of neighbours.

    Raises:
        ValueError: If `k` is no positive integer.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"`k` must be a positive integer. Received: k={k!r}.")


def check_recall(recall):
    """Refuses what is no share of the nearest rows.

    Raises:
        ValueError: If `recall` is not above 0 and at most 1.
    """
    number = isinstance(recall, (int, float, np.number)) and recall is not True
    if not number or not 0 < recall <= 1:
        raise ValueError(
            "`recall` must be above 0 and at most 1: the share of the nearest rows "
            f"that a search finds. Received: recall={recall!r}."
        )
