"""Where data are kept between runs: this package's cache, and Keras' data sets."""

import os

from tfembed.formats.disk import written_beside

__all__ = ["cache_folder", "keras_datasets_folder", "write_cache"]


def cache_folder():
    """Returns `$XDG_CACHE_HOME/tfembed`, by default `~/.cache/tfembed`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(
        os.path.expanduser("~"), ".cache"
    )
    return os.path.join(base, "tfembed")


def keras_datasets_folder():
    """Returns `$KERAS_HOME/datasets`, by default `~/.keras/datasets`."""
    home = os.environ.get("KERAS_HOME") or os.path.join(
        os.path.expanduser("~"), ".keras"
    )
    return os.path.join(home, "datasets")


def write_cache(path, content):
    """Replaces a file of the cache in one step, whoever else does so.

    Args:
        path: The file; its folder is made if need be.
        content: Bytes.

    Raises:
        OSError: If it cannot be written; nothing is left of it then.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with written_beside(path, shared=True) as beside:
        with open(beside, "wb") as file:
            file.write(content)
