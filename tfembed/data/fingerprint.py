"""Whether two splits are of the same images, told by their contents."""

import hashlib

import numpy as np

__all__ = ["fingerprint"]


def fingerprint(splits):
    """Digests what some splits hold, one after the other.

    That is the names, labels and contents of their images: a file's bytes, or the
    pixels of an image in an array; not where they are nor when they were written, as a
    copy is as good.

    Args:
        splits: List of `Split`s.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for split in splits:
        labels = np.empty(0) if split.labels is None else split.labels
        digest.update(f"{split.size} {len(labels)}\n".encode())
        digest.update(np.ascontiguousarray(labels).tobytes())
        for name in split.names.tolist():
            digest.update(f"{name}\n".encode(errors="surrogateescape"))
        digest.update(split.contents().tobytes())
    return digest.hexdigest()
