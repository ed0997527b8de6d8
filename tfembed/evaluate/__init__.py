"""How good an embedding is, with intervals: `python -m tfembed.evaluate`.

Importing this room imports no TensorFlow.
"""

import importlib

_HOMES = {
    "Rows": "subject",
    "Subject": "subject",
    "evaluate": "measured",
    "find_subject": "subject",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
