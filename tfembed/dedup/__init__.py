"""Near duplicates among embeddings, exactly: `python -m tfembed.dedup`.

Importing this room imports no TensorFlow.
"""

import importlib

_HOMES = {
    "Duplicates": "duplicates",
    "Links": "search",
    "choose_threshold": "threshold",
    "dedup_source": "command",
    "find_duplicates": "duplicates",
    "find_links": "search",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
