"""The names of image sources."""

import importlib

__all__ = ["SOURCES", "find_source"]

SOURCES = {
    "fashion_mnist": "60,000 + 10,000 gray images 28x28 of ten kinds of clothing",
    "mnist": "60,000 + 10,000 gray images 28x28 of handwritten digits",
    "cifar10": "50,000 + 10,000 colour images 32x32 of ten kinds of things",
    "cifar100": "50,000 + 10,000 colour images 32x32 of a hundred kinds of things",
    "folder:PATH": "image files, one folder a class or flat, streamed from disk; below "
    "train, val and test where it is split",
    "npz:PATH": "a NumPy archive: images, labels or x_train, y_train, x_test, y_test",
    "tfds:NAME": "a data set of tensorflow-datasets",
    "synthetic": "2,000 + 500 images drawn on the spot, for trying things out",
}

# source: its module in this room; each has `find(argument, request) -> Source`
_MODULES = {
    "fashion_mnist": "fashion_mnist",
    "mnist": "mnist",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "folder": "folder",
    "npz": "npz",
    "tfds": "tfds",
    "synthetic": "synthetic",
}


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
    source, colon, argument = str(name).partition(":")
    takes_argument = {key.partition(":")[0]: ":" in key for key in SOURCES}
    if source not in _MODULES or takes_argument[source] != bool(colon and argument):
        raise ValueError(
            f"`name` must be one of {', '.join(SOURCES)}. Received: name={name!r}."
        )
    module = importlib.import_module(f"tfembed.data.{_MODULES[source]}")
    return source, module.find, argument or None
