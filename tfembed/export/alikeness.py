"""How alike the rows of a gallery are: a collapsed encoder makes all of them one."""

import warnings

import numpy as np

_ROWS = 1 << 16
_LEAST = 8  # rows that tell: two alike pictures are no collapse
MOST = 0.99


def mean_cosine(embeddings):
    """Returns the mean cosine of two different rows.

    Args:
        embeddings: float32 `(n, d)`, rows of length 1.

    Returns:
        A number from -1 to 1; `None` for fewer than two rows.
    """
    count, total, squares = len(embeddings), 0.0, 0.0
    if count < 2:
        return None
    for start in range(0, count, _ROWS):
        part = np.float64(embeddings[start : start + _ROWS])
        total = total + part.sum(axis=0)
        squares += np.sum(part * part)
    mean = (total @ total - squares) / (count * (count - 1))
    return float(np.clip(mean, -1, 1))


def describe_alikeness(gallery, say, silent):
    """Returns what the card says of it; a gallery of rows all alike is warned of.

    Args:
        gallery: A `tfembed.export.run_directory.Gallery`.
        say: Is called with the warning.
        silent: Whether nobody hears that; then it is a Python warning.

    Returns:
        `(mean cosine, warning)`, either may be `None`.
    """
    mean = mean_cosine(gallery.embeddings)
    if mean is None or gallery.size < _LEAST or mean <= MOST:
        return mean, None
    warning = (
        f"The rows of the gallery are nearly all alike: the mean cosine of two of the "
        f"{gallery.size:,} is {mean:.6g}. Its encoder has collapsed, or was never "
        "trained: neighbours, votes and the threshold of `known` say little."
    )
    say(f"WARNING: {warning}")
    if silent:
        warnings.warn(warning, stacklevel=3)
    return mean, warning
