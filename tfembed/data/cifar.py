"""CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html).

Both are published as pickles ("python version") and as plain bytes ("binary
version"). Either is found in `data_dir`, the first also where Keras leaves it. A
pickle can name any function to call; the reader here knows the few that build arrays
and refuses the rest.
"""

import dataclasses
import os
import pickle

import numpy as np

from tfembed.data.array_split import ArraySplit, numbered_names
from tfembed.data.cache_folder import keras_datasets_folder
from tfembed.data.request import Source

__all__ = ["Edition", "find_cifar"]

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


@dataclasses.dataclass(frozen=True)
class Edition:
    """Where one of the two keeps what.

    Attributes:
        name: `cifar10` or `cifar100`.
        folder: The folder in the archives, less `-py`, `-python` or `-binary`.
        python_files: Part to file names of the python version.
        binary_files: Part to file names of the binary version.
        label_key: The labels' key in the pickles.
        label_bytes: Bytes before an image in the binary version; the last is taken.
        meta_key: The class names' key in the pickle `meta_file`.
        meta_file: File of class names in the python version.
        text_file: File of class names in the binary version.
    """

    name: str
    folders: tuple[str, ...]
    python_files: dict
    binary_files: dict
    label_key: bytes
    label_bytes: int
    meta_file: str
    meta_key: bytes
    text_file: str


def find_cifar(edition, request):
    """Looks in `data_dir`, then in Keras' cache, then downloads the Keras way."""
    found = _on_this_machine(edition, request.data_dir)
    if found is None:
        _download(edition, request.data_dir)
        found = _on_this_machine(edition, request.data_dir)
    if found is None:
        raise ValueError(_not_found(edition, request.data_dir, "it left no files"))
    arrays, class_names = found

    def split(part):
        images, labels = arrays[part]
        return ArraySplit(
            images, labels, numbered_names(edition.name, part, len(images))
        )

    return Source(split("train"), split("test"), class_names)


def _on_this_machine(edition, data_dir):
    for root in filter(None, (data_dir, keras_datasets_folder())):
        for inner in ("", *edition.folders):
            folder = os.path.join(root, inner)
            if _holds(folder, edition.python_files):
                return _read_python(folder, edition)
            if _holds(folder, edition.binary_files):
                return _read_binary(folder, edition)
    return None


def _holds(folder, files):
    wanted = [file for part in files.values() for file in part]
    return all(os.path.isfile(os.path.join(folder, file)) for file in wanted)


def _read_python(folder, edition):
    arrays = {}
    for part, files in edition.python_files.items():
        batches = [_unpickle(os.path.join(folder, file)) for file in files]
        images = np.concatenate([batch[b"data"] for batch in batches])
        labels = np.concatenate([batch[edition.label_key] for batch in batches])
        arrays[part] = _channels_last(images), labels
    meta = os.path.join(folder, edition.meta_file)
    names = None
    if os.path.isfile(meta):
        names = [name.decode() for name in _unpickle(meta)[edition.meta_key]]
    return arrays, _class_names(names, arrays)


def _read_binary(folder, edition):
    arrays = {}
    for part, files in edition.binary_files.items():
        paths = [os.path.join(folder, file) for file in files]
        rows = np.concatenate([np.fromfile(path, np.uint8) for path in paths])
        if rows.size % (edition.label_bytes + _PIXELS):
            raise ValueError(f"A file of {paths} is cut short. Get it again.")
        rows = rows.reshape(-1, edition.label_bytes + _PIXELS)
        labels = rows[:, edition.label_bytes - 1]
        arrays[part] = _channels_last(rows[:, edition.label_bytes :]), labels
    text = os.path.join(folder, edition.text_file)
    names = None
    if os.path.isfile(text):
        with open(text, encoding="utf-8") as lines:
            names = lines.read().split()
    return arrays, _class_names(names, arrays)


def _channels_last(rows):
    images = np.asarray(rows, np.uint8).reshape(-1, 3, _SIDE, _SIDE)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _class_names(names, arrays):
    if names is None:
        count = 1 + max(int(np.max(labels)) for _, labels in arrays.values())
        names = [str(label) for label in range(count)]
    return tuple(names)


class _ArraysOnly(pickle.Unpickler):
    """Builds lists, dicts, bytes and arrays, and calls nothing else."""

    _ALLOWED = {
        ("_codecs", "encode"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
    }

    def find_class(self, module, name):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return super().find_class(module, name)


def _unpickle(path):
    try:
        with open(path, "rb") as stream:
            return _ArraysOnly(stream, encoding="bytes").load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises whatever it comes upon
        raise ValueError(
            f"{path!r} is not a file of CIFAR's python version ({error}). Get it again."
        ) from error


def _download(edition, data_dir):
    from tensorflow import keras

    try:
        getattr(keras.datasets, edition.name).load_data()
    except Exception as error:  # Keras raises a bare Exception for any failure
        raise ValueError(_not_found(edition, data_dir, error)) from error


def _not_found(edition, data_dir, reason):
    return (
        f"{edition.name} was not found. Its python or binary version, unpacked, was "
        f"looked for in `data_dir` (--data-dir), {data_dir!r}, and in Keras' cache, "
        f"{keras_datasets_folder()!r}; downloading it the Keras way failed: "
        f"{' '.join(str(reason).split())}"
    )
