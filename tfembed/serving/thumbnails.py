"""The pictures of a gallery, found by id."""

import os
from pathlib import Path

from tfembed.formats.image_files import UnreadableImage, read_pixels
from tfembed.formats.npz import Npz


def open_thumbnails(path):
    """Opens the pictures of a gallery.

    Args:
        path: A `thumbnails.npz` with `images` uint8 `(size, height, width, channels)`
            and `ids` `(size,)`, or a folder in which an id is the path of a file.

    Returns:
        Function of an id that returns its picture, uint8 `(height, width,
        channels)`, or None if there is none.

    Raises:
        ValueError: If `path` is neither.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _from_folder(os.path.realpath(path))
    if not os.path.exists(path):
        raise ValueError(
            "`images` must be a thumbnails.npz of a run (with `images` and `ids`), or "
            f"a folder of images. Received: {path!r}, which does not exist."
        )
    with Npz(path, "Give a run's thumbnails.npz, or a folder of images.") as archive:
        archive.require("images", "ids")
        ids = archive.array("ids", "strings", ("n",))
        shape = (len(ids), "height", "width", "channels")
        images = archive.array("images", "uint8", shape)
    rows = {str(name): row for row, name in enumerate(ids)}
    return lambda name: images[rows[name]] if name in rows else None


def read_picture(source):
    """Reads an image file for a person to look at, as a model sees it.

    Args:
        source: A path, or a binary file object.

    Returns:
        uint8 `(height, width, 3)`, or `(height, width, 1)` if it is gray; None if it
        is no image that can be read.
    """
    try:
        if hasattr(source, "read"):
            pixels = read_pixels(source.read())
        else:
            pixels = read_pixels(Path(source).read_bytes())
    except (OSError, UnreadableImage):
        return None
    gray = (pixels == pixels[..., :1]).all()
    return pixels[..., :1] if gray else pixels


def _from_folder(root):
    def find(name):
        path = os.path.realpath(os.path.join(root, name))
        if os.path.commonpath([root, path]) != root:  # an id is no way out
            return None
        return read_picture(path) if os.path.isfile(path) else None

    return find
