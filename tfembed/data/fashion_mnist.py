"""Fashion-MNIST (https://arxiv.org/abs/1708.07747), and four ways to come by it.

    python -m tfembed.data.fashion_mnist --data-dir DIR

makes sure that the files are there, by whichever way works, and prints the folder. It
does without TensorFlow unless it has to download the Keras way.
"""

import os
import subprocess
import sys

from tfembed.command_line import CommandLine, stopped_by_hand
from tfembed.data.cache_folder import keras_datasets_folder
from tfembed.data.debian_package import fetch_debian_folder
from tfembed.data.idx import IMAGE_FILES, find_folder, read_idx

__all__ = ["CLASS_NAMES", "fetch_debian_package", "find", "find_files", "main"]

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PACKAGE = "dataset-fashion-mnist"
_PACKAGE_FOLDER = os.path.join("usr", "share", "datasets", "fashion-mnist")


def find(argument, request):
    """Finds the images, downloading them the Keras way as the last resort."""
    from tfembed.data.array_split import ArraySplit, numbered_names
    from tfembed.data.request import Source

    folder = find_files(request.data_dir) or _download(request.data_dir)

    def split(part):
        images, labels = (read_idx(folder, file) for file in IMAGE_FILES[part])
        names = numbered_names("fashion_mnist", part, len(images))
        return ArraySplit(images[..., None], labels, names)

    return Source(split("train"), split("test"), CLASS_NAMES)


def find_files(data_dir=None):
    """Looks for the four idx files on this machine.

    Args:
        data_dir: Folder to look in first: itself, its `fashion-mnist`, and what
            `fetch_debian_package` leaves there.

    Returns:
        The folder that holds them, or `None`.
    """
    folders = []
    if data_dir:
        inner = ("", "fashion-mnist", "fashion_mnist", _PACKAGE_FOLDER)
        folders += [os.path.join(data_dir, folder) for folder in inner]
    folders.append(os.path.join(keras_datasets_folder(), "fashion-mnist"))
    folders.append(os.path.join(os.sep, _PACKAGE_FOLDER))
    return find_folder(folders)


def fetch_debian_package(cache_dir):
    """Gets Debian's package of the data without installing it, so without root.

    Args:
        cache_dir: Folder to unpack into; made if it is not there.

    Returns:
        The folder of the four files, below `cache_dir`.

    Raises:
        RuntimeError: If this is no Debian, or the package cannot be had; says why.
    """
    return fetch_debian_folder(
        _PACKAGE,
        _PACKAGE_FOLDER,
        os.path.join(cache_dir, "fashion-mnist"),
        is_whole=lambda folder: find_folder([folder]) is not None,
    )


def _download(data_dir):
    """Downloads the Keras way, into Keras' cache."""
    from tensorflow import keras

    try:
        keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception for any failure
        raise ValueError(_four_ways(data_dir, error)) from error
    folder = find_files(data_dir)
    if folder is None:
        raise ValueError(_four_ways(data_dir, "no files in Keras' cache afterwards"))
    return folder


def _four_ways(data_dir, reason):
    keras_folder = os.path.join(keras_datasets_folder(), "fashion-mnist")
    return (
        "Fashion-MNIST was not found in any of four ways. "
        f"1. `data_dir` (--data-dir), for the four idx .gz files: {data_dir!r}. "
        f"2. Keras' cache: {keras_folder!r}. "
        f"3. Debian's package {_PACKAGE}: {os.sep + _PACKAGE_FOLDER!r}; "
        f"`apt-get install {_PACKAGE}`, or without root "
        "`python -m tfembed.data.fashion_mnist --data-dir DIR`. "
        f"4. Downloading the Keras way, which failed: {_one_line(reason)}"
    )


def _one_line(reason):
    return " ".join(str(reason).split())


@stopped_by_hand()
def main(arguments=None):
    """Makes sure that the data is there; returns the exit code."""
    parser = CommandLine(
        prog="python -m tfembed.data.fashion_mnist",
        description="Makes sure that Fashion-MNIST is on this machine: looks in DIR, "
        "in Keras' cache and where Debian's package puts it, else fetches Debian's "
        "package into DIR (no root needed), else downloads the Keras way. Prints the "
        "folder that holds the files.",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        default=keras_datasets_folder(),
        help="where to look first and to put what is fetched (default: %(default)s)",
    )
    data_dir = parser.parse_args(arguments).data_dir
    folder = find_files(data_dir)
    reasons = []
    if folder is None:
        try:
            folder = fetch_debian_package(data_dir)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            reasons.append(f"Debian's package: {_one_line(error)}")
    if folder is None:
        try:
            folder = _download(data_dir)
        except (ValueError, ImportError) as error:
            reasons.append(_one_line(error))
    if folder is None:
        print("; ".join(reversed(reasons)), file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
