"""The images that a run was trained on, so that it does not go on with others.

Rows of a memory bank, order and labels all hang on which image has which number. A run
keeps the names, labels and contents of its images in `data.npz`, and a resume compares.
"""

import os

import numpy as np

from tfembed.formats.npz import Npz

NAME = "data.npz"
PARTS = ("train", "validation", "test")
_NAMED = 3
_WORDS = {
    "train": "training images",
    "validation": "validation images",
    "test": "test images",
}


def describe(data):
    """Returns the arrays of `data.npz` for an `ImageData`."""
    arrays = {}
    for part in PARTS:
        split = getattr(data, part)
        if split is None:
            continue
        names = [os.fsencode(name) for name in split.names.tolist()]
        arrays[f"{part}_names"] = np.array(names, np.bytes_)
        arrays[f"{part}_contents"] = split.contents()
        if split.labels is not None:
            arrays[f"{part}_labels"] = split.labels
    return arrays


def check(directory, arrays):
    """Raises a ValueError if a run was trained on other images than these.

    Args:
        directory: The `RunDirectory`.
        arrays: Of `describe`.

    Returns:
        Whether the run knows its images; one of an earlier version does not.
    """
    path = directory / NAME
    if not path.exists():
        return False
    before = _read(path)
    found = [_differences(part, before, arrays) for part in PARTS]
    differences = [sentence for sentences in found for sentence in sentences]
    if differences:
        raise ValueError(
            f"{str(directory)!r} was trained on other images than there are now: "
            f"{'; '.join(differences)}. Put them back as they were, or choose another "
            "--run-dir."
        )
    return True


def _read(path):
    """Returns what `describe` returned, read back."""
    arrays = {}
    advice = "Bring it back, or remove it: the run then takes the images that it finds."
    with Npz(path, advice) as archive:
        for part in PARTS:
            if f"{part}_names" not in archive:
                continue
            names = archive.array(f"{part}_names", "bytes", ("n",))
            count = len(names)
            arrays[f"{part}_names"] = names
            key = f"{part}_contents"
            arrays[key] = archive.array(key, "uint8", (count, "bytes"))
            key = f"{part}_labels"
            if key in archive:
                arrays[key] = archive.array(key, "integers", (count,))
    return arrays


def _differences(part, before, now):
    """Says, in a few words each, how a part differs."""
    keys = [f"{part}_{what}" for what in ("names", "contents", "labels")]
    arrays = [[each.get(key) for key in keys] for each in (before, now)]
    if all(_equal(*pair) for pair in zip(*arrays)):
        return []
    old, new = ({} if each[0] is None else _by_name(*each) for each in arrays)
    both = [name for name in old if name in new]
    said = [
        (sorted(old.keys() - new.keys()), "gone"),
        (sorted(new.keys() - old.keys()), "new"),
        ([name for name in both if old[name][0] != new[name][0]], "changed"),
    ]
    if len(both) == len(old) == len(new):  # a class more or less renumbers the others
        moved = [name for name in both if old[name][1] != new[name][1]]
        said.append((moved, "of another class"))
    sentences = [
        f"{len(names):,} {_WORDS[part]} {word} ({_listed(names)})"
        for names, word in said
        if names
    ]
    return sentences or [f"the {_WORDS[part]} come in another order"]


def _equal(one, other):
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _by_name(names, contents, labels):
    labels = np.full(len(names), -1) if labels is None else labels
    facts = zip(map(bytes, contents), labels.tolist())
    return dict(zip(names.tolist(), facts))


def _listed(names):
    shown = ", ".join(os.fsdecode(name) for name in names[:_NAMED])
    return shown + ("" if len(names) <= _NAMED else ", ...")
