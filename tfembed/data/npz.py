"""Images in a NumPy archive.

The archive holds either

- `images`, and `labels` if there are any: a seeded tenth is held out as test images;
- or `x_train` and `x_test`, and `y_train` and `y_test` if there are any;

and, if wanted, `class_names`, strings, one for each label from 0 on. Images are uint8,
`[n, h, w]`, `[n, h, w, 1]` or `[n, h, w, 3]`; labels are integers `[n]` or `[n, 1]`.
Archives with pickled objects are not read: a pickle can run any program.
"""

import os

import numpy as np

from tfembed.data.array_split import ArraySplit, numbered_names
from tfembed.data.request import Source
from tfembed.formats.npz import read_npz

__all__ = ["find", "source_of"]


def find(argument, request):
    """Reads the archive at the path `argument` into memory."""
    path = os.path.expanduser(argument)
    if not os.path.isfile(path):
        raise ValueError(
            "`npz:PATH` must name a NumPy archive. "
            f"Received: {argument!r}, which is not a file."
        )
    name = os.path.splitext(os.path.basename(path))[0]
    return source_of(read_npz(path), name, argument)


def source_of(arrays, name, argument):
    """Makes a `Source` of arrays, as the module says.

    Args:
        arrays: Dictionary of NumPy arrays.
        name: What the images' names begin with.
        argument: What the user wrote, for messages.
    """
    if "images" in arrays:
        train, test = _split(arrays, "images", "labels", name, "train", argument), None
    elif "x_train" in arrays and "x_test" in arrays:
        train, test = (
            _split(arrays, f"x_{part}", f"y_{part}", name, part, argument)
            for part in ("train", "test")
        )
    else:
        raise ValueError(
            "The arrays must be images (and labels), or x_train and x_test (and "
            f"y_train and y_test). Received: {argument!r} with the keys "
            f"{sorted(arrays)}."
        )
    used = "images labels" if test is None else "x_train y_train x_test y_test"
    unused = sorted(set(arrays) - {*used.split(), "class_names"})
    return Source(
        train,
        test,
        _class_names(arrays, train, test, argument),
        taken=f"not used are the arrays {', '.join(unused)}" if unused else "",
    )


def _split(arrays, images_key, labels_key, name, part, argument):
    images = arrays[images_key]
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"`{images_key}` must be uint8 in 0..255, [n, h, w] or [n, h, w, 1 or 3]. "
            f"Received: {images.dtype} of shape {arrays[images_key].shape} in "
            f"{argument!r}. Convert the images before saving them."
        )
    labels = arrays.get(labels_key)
    if labels is not None:
        integers = np.issubdtype(labels.dtype, np.integer)
        if not integers or labels.size != len(images) or labels.min(initial=0) < 0:
            raise ValueError(
                f"`{labels_key}` must be integers from 0 on, one for each image. "
                f"Received: {labels.dtype} of shape {labels.shape} for {len(images)} "
                f"images in {argument!r}."
            )
        labels = labels.reshape(-1)
    return ArraySplit(images, labels, numbered_names(name, part, len(images)))


def _class_names(arrays, train, test, argument):
    if train.labels is None:
        return None
    splits = [split for split in (train, test) if split is not None]
    count = 1 + max(
        split.labels.max(initial=-1) for split in splits if split.labels is not None
    )
    names = arrays.get("class_names")
    if names is None:
        return tuple(str(label) for label in range(count))
    if names.dtype.kind != "U" or names.ndim != 1 or len(names) < count:
        raise ValueError(
            "`class_names` must be strings, one for each label from 0 on. Received: "
            f"{names.dtype} of shape {names.shape} for {count} labels in {argument!r}."
        )
    return tuple(str(name) for name in names)
