"""The pictures of a gallery, found by id."""

import os
from pathlib import Path

from tfembed.formats.image_files import UnreadableImage, read_pixels
from tfembed.formats.npz import Npz


def open_thumbnails(path):
    """Opens the pictures of a gallery.

    >>> import os, tempfile
    >>> from tfembed.serving import open_thumbnails
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "thumbnails.npz")
    ...     images = np.zeros((2, 32, 32, 3), "uint8")
    ...     np.savez(path, images=images, ids=["a.png", "b.png"])
    ...     thumbnails = open_thumbnails(path)
    ...     thumbnails("a.png").shape, thumbnails.has("c.png")
    ((32, 32, 3), False)

    Args:
        path: A `thumbnails.npz` with `images` uint8 `(size, height, width, channels)`
            and `ids` `(size,)`, or a folder in which an id is the path of a file.

    Returns:
        Function of an id that returns its picture, uint8 `(height, width,
        channels)`, or None if there is none. Its method `has` says of an id whether
        there is one, as far as that is known without opening it.

    Raises:
        ValueError: If `path` is neither.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _Folder(os.path.realpath(path))
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
    return _Archive(images, ids)


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


class _Archive:
    """Pictures in memory."""

    def __init__(self, images, ids):
        self._images = images
        self._rows = {str(name): row for row, name in enumerate(ids)}

    def has(self, name):
        return name in self._rows

    def __call__(self, name):
        return self._images[self._rows[name]] if self.has(name) else None


class _Folder:
    """Pictures in files, whose paths below a folder are the ids."""

    def __init__(self, root):
        self._root = root

    def has(self, name):
        return self._path_of(name) is not None

    def __call__(self, name):
        path = self._path_of(name)
        return None if path is None else read_picture(path)

    def _path_of(self, name):
        try:
            path = os.path.realpath(os.path.join(self._root, name))
            if os.path.commonpath([self._root, path]) != self._root:
                return None  # an id is no way out
            return path if os.path.isfile(path) else None
        except (OSError, ValueError):  # no file has such a name
            return None
