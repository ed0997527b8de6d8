"""Where this package keeps what it found out about data, to save doing it twice."""

import os

__all__ = ["cache_folder"]


def cache_folder():
    """Returns `$XDG_CACHE_HOME/tfembed`, by default `~/.cache/tfembed`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(
        os.path.expanduser("~"), ".cache"
    )
    return os.path.join(base, "tfembed")
