"""tfembed: image embeddings in Keras, from training to a served neighbour search.

The rooms are imported by name (`from tfembed.layers import InstanceSoftmax`).
Importing the package itself does not import TensorFlow. Keras' own `load_model` then
finds tfembed's layers and losses (`registration.py`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfembed import registration, registry
from tfembed.hints import PathLike
from tfembed.version import __version__

if TYPE_CHECKING:
    from tensorflow import keras

_ROOMS = (
    "backbones",
    "callbacks",
    "data",
    "embed",
    "evaluate",
    "export",
    "interop",
    "layers",
    "losses",
    "metrics",
    "miners",
    "ops",
    "publish",
    "recipes",
    "serving",
    "training",
    "weighting",
)

__all__ = ["__version__", "load_model", *_ROOMS]


def load_model(path: PathLike, **kwargs: Any) -> keras.Model:
    """Loads a saved Keras model that may contain tfembed's layers and losses.

    Of a run whose backbone is a user's own, `module:function`, that module is imported
    first, as the `config.json` beside the model names it.

    Args:
        path: A `.keras` file.
        **kwargs: Passed on to `keras.models.load_model`.

    Returns:
        The `keras.Model`.

    Raises:
        ValueError: If there is no file at `path`.
    """
    import os

    from tensorflow import keras

    registration.register()
    if not os.path.exists(path):
        raise ValueError(
            "`path` must be the file of a saved Keras model. "
            f"Received: path={str(path)!r}, which does not exist."
        )
    registry.import_parts_of(os.path.dirname(path))
    return keras.models.load_model(path, **kwargs)


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"tfembed.{name}")
    raise AttributeError(f"module 'tfembed' has no attribute {name!r}")


registration.install()
