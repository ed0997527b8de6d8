"""Columns of texts in NumPy's archives, however long one of the texts is.

A NumPy array of texts takes for each as much as the longest does. So columns are kept
as

| array | | |
|---|---|---|
| `metadata_names` | text `[m]` | the columns' names |
| `metadata_text` | uint8 `[bytes]` | all texts in UTF-8, column after column |
| `metadata_ends` | int64 `[m, n]` | where in it each text ends, and the next begins |

and in memory as a dictionary of a column's name to an object array of `str`, `[n]`.
"""

import numpy as np

__all__ = ["ARRAYS", "check_columns", "join_columns", "pack_columns", "unpack_columns"]

ARRAYS = ("metadata_names", "metadata_text", "metadata_ends")


def pack_columns(columns):
    """Returns the arrays that keep columns; none for no columns.

    Args:
        columns: Dictionary of name to texts `[n]`, all as many.
    """
    if not columns:
        return {}
    encoded = [
        [str(text).encode("utf-8", "surrogatepass") for text in values]
        for values in columns.values()
    ]
    lengths = np.array([[len(text) for text in values] for values in encoded], np.int64)
    ends = np.cumsum(lengths.reshape(-1)).reshape(lengths.shape)
    text = b"".join(b"".join(values) for values in encoded)
    return {
        "metadata_names": np.array([str(name) for name in columns], np.str_),
        "metadata_text": np.frombuffer(text, np.uint8),
        "metadata_ends": ends,
    }


def unpack_columns(arrays, count, source):
    """Returns the columns that arrays keep; none where the arrays are not there.

    Args:
        arrays: Mapping of names to arrays.
        count: How many rows there are.
        source: What to call it in an error.

    Returns:
        Dictionary of name to object array of `str`, `[count]`.

    Raises:
        ValueError: If the arrays are not what `pack_columns` makes.
    """
    there = [name for name in ARRAYS if name in arrays]
    if not there:
        return {}
    try:
        names, text, ends = (np.asarray(arrays[name]) for name in ARRAYS)
        right = (
            (names.dtype.kind, text.dtype, ends.dtype.kind) == ("U", np.uint8, "i")
            and (names.ndim, text.ndim) == (1, 1)
            and ends.shape == (len(names), count)
            and len(set(names.tolist())) == len(names)
        )
        flat = np.concatenate([[0], ends.reshape(-1)]) if right else None
        right = right and (np.diff(flat) >= 0).all() and flat[-1] == len(text)
        data = text.tobytes()
        texts = [
            data[start:end].decode("utf-8", "surrogatepass")
            for start, end in zip(flat[:-1].tolist(), flat[1:].tolist())
        ]
    except (KeyError, TypeError, UnicodeDecodeError):
        right = False
    if not right:
        raise ValueError(
            f"{source}: `metadata_names`, `metadata_text` and `metadata_ends` must be "
            f"the columns of texts, of {count:,} rows, that tfembed.embed writes. "
            "Received: others. Leave all three out, or embed again."
        )
    return {
        name: _objects(texts[number * count : (number + 1) * count])
        for number, name in enumerate(names.tolist())
    }


def check_columns(columns, count, source):
    """Returns a person's own columns as `unpack_columns` does.

    Args:
        columns: Mapping of name to texts, `[count]`.
        count: How many rows there are.
        source: What to call it in an error.

    Raises:
        ValueError: If it is no such mapping.
    """
    if not hasattr(columns, "items"):
        raise ValueError(
            f"{source}: `metadata` must be a mapping of a column's name to its texts. "
            f"Received: {type(columns).__name__}."
        )
    found = {}
    for name, values in columns.items():
        values = [] if isinstance(values, str) else list(values)
        strange = [each for each in values if not isinstance(each, str)]
        if len(values) != count or strange or not isinstance(name, str):
            what = f"{len(values):,} of them"
            if strange:
                what = f"{strange[0]!r} of type {type(strange[0]).__name__}"
            raise ValueError(
                f"{source}: each column of `metadata` must have a text for a name, and "
                f"one for each of the {count:,} rows, empty where unknown. "
                f"Received: {name!r} with {what}."
            )
        found[name] = _objects([str(each) for each in values])
    return found


def join_columns(parts):
    """Joins the columns of several parts; a text that a part lacks is empty.

    Args:
        parts: List of `(columns, count)`.

    Returns:
        Dictionary of name to object array of `str`, in the order of first appearance.
    """
    names = list(dict.fromkeys(name for columns, _ in parts for name in columns))
    joined = {}
    for name in names:
        texts = []
        for columns, count in parts:
            texts += list(columns[name]) if name in columns else [""] * count
        joined[name] = _objects(texts)
    return joined


def _objects(texts):
    found = np.empty(len(texts), object)
    found[:] = texts
    return found
