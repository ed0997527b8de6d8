"""Plain Keras finds tfembed's classes, though `import tfembed` imports no TensorFlow.

Keras looks the classes of a saved model up in a dictionary of its own. Where a name of
tfembed's is missing there, it is one whose room was not imported yet: the dictionary
imports the rooms when it is asked, and not before.
"""

import importlib
import sys
import threading

__all__ = ["install", "register"]

ROOMS = ("layers", "losses", "training", "weighting.surrogate")
_HOMES = {f"{keras}.src.saving.object_registration" for keras in ("keras", "tf_keras")}
_NAMES = ("GLOBAL_CUSTOM_OBJECTS", "_GLOBAL_CUSTOM_OBJECTS")
_PREFIX = "tfembed>"
_registering = threading.local()


def register():
    """Imports the rooms whose classes stand in saved models."""
    for room in ROOMS:
        importlib.import_module(f"tfembed.{room}")


class _CustomObjects(dict):
    """What Keras looks names up in, which are at most one import away.

    Keras 3 asks for the name that it needs; Keras 2 goes through all names first.
    """

    def __contains__(self, name):
        there = super().__contains__(name)
        if there or not isinstance(name, str) or not name.startswith(_PREFIX):
            return there
        if _register_once() and not super().__contains__(name):
            raise ValueError(
                f"The model holds {name!r}, which this tfembed does not have, or which "
                "it registers with another Keras than this one. Load the model with "
                "`tfembed.load_model`, of the version that saved it."
            )
        return super().__contains__(name)

    def __iter__(self):
        _register_once()
        return super().__iter__()

    def keys(self):
        _register_once()
        return super().keys()


def _register_once():
    """Imports the rooms; tells whether they are there, and not just being imported."""
    if getattr(_registering, "now", False):
        return False
    _registering.now = True
    try:
        register()
    finally:
        _registering.now = False
    return True


def install():
    """Has Keras ask tfembed, now or as soon as Keras is imported."""
    for name in _HOMES & set(sys.modules):
        _replace(sys.modules[name])
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _replace(module):
    for name in _NAMES:
        objects = getattr(module, name, None)
        if isinstance(objects, dict) and not isinstance(objects, _CustomObjects):
            setattr(module, name, _CustomObjects(objects))


class _Finder:
    """Finds Keras' module as the others do, and has `_Loader` load it."""

    def find_spec(self, name, path=None, target=None):
        if name not in _HOMES:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """Loads a module as another loader does, and replaces its dictionary."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _replace(module)
