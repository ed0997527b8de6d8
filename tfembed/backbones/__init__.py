"""Encoders by name; weights are downloaded only where the user names them.

Importing this room imports no TensorFlow; `build_backbone` does.
"""

import importlib

_HOMES = {
    "BACKBONES": "names",
    "Encoder": "encoder",
    "Weights": "weights",
    "build_backbone": "build",
    "find_weights": "weights",
    "open_encoder": "named",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
