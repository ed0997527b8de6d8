"""What a flag may name: parts of this package, of installed ones, and a user's own.

A part of one's own is written as `module:name`, and imported when it is used: it is as
trusted as the command. Installed packages offer parts by entry points, whose names are
listed without importing them.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Mapping

from tfembed.command_line import near

__all__ = [
    "Registry",
    "find_named",
    "import_parts_of",
    "is_findable",
    "is_own",
    "offered",
]

# What stands before a colon in names of backbones, sources and runs.
_PREFIXES = {"applications", "csv", "folder", "images", "keras", "keras_cv", "npz"}
_PREFIXES |= {"run", "tfds", "torchvision"}


class Registry(Mapping):
    """The names that a flag takes; a `Mapping` to what they stand for.

    Args:
        flag: The flag, without dashes, for messages.
        group: The group of entry points in which other packages offer parts, such as
            `"tfembed.losses"`.
        parts: `{name: part}` of this package, which go before others of that name.
    """

    def __init__(self, flag, group, parts):
        self.flag, self.group, self.parts = flag, group, dict(parts)

    def __iter__(self):
        yield from self.parts
        yield from (name for name in self._offered() if name not in self.parts)

    def __len__(self):
        return len(list(iter(self)))

    def __contains__(self, name):
        """Whether the name is known, or has the form of a user's own; no import."""
        return name in self.parts or is_own(name) or name in self._offered()

    def __getitem__(self, name):
        """Returns the part, imported if it is none of this package.

        Raises:
            KeyError: If there is none of that name.
            ValueError: If a part of one's own is not there. What goes wrong inside of
                its module is raised as it is.
        """
        if name in self.parts:
            return self.parts[name]
        if is_own(name):
            return find_named(self.flag, name)
        return self._offered()[name].load()

    def _offered(self):
        return offered(self.group)


def offered(group):
    """Returns `{name: entry point}` of the installed packages; imports none of them.

    Args:
        group: The entry points' group, such as `"tfembed.losses"`.
    """
    found = importlib.metadata.entry_points()
    if hasattr(found, "select"):
        found = found.select(group=group)
    else:  # Python 3.9
        found = found.get(group, ())
    return {each.name: each for each in sorted(found, key=lambda each: each.name)}


def is_own(name):
    """Tells whether a name has the form `module:name`; imports nothing.

    The prefixes of backbones and sources, such as `keras:`, are no modules.
    """
    module, colon, attribute = str(name).partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    named = all(part.isidentifier() for part in parts)
    return bool(colon) and named and module not in _PREFIXES


def is_findable(name):
    """Tells a user's own from a misspelt prefix: a module with a dot, or one there is.

    Nothing is imported.
    """
    module = str(name).partition(":")[0]
    if not is_own(name):
        return False
    there = "." in module or module in sys.modules  # of which __main__ has no spec
    return there or importlib.util.find_spec(module) is not None


def import_parts_of(run_directory):
    """Imports the parts of a user's own that the encoder of a run is made of.

    Args:
        run_directory: A folder; one without a `config.json` has none.

    Raises:
        ValueError: If one is not there.
    """
    try:
        path = os.path.join(run_directory, "config.json")
        with open(path, encoding="utf-8") as file:
            backbone = json.load(file).get("backbone")
    except (OSError, ValueError, AttributeError):
        return  # others say what is wrong with it
    if is_own(backbone):
        find_named("backbone", backbone)


def find_named(flag, name):
    """Imports what a name stands for.

    Args:
        flag: The flag that it was given with, for messages.
        name: `module:name`.

    Raises:
        ValueError: If there is no such module, or nothing of that name in it. What
            goes wrong inside of the module is raised as it is.
    """
    path, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if path != missing and not path.startswith(f"{missing}."):
            raise  # the module is there, and what it imports is not
        raise ValueError(
            f"--{flag} must name a module that can be imported. Received: {name!r}, "
            f"and there is no module {missing!r}. Start the command in its folder, or "
            "add that to PYTHONPATH."
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            like = near(part, [each for each in dir(found) if each[0] != "_"])
            raise ValueError(
                f"--{flag} must name something that its module has. Received: {name!r}."
                + (f" Did you mean {path}:{like[0]}?" if like else "")
            )
        found = getattr(found, part)
    return found
