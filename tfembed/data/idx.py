"""The file format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist/).

A file is two zero bytes, a type (8: unsigned bytes), the number of dimensions, each
dimension as a big-endian 32-bit integer, and the values; usually gzipped.
"""

import gzip
import os
import zlib

import numpy as np

__all__ = ["IMAGE_FILES", "find_folder", "read_idx"]

IMAGE_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def find_folder(folders):
    """Returns the first folder that holds all four files, gzipped or not, or `None`."""
    wanted = [file for pair in IMAGE_FILES.values() for file in pair]
    for folder in folders:
        if all(_path(folder, file) for file in wanted):
            return folder
    return None


def read_idx(folder, file):
    """Reads one file.

    Args:
        folder: The folder.
        file: The file's name without `.gz`.

    Returns:
        uint8 array of the dimensions that the file states.

    Raises:
        ValueError: If the file is missing, or is not what its header says.
    """
    path = _path(folder, file)
    if path is None:
        raise ValueError(f"There is no file {file}[.gz] in {folder!r}.")
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path!r} cannot be read ({error}). Delete it and try again."
        ) from error
    rank = content[3] if content[:3] == b"\x00\x00\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content[4 : 4 + 4 * rank], ">u4").astype(np.int64)
    values = np.frombuffer(content, np.uint8, offset=min(4 + 4 * rank, len(content)))
    if rank == 0 or len(shape) != rank or values.size != shape.prod():
        raise ValueError(
            f"{path!r} is not an idx file of unsigned bytes, or is cut short. "
            "Delete it and try again."
        )
    return values.reshape(shape)


def _path(folder, file):
    for name in (f"{file}.gz", file):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None
