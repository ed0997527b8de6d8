"""Where Keras keeps the data sets it downloads."""

import os

__all__ = ["keras_datasets_folder"]


def keras_datasets_folder():
    """Returns `$KERAS_HOME/datasets`, by default `~/.keras/datasets`."""
    home = os.environ.get("KERAS_HOME") or os.path.join(
        os.path.expanduser("~"), ".keras"
    )
    return os.path.join(home, "datasets")
