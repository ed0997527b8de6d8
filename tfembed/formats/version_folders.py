"""The numbered versions of a model in a folder: which names count, and which is where.

`tfembed.export` writes them and `tfembed.serving` serves them, as TF Serving does.
"""

import os
import re

__all__ = ["find_versions", "is_one_version", "version_numbers"]

_NUMBER = re.compile(r"\s*[+-]?\d+\s*")


def version_numbers(base):
    """Returns the numbers of a base folder's versions, in ascending order.

    A name counts as the server's parser counts it: `007` and ` 3` are numbers too.
    Files that are named so count: their number is taken.

    Raises:
        OSError: If the folder cannot be listed.
    """
    return sorted(int(name) for name in os.listdir(base) if _NUMBER.fullmatch(name))


def find_versions(base):
    """Finds the versions in a model's folder.

    Args:
        base: The folder whose children are named by numbers.

    Returns:
        Dictionary of version (int) to path (`str`), ascending. Other names, such as
        those of hidden folders that are still being written, are passed over.

    Raises:
        OSError: If the folder cannot be listed.
    """
    versions, gone = {}, True
    while gone and not versions:  # all that were listed: there are newer ones
        gone = False
        for name in sorted(os.listdir(base)):
            path = os.path.join(base, name)
            if _NUMBER.fullmatch(name):
                if os.path.isdir(path):
                    versions.setdefault(int(name), path)
                gone |= not os.path.lexists(path)
    return dict(sorted(versions.items()))


def is_one_version(folder):
    """Tells whether a folder is itself a version, not the folder above them."""
    return os.path.exists(os.path.join(folder, "saved_model.pb"))
