"""The pictures behind embeddings: how large they are, and small ones to look at."""

import dataclasses
import os
import pathlib

import numpy as np

from tfembed.formats.image_files import UnreadableImage, read_pixels
from tfembed.formats.image_header import declared_size, image_format

__all__ = ["ArrayPictures", "FolderPictures", "NoPictures", "Size"]

_HEAD = 1 << 17
_HEADERS = ("JPEG", "PNG", "GIF", "BMP")  # whose header and orientation say the size


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a picture is; -1 is not known.

    Attributes:
        width: Pixels, as it is looked at.
        height: Pixels.
        bytes: Of its file.
    """

    width: int = -1
    height: int = -1
    bytes: int = -1


class NoPictures:
    """Embeddings of which nothing but names is known."""

    root = None

    def size(self, name):
        """Returns the `Size` of a picture."""
        return Size()

    def pixels(self, name):
        """Returns a picture, uint8 `[height, width, 1 or 3]`, or `None`."""
        return None

    def address(self, name):
        """Returns where a browser finds the picture; `None` if it is not a file."""
        return None


class FolderPictures(NoPictures):
    """Files of a folder, whose paths below it are the ids.

    Args:
        root: The folder.
    """

    def __init__(self, root):
        self.root = os.path.abspath(os.path.expanduser(os.fspath(root)))
        if not os.path.isdir(self.root):
            raise ValueError(
                "`images` must be the folder in which an id is the path of a picture. "
                f"Received: {os.fspath(root)!r}, which is not a folder."
            )

    def size(self, name):
        """Returns the `Size` of a picture; of one that cannot be read, of its file."""
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                length = os.fstat(file.fileno()).st_size
                width, height = _upright_size(file, length)
        except (OSError, TypeError, ValueError):
            return Size()
        return Size(width, height, length)

    def pixels(self, name):
        """Returns a picture, uint8 `[height, width, 3]`; `None` if there is none."""
        path = self._path(name)
        try:
            return read_pixels(pathlib.Path(path).read_bytes())
        except (OSError, TypeError, ValueError):
            return None

    def address(self, name):
        """Returns the file's URI; `None` if there is no such file."""
        path = self._path(name)
        return pathlib.Path(path).as_uri() if path and os.path.isfile(path) else None

    def _path(self, name):
        """The file of an id; `None` for an id that leads out of the folder."""
        path = os.path.normpath(os.path.join(self.root, name))
        inside = os.path.commonpath([self.root, path]) == self.root
        return path if inside and "\0" not in name else None


class ArrayPictures(NoPictures):
    """Images in arrays, by name.

    Args:
        parts: `tfembed.data.Split`s.
    """

    def __init__(self, parts):
        self._parts = list(parts)
        self._rows = {
            str(name): (part, row)
            for part in self._parts
            for row, name in enumerate(part.names)
        }

    def size(self, name):
        """Returns the `Size` of a picture: all of a part have one."""
        part, _ = self._rows.get(name, (None, 0))
        if part is None:
            return Size()
        height, width = part.image_shape[:2]
        return Size(int(width), int(height))

    def pixels(self, name):
        """Returns a picture, uint8 `[height, width, 1 or 3]`, or `None`."""
        part, row = self._rows.get(name, (None, 0))
        return None if part is None else np.asarray(part.read([row]))[0]


def _upright_size(file, length):
    """Reads `(width, height)` from as much of a file as it takes."""
    data = file.read(_HEAD)
    found = image_format(data)
    if found is None:
        raise UnreadableImage("it is not an image of a known format")
    size = declared_size(data)
    if length > len(data) and (found.name not in _HEADERS or min(size) < 1):
        data += file.read()
        size = declared_size(data)
    if found.name not in _HEADERS or min(size) < 1:
        return read_pixels(data).shape[1::-1]
    return size[::-1] if _lies_on_its_side(found.name, data) else size


def _lies_on_its_side(kind, data):
    """Whether EXIF's orientation swaps width and height."""
    if (b"Exif" if kind == "JPEG" else b"eXIf") not in data:
        return False
    import tensorflow as tf

    from tfembed.ops.orientation import jpeg_exif, orientation_in, png_exif

    with tf.device("CPU:0"):
        exif = (jpeg_exif if kind == "JPEG" else png_exif)(tf.constant(data))
        return int(orientation_in(exif)) > 4
