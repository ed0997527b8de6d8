"""The stamps of Tux Paint: 796 pictures of things, in 16 folders by what they are of.

    python -m tfembed.data.tuxpaint_stamps --data-dir DIR

makes sure that the pictures are there, and prints their folder, which is a source
`folder:PATH`. They are photos and drawings on a transparent ground, under the GPL 2,
of Debian's package tuxpaint-stamps-default, 161 MB. It does without TensorFlow.
"""

import os
import subprocess
import sys

from tfembed.command_line import CommandLine, stopped_by_hand
from tfembed.data.cache_folder import keras_datasets_folder
from tfembed.data.debian_package import fetch_debian_folder

__all__ = ["find_folder", "main"]

_PACKAGE = "tuxpaint-stamps-default"
_PACKAGE_FOLDER = os.path.join("usr", "share", "tuxpaint", "stamps")
_INSTALLED = os.path.join(os.sep, _PACKAGE_FOLDER)
_FOLDER = "tuxpaint-stamps"


def find_folder(data_dir):
    """Returns the folder of the pictures on this machine, or `None`.

    Args:
        data_dir: Folder to look in first.
    """
    for place in (os.path.join(data_dir, _FOLDER), _INSTALLED):
        if os.path.isdir(place):
            return place
    return None


def _leave_pictures(folder):
    """Takes away the sounds and descriptions, which are most of the files."""
    for below, folders, files in os.walk(folder, topdown=False):
        for name in files:
            if not name.endswith(".png"):
                os.unlink(os.path.join(below, name))
        for name in folders:
            path = os.path.join(below, name)
            if not os.listdir(path):
                os.rmdir(path)


@stopped_by_hand()
def main(arguments=None):
    """Makes sure that the pictures are there; returns the exit code."""
    parser = CommandLine(
        prog="python -m tfembed.data.tuxpaint_stamps",
        description="Makes sure that the stamps of Tux Paint are on this machine: "
        "looks in DIR and where Debian's package puts them, else fetches that package "
        "into DIR (161 MB, no root needed). Prints the folder of the pictures.",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        default=keras_datasets_folder(),
        help="where to look first and to put what is fetched (default: %(default)s)",
    )
    data_dir = parser.parse_args(arguments).data_dir
    folder = find_folder(data_dir)
    if folder is None:
        try:
            folder = fetch_debian_folder(
                _PACKAGE,
                _PACKAGE_FOLDER,
                os.path.join(data_dir, _FOLDER),
                prepare=_leave_pictures,
            )
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            reason = " ".join(str(error).split())
            print(
                f"Debian's package {_PACKAGE} cannot be had: {reason}. Give a folder "
                "of pictures of your own.",
                file=sys.stderr,
            )
            return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
