"""MNIST: the idx files, or the archive that Keras downloads."""

import os

from tfembed.data.array_split import ArraySplit, numbered_names
from tfembed.data.cache_folder import keras_datasets_folder
from tfembed.data.idx import IMAGE_FILES, find_folder, read_idx
from tfembed.data.request import Source
from tfembed.formats.npz import Npz

__all__ = ["find"]

_PARTS = ("train", "test")


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
            return _read_archive(path)
    return None


def _read_archive(path):
    """Reads Keras' archive of MNIST."""
    advice = "Remove it: Keras then downloads MNIST again. Or bring a whole one."
    arrays = {}
    with Npz(path, advice) as archive:
        archive.require(*(f"{axis}_{part}" for part in _PARTS for axis in "xy"))
        for part in _PARTS:
            images = archive.array(f"x_{part}", "uint8", ("n", 28, 28))
            labels = archive.array(f"y_{part}", "integers", (len(images),))
            arrays[part] = images, labels
    return arrays


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
