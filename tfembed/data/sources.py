"""The names of image sources."""

from __future__ import annotations

import importlib
import os

from tfembed.command_line import near
from tfembed.registry import Told, is_findable

__all__ = ["SOURCES", "check_source", "find_source", "folder_of", "source_names"]

_OURS = {
    "fashion_mnist": "60,000 + 10,000 gray images 28x28 of ten kinds of clothing",
    "mnist": "60,000 + 10,000 gray images 28x28 of handwritten digits",
    "cifar10": "50,000 + 10,000 colour images 32x32 of ten kinds of things",
    "cifar100": "50,000 + 10,000 colour images 32x32 of a hundred kinds of things",
    "folder:PATH": "image files, one folder a class or flat, streamed from disk; below "
    "train, val and test where it is split",
    "csv:FILE": "a list of image files, CSV or Parquet: the columns path, label and "
    "split, or others by csv:FILE,label=COLUMN",
    "npz:PATH": "a NumPy archive: images, labels or x_train, y_train, x_test, y_test",
    "tfds:NAME": "a data set of tensorflow-datasets",
    "synthetic": "2,000 + 500 images drawn on the spot, for trying things out",
    "MODULE:FUNCTION": "your own: a function without arguments that returns the arrays "
    "of an npz archive, as a dictionary",
}
SOURCES = Told("dataset", "tfembed.sources", _OURS)
"""Each source with a line on it; after ours, those of installed packages."""

# source: its module in this room; each has `find(argument, request) -> Source`
_MODULES = {
    "fashion_mnist": "fashion_mnist",
    "mnist": "mnist",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "folder": "folder",
    "csv": "image_list",
    "npz": "npz",
    "tfds": "tfds",
    "synthetic": "synthetic",
}


def source_names() -> str:
    """Returns the names of all sources, as a flag's help lists them; no import.

    >>> from tfembed.data import source_names
    >>> "folder:PATH" in source_names()
    True
    """
    own = "MODULE:FUNCTION"
    names = [each for each in SOURCES if each != own]
    return f"{', '.join(names)} or your own, {own.lower()}"


def check_source(name: str) -> tuple[str, str | None]:
    """Checks a source's name, and nothing of what it holds; imports no TensorFlow.

    >>> from tfembed.data import check_source
    >>> check_source("folder:photos"), check_source("cifar10")
    (('folder', 'photos'), ('cifar10', None))
    >>> check_source("cifar11")
    Traceback (most recent call last):
        ...
    ValueError: `name` must be one of ... Did you mean cifar10...?

    Args:
        name: As in `SOURCES`, with its own path or name after the colon.

    Returns:
        `(source, argument)`: the name before the colon, and what stood after it (`None`
        where nothing belongs).

    Raises:
        ValueError: If there is no such source, or the colon's other side is missing
            or too many. The message lists the known sources.
    """
    source, colon, argument = str(name).partition(":")
    takes_argument = {key.partition(":")[0]: ":" in key for key in SOURCES.parts}
    if source in _MODULES and takes_argument[source] == bool(colon and argument):
        return source, argument or None
    others = SOURCES.others()
    if str(name) in others or (source not in _MODULES and is_findable(name)):
        return "own", str(name)
    message = f"`name` must be one of {', '.join(SOURCES)}. Received: name={name!r}."
    names = near(source, [*_MODULES, *others]) if source not in _MODULES else []
    if names:
        known = [next(key for key in SOURCES if key.startswith(each)) for each in names]
        message += f" Did you mean {' or '.join(known)}?"
    elif os.path.isdir(os.path.expanduser(str(name))):
        message += f" Did you mean folder:{name}?"
    raise ValueError(message)


def find_source(name):
    """Looks a source up by its name.

    Args:
        name: As in `SOURCES`, with its own path or name after the colon.

    Returns:
        `(source, find, argument)`: the name before the colon, the function that finds
        the images, and what stood after the colon (`None` where nothing belongs).

    Raises:
        ValueError: If there is no such source, or the colon's other side is missing
            or too many. The message lists the known sources.
    """
    source, argument = check_source(name)
    file = _MODULES.get(source, "own_source")
    module = importlib.import_module(f"tfembed.data.{file}")
    return source, module.find, argument


def folder_of(name: str) -> str | None:
    """Returns the folder below which a source's images have their names as paths.

    >>> from tfembed.data import folder_of
    >>> folder_of("folder:photos"), folder_of("csv:/lists/all.csv"), folder_of("mnist")
    ('photos', '/lists', None)

    Args:
        name: As in `SOURCES`, or anything else.

    Returns:
        The folder as it was named, or `None` for a source that has none.
    """
    source, _, argument = str(name).partition(":")
    if source == "folder":
        from tfembed.data.layout import split_option

        return split_option(argument)[0]
    if source == "csv":
        from tfembed.data.image_list import list_option

        return os.path.dirname(list_option(argument)[0])
    return None
