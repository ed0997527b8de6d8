"""The files below a folder, links followed, and each folder walked once; their names.

A file's name is bytes, which need not be text. Python makes lone surrogates of what is
not UTF-8, so that it still finds the file; no id, label or file of text takes those.
"""

import collections
import os

__all__ = ["check_names", "is_text", "shown", "walk"]


def walk(top):
    """Walks a folder; links to folders are followed, as people lay out classes.

    A folder is walked once, under its own name where it has one below `top`, else
    under the first link to it. So no file comes twice by way of links to folders, and
    a loop of links ends: a link to a folder that it stands in itself, however deep, is
    not followed. Names that begin with a dot are passed over, and what cannot be read,
    or goes while it is walked.

    Args:
        top: The folder.

    Yields:
        `(folder, names)`: the path of a folder, which begins with `top`, and the names
        of the files in it, in order.
    """
    seen, links = set(), collections.deque([os.fspath(top)])
    while links:
        start = links.popleft()
        if start != top and (_is_loop(start) or _identity(start) in seen):
            continue
        below = []
        for folder, inner, names in os.walk(start):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            paths = [os.path.join(folder, name) for name in inner]
            below += [path for path in paths if os.path.islink(path)]
            inner[:] = [
                name for name, path in zip(inner, paths) if _identity(path) not in seen
            ]
            seen.add(_identity(folder))
            yield folder, sorted(name for name in names if not name.startswith("."))
        links.extend(sorted(below))


def is_text(name):
    """Tells whether a name has a form in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name):
    """Returns a name as text: what is not UTF-8 in it as escaped bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_names(names, source):
    """Raises unless all names are UTF-8.

    Args:
        names: Names or paths of files that are to become ids.
        source: Where they come from, as the user gave it, with what it must hold: the
            start of the sentence.

    Raises:
        ValueError: With the first one that is not.
    """
    odd = [name for name in names if not is_text(name)]
    if odd:
        raise ValueError(
            f"{source} with {os.fsencode(odd[0])!r}"
            + (f" and {len(odd) - 1:,} more" if len(odd) > 1 else "")
            + ". Rename them."
        )


def _is_loop(link):
    """Whether a link leads to a folder that it stands in."""
    real, stands_in = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
    return os.path.commonpath([real, stands_in]) == real


def _identity(folder):
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
