"""The files below a folder, links followed, and each folder walked once."""

import collections
import os

__all__ = ["walk"]


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
