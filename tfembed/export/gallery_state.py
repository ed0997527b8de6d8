"""All that an export holds of its gallery: the values of its variables, by name.

Nothing of a gallery is in the graph. So another gallery fits the same
`saved_model.pb`, whatever its number of rows: `gallery_state` says what its variables
have to hold, `SearchModel` makes variables of exactly these names, and a new gallery
writes new values under the same names.

| variable | | |
|---|---|---|
| `gallery_ids` | string `[n]` | ids, in the gallery's order |
| `gallery_labels` | int64 `[n]` | labels, -1 where unknown |
| `label_names` | string `[c + 1]` | class names after the empty one of label -1 |
| `known_threshold` | float32 `[]` | a best score below it is not known |
| `vote_temperature` | float32 `[]` | temperature of the weighted vote |
| `vote_k` | int32 `[]` | number of neighbours that vote |
| `id_hashes` | int64 `[n]` | hashes of the ids, ascending |
| `id_rows` | int32 `[n]` | their rows |
| ... | | what the head keeps, see `tfembed.export.heads` |
"""

import hashlib

import numpy as np
import tensorflow as tf

# One less than 2^63: as many buckets as the hash can have.
_BUCKETS = 2**63 - 1
_CHUNK = 1 << 18

# What a lookup of ids needs, and what every head shares.
SHARED = (
    "gallery_ids",
    "gallery_labels",
    "label_names",
    "known_threshold",
    "vote_temperature",
    "vote_k",
    "id_hashes",
    "id_rows",
)


def gallery_state(gallery, head_state):
    """Returns the values of all variables that depend on the gallery.

    Args:
        gallery: A `tfembed.export.run_directory.Gallery` of n rows.
        head_state: A `HeadState` built from its embeddings.

    Returns:
        Dictionary of variable name to NumPy array; strings are of dtype `S` (UTF-8).
        The embeddings stand in it as the head keeps them, without a copy where the
        head makes none.

    Raises:
        ValueError: If an id is empty or no text, two ids have one hash, or the head
            names a variable as the gallery does.
    """
    ids = encode_text(gallery.ids, "ids")
    hashes, rows = index_ids(ids)
    names = encode_text(np.asarray(["", *gallery.class_names], str), "class_names")
    state = {
        "gallery_ids": ids,
        "gallery_labels": np.asarray(gallery.labels, np.int64),
        "label_names": names,
        "known_threshold": np.float32(gallery.known_threshold),
        "vote_temperature": np.float32(gallery.vote_temperature),
        "vote_k": np.int32(gallery.vote_k),
        "id_hashes": hashes,
        "id_rows": rows,
    }
    taken = sorted(set(state) & set(head_state.arrays))
    if taken:
        raise ValueError(
            f"A head must not name its variables as the gallery does. Received: {taken}"
        )
    return {**state, **head_state.arrays}


def gallery_sha256(gallery):
    """Hashes a gallery: embeddings, labels, ids and class names, in their order.

    Its threshold and the settings of its vote do not count.

    Args:
        gallery: A `tfembed.export.run_directory.Gallery`.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{gallery.embeddings.shape}".encode())
    digest.update(np.ascontiguousarray(gallery.embeddings, "<f4"))
    digest.update(np.ascontiguousarray(gallery.labels, "<i8"))
    for start in range(0, gallery.size, _CHUNK):
        part = encode_text(gallery.ids[start : start + _CHUNK], "ids").tolist()
        digest.update(b"\0".join(part) + b"\0")
    names = encode_text(np.asarray(gallery.class_names, str), "class_names").tolist()
    digest.update(b"\0".join(names))
    return digest.hexdigest()


def variable_shape(value):
    """Returns the shape of the variable that holds a value of `gallery_state`.

    The first dimension is free, so that another gallery fits; a scalar is one.
    """
    shape = np.shape(value)
    return [None, *shape[1:]] if shape else []


def hash_ids(ids):
    """Hashes ids, the same in Python and in a graph of any TensorFlow.

    Args:
        ids: String tensor of any shape, or an array of text.

    Returns:
        int64 tensor of that shape, from 0 to 2^63 - 2.
    """
    return tf.strings.to_hash_bucket_fast(ids, _BUCKETS)


def index_ids(ids):
    """Prepares the lookup of rows by id.

    Args:
        ids: Array `(n,)` of bytes (dtype `S`), each once and none empty.

    Returns:
        `(hashes, rows)`: int64 `(n,)` ascending, and int32 `(n,)`, the row of each.

    Raises:
        ValueError: If an id is empty, or two have one hash (which no two of a million
            ids have but with a chance of 1 in 10 million).
    """
    hashes = np.empty(len(ids), np.int64)
    for start in range(0, len(ids), _CHUNK):
        hashes[start : start + _CHUNK] = hash_ids(ids[start : start + _CHUNK]).numpy()
    empty = np.flatnonzero(ids == b"")
    if len(empty):
        raise ValueError(
            "`ids` must not be empty: requests pad their lists of ids with it. "
            f"Received: an empty id in row {empty[0]}. Name the row."
        )
    rows = np.argsort(hashes, kind="stable").astype(np.int32)
    hashes = hashes[rows]
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    if len(same):
        one, other = (ids[rows[same[0] + i]].decode() for i in (0, 1))
        raise ValueError(
            "Each id of a gallery must have a hash of its own. "
            f"Received: {one!r} and {other!r}, which share one"
            + (
                " because they are the same. Leave one of them."
                if one == other
                else ". Rename one of them."
            )
        )
    return hashes, rows


def encode_text(text, name):
    """Encodes an array of text as UTF-8.

    Args:
        text: Array of dtype `U`.
        name: What to call it in an error.

    Returns:
        Array of dtype `S`.

    Raises:
        ValueError: If a string has no UTF-8, as those with half a surrogate pair.
    """
    try:
        return np.char.encode(text, "utf-8") if len(text) else np.empty(0, "S1")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"`{name}` must be text that has a form in UTF-8. "
            f"Received: {error.object!r}. Rename it."
        ) from error
