"""A room's public names, each imported when it is first used (PEP 562)."""

import importlib
import sys


def lazy_names(room, homes):
    """Returns a room's `__getattr__`, `__dir__` and `__all__`.

    Args:
        room: The room's `__name__`.
        homes: `{name: module}`; a module of the room without its path, any other with
            it.

    Returns:
        Two functions and a list, to be bound to those three names.
    """

    def home(name):
        module = homes[name]
        return module if module.startswith("tfembed.") else f"{room}.{module}"

    def __getattr__(name):
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home(name)), name)

    def __dir__():
        return sorted({*vars(sys.modules[room]), *homes})

    return __getattr__, __dir__, list(homes)
