"""MNIST: the idx files, or the archive that Keras downloads."""

import os

import numpy as np

from tfembed.data.array_split import ArraySplit, numbered_names
from tfembed.data.idx import IMAGE_FILES, find_folder, read_idx
from tfembed.data.keras_cache import keras_datasets_folder
from tfembed.data.npz import BROKEN_ARCHIVE
from tfembed.data.request import Source

__all__ = ["find"]


def find(argument, request):
    """Looks in `data_dir`, then in Keras' cache, then downloads the Keras way."""
    arrays = _on_this_machine(request.data_dir) or _download(request.data_dir)

    def split(part):
        images, labels = arrays[part]
        names = numbered_names("mnist", part, len(images))
        return ArraySplit(images[..., None], labels, names)

    class_names = tuple(str(digit) for digit in range(10))
    return Source(split("train"), split("test"), class_names)


def _on_this_machine(data_dir):
    folders = [os.path.join(keras_datasets_folder(), "mnist"), keras_datasets_folder()]
    if data_dir:
        folders = [os.path.join(data_dir, "mnist"), data_dir, *folders]
    for folder in folders:
        if find_folder([folder]):
            return {
                part: tuple(read_idx(folder, file) for file in files)
                for part, files in IMAGE_FILES.items()
            }
        path = os.path.join(folder, "mnist.npz")
        if os.path.isfile(path):
            try:
                with np.load(path, allow_pickle=False) as archive:
                    return {
                        part: (archive[f"x_{part}"], archive[f"y_{part}"])
                        for part in ("train", "test")
                    }
            except (*BROKEN_ARCHIVE, KeyError) as error:
                raise ValueError(
                    f"{path!r} cannot be read as Keras' archive of MNIST ({error}). "
                    "Remove it, or bring a whole one."
                ) from error
    return None


def _download(data_dir):
    from tensorflow import keras

    try:
        train, test = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception for any failure
        raise ValueError(
            "MNIST was not found. It was looked for as four idx files or mnist.npz in "
            f"`data_dir` (--data-dir), {data_dir!r}, and in Keras' cache, "
            f"{keras_datasets_folder()!r}; downloading it the Keras way failed: "
            f"{' '.join(str(error).split())}"
        ) from error
    return {"train": train, "test": test}
