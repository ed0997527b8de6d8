"""What the folders at the top of a folder of images are: classes, or parts of a split.

Where each of them is called train, val, valid, validation or test (in capitals or
not), and train is among them, they are parts; else they are classes. A folder without
images counts as none. For the odd case the name of the source says it:
`folder:PATH,layout=classes` where the classes have such names, and
`folder:PATH,layout=parts` where other folders with images lie beside the parts, which
are then left out.
"""

import collections
import dataclasses
import os
import re
from typing import Optional

__all__ = ["LAYOUTS", "PARTS", "Layout", "find_layout", "part_of", "split_option"]

LAYOUTS = ("classes", "parts")
PARTS = ("train", "validation", "test")
_PART_OF = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_NAMED = 8  # folders that are named, of many


def part_of(name):
    """Returns which of `PARTS` a name means, in capitals or not, or `None`."""
    return _PART_OF.get(name.lower())


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which file belongs to which part, and to which class.

    Attributes:
        parts: From each of `PARTS` that is there to its files, a list of
            `(name, class or None)`. Where there are no parts all files are `train`.
        class_names: Tuple of strings, or `None`.
        taken: A sentence on what was taken as what.
    """

    parts: dict
    class_names: Optional[tuple]
    taken: str


def split_option(argument):
    """Splits `PATH,layout=classes` into the path and the layout.

    Returns:
        `(path, layout)`; the layout is `None` where none is given.

    Raises:
        ValueError: If there is no such layout.
    """
    found = re.fullmatch(r"(.*),layout=([^,/]*)", argument, re.DOTALL)
    if found is None or os.path.isdir(os.path.expanduser(argument)):
        return argument, None
    if found[2] not in LAYOUTS:
        raise ValueError(
            f"`folder:PATH,layout=` must be followed by {' or '.join(LAYOUTS)}. "
            f"Received: {argument!r}."
        )
    return found[1], found[2]


def find_layout(names, folders, layout, argument):
    """Sorts files into parts and classes.

    Args:
        names: Paths of the files below the root, with `/` between folders, sorted.
        folders: Names of the folders at the top.
        layout: One of `LAYOUTS`, or `None` to find out.
        argument: What the user named, for error messages.

    Returns:
        A `Layout`.

    Raises:
        ValueError: If a part is there twice, the training part is not there, or
            images lie beside the folders of classes.
    """
    counts = collections.Counter(name.partition("/")[0] for name in names)
    tops = sorted(name for name in folders if counts[name])
    found = {}
    for name in folders:
        if counts[name] or name.lower() == "train":
            found.setdefault(part_of(name), []).append(name)
    others = found.pop(None, [])
    layout_given = layout
    if layout is None:
        layout = "parts" if "train" in found and not others else "classes"
    if layout == "classes":
        files = [(name, _class_of(name)) for name in names]
        classes = _class_names({"train": files}, argument)
        taken = "images without classes"
        if classes is not None:
            taken = f"the folders are {len(tops)} classes: {_listed(tops)}"
            if layout_given is None and "train" in found:
                taken += " (train as well; as a part with folder:PATH,layout=parts)"
        return Layout({"train": files}, classes, taken)
    parts = {}
    for part in PARTS:
        if len(found.get(part, ())) > 1:
            raise ValueError(
                f"`folder:PATH` must have one {part} part at most. Received: "
                f"{argument!r} with {_listed(sorted(found[part]))}. Rename one, or "
                "name the source folder:PATH,layout=classes if they are classes."
            )
        for top in found.get(part, ()):
            inside = [name for name in names if name.startswith(f"{top}/")]
            parts[part] = [(name, _class_of(name[len(top) + 1 :])) for name in inside]
    if not parts.get("train"):
        raise ValueError(
            "`folder:PATH` with parts must have images to train on in the folder "
            f"train. Received: {argument!r} with "
            f"{_listed(sorted(set(tops) | set(sum(found.values(), []))))}."
        )
    classes = _class_names(parts, argument)
    said = ", ".join(
        f"{found[part][0]} ({len(files):,} images"
        + (" to watch the training by)" if part == "validation" else ")")
        for part, files in parts.items()
    )
    taken = f"the folders are parts: {said}"
    if classes is not None:
        taken += f", of {len(classes)} classes: {_listed(classes)}"
    left_out = others + [name for name in names if "/" not in name]
    if left_out:
        taken += f"; left out beside them: {_listed(left_out)}"
    return Layout(parts, classes, taken)


def _class_of(name):
    """Returns the first folder of a path, or `None`."""
    top, slash, _ = name.partition("/")
    return top if slash else None


def _class_names(parts, argument):
    files = [file for some in parts.values() for file in some]
    labels = {label for _, label in files}
    if labels <= {None}:
        return None
    if None in labels:
        loose = next(name for name, label in files if label is None)
        raise ValueError(
            "`folder:PATH` must hold either one folder a class or images alone. "
            f"Received: {argument!r} with folders and beside them {loose!r}. Move it."
        )
    return tuple(sorted(labels))


def _listed(names):
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
