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
    "Told",
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
        parts: `{name: part}` of this package, which go before others of that name, as
            do the prefixes in use, such as `keras` and `folder`.
    """

    def __init__(self, flag, group, parts):
        self.flag, self.group, self.parts = flag, group, dict(parts)
        self._taken = _PREFIXES | {str(name).partition(":")[0] for name in parts}

    def __iter__(self):
        yield from self.parts
        yield from self.others()

    def __len__(self):
        return len(list(iter(self)))

    def __contains__(self, name):
        """Whether the name is known, or has the form of a user's own; no import."""
        return name in self.parts or is_own(name) or name in self.others()

    def __getitem__(self, name):
        """Returns the part, imported if it is none of this package.

        Raises:
            KeyError: If there is none of that name.
            ValueError: If a part of one's own is not there. What goes wrong inside of
                its module is raised as it is.
        """
        return self.parts[name] if name in self.parts else self.load(name)

    def load(self, name):
        """Imports a part of another package, or a user's own; raises as `[name]`."""
        if is_own(name):
            return find_named(self.flag, name)
        entry = self.others()[name]
        if not entry.attr:
            return importlib.import_module(entry.module)
        return find_named(self.flag, f"{entry.module}:{entry.attr}")

    def others(self):
        """Returns `{name: entry point}` of what other packages offer; no import."""
        found = offered(self.group).items()
        return {
            name: entry
            for name, entry in found
            if ":" not in name and name not in self._taken
        }


class Told(Registry):
    """A registry in which names stand for a line on each; `load` imports.

    Nothing is imported to list it, and a name of a user's own is in no list.
    """

    def __contains__(self, name):
        return name in self.parts or name in self.others()

    def __getitem__(self, name):
        if name in self.parts:
            return self.parts[name]
        return f"of another package, {self.others()[name].value}"


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
    """Imports the parts that the encoder of a run is made of, and are not tfembed's.

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
    # By name, as no room is needed to import this one.
    backbones = importlib.import_module("tfembed.backbones.names").BACKBONES
    if is_own(backbone) or backbone in backbones.others():
        backbones.load(backbone)


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
