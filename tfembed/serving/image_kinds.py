"""What people hold when they say image, and how it becomes bytes or an array."""

import collections.abc
import io
import os
import sys

import numpy as np

# What else than IFD0 may tell the orientation; nobody here asks it.
_OTHER_TELLERS = ("xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_OF_PNG = ("L", "LA", "P", "RGB", "RGBA", "I", "I;16")


def plain(item):
    """Returns tensors, and views of several dimensions, as the NumPy arrays they are.

    One string in a tensor is bytes. Everything else comes back as it is.
    """
    if isinstance(item, memoryview):
        return item if item.ndim == 1 and item.itemsize == 1 else np.asarray(item)
    if kind_of(item) is not None or isinstance(item, np.generic):
        return item
    if not hasattr(item, "__array__"):
        return item
    try:
        array = np.asarray(item)
    except (NotImplementedError, TypeError, ValueError):  # as of a tensor in a graph
        return item
    return array.item() if array.dtype == object and not array.ndim else array


def kind_of(item):
    """Returns what one image is held as.

    Returns:
        `"path"`, `"bytes"`, `"file"` (open), `"picture"` (Pillow's) or `"array"`; None
        for anything else.
    """
    if isinstance(item, (str, os.PathLike)):
        return "path"
    if isinstance(item, (bytes, bytearray, memoryview)):
        return "bytes"
    if isinstance(item, np.ndarray):
        return "array"
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(item, pillow.Image):
        return "picture"
    methods = (getattr(item, name, None) for name in ("read", "readline"))
    return "file" if all(map(callable, methods)) else None


def is_unordered(images):
    """Whether it holds several images of which none is the first."""
    return isinstance(images, (set, frozenset, collections.abc.Mapping))


def name_of(item, index):
    """Returns what to call an image in a message."""
    attribute = {"file": "name", "picture": "filename"}.get(kind_of(item))
    name = getattr(item, attribute, None) if attribute else item
    name = name or None  # a picture of no file has an empty one
    named = isinstance(name, (str, os.PathLike))
    return os.fspath(name) if named else f"image {index}"


def contents(item, index):
    """Returns the bytes of an image that is not an array.

    Args:
        item: A path, bytes, an open file, which is read from where it is to its end, or
            a picture, which is turned upright and encoded as PNG.
        index: Its place among the images, for messages.

    Raises:
        TypeError: If a file gives text.
        ValueError: If it cannot be read.
    """
    kind, name = kind_of(item), name_of(item, index)
    if kind == "bytes":
        return bytes(item)
    if kind == "picture":
        return _png(item, name)
    try:
        if kind == "file":
            data = item.read()
        else:
            with open(item, "rb") as file:
                data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a zero byte, a closed file
        reason = getattr(error, "strerror", None) or error
        what = "open files" if kind == "file" else "paths of image files"
        raise ValueError(
            f"`images` must be {what} that can be read. Received: {name!r} ({reason})."
        ) from error
    if kind == "file":
        _check_read(data, name)
    return data


def _check_read(data, name):
    if not isinstance(data, (bytes, bytearray)):
        raise TypeError(
            "An open file of `images` must give bytes. "
            f"Received: {name!r}, which gives {type(data).__name__}. Open it with 'rb'."
        )
    if not data:
        raise ValueError(
            "An open file of `images` must have something left to read. "
            f"Received: {name!r}, which is at its end. Call its seek(0), or open it "
            "again."
        )


def _png(picture, name):
    from PIL import ImageOps

    try:
        picture = picture.copy()  # the caller's stays as it is
        for teller in _OTHER_TELLERS:
            picture.info.pop(teller, None)
        picture = ImageOps.exif_transpose(picture)
        if picture.mode == "F":
            raise ValueError("its pixels are floats; give them as an array")
        if picture.mode not in _OF_PNG:
            becomes = {"1": "L", "RGBa": "RGBA", "La": "RGBA", "PA": "RGBA"}
            picture = picture.convert(becomes.get(picture.mode, "RGB"))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1, exif=b"")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            "`images` must be pictures that can be read, with whole numbers as pixels. "
            f"Received: {name} ({error})."
        ) from error
    return buffer.getvalue()
