"""A folder out of one of Debian's packages, without installing it, so without root."""

import glob
import os
import shutil
import subprocess
import tempfile

from tfembed.formats.disk import sync, sync_all

__all__ = ["fetch_debian_folder"]

_SECONDS = 1200


def fetch_debian_folder(
    package, inside, place, is_whole=os.path.isdir, prepare=lambda folder: None
):
    """Downloads a package with apt-get, unpacks it, and keeps one folder of it.

    Args:
        package: The package's name.
        inside: The folder in it, relative.
        place: What the folder is to be on this machine; its parent is made if need be.
        is_whole: Function of a folder that tells whether it is what was wanted.
        prepare: Function of the unpacked folder, before it gets its place.

    Returns:
        `place`.

    Raises:
        RuntimeError: If this is no Debian, or the package cannot be had; says why.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise RuntimeError(f"{tool} is not installed on this machine")
    parent = os.path.dirname(os.path.abspath(place))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".package-") as work:
        try:
            _run(["apt-get", "download", package], work)
        except RuntimeError:
            _download_with_own_lists(package, work)
        (file,) = glob.glob(os.path.join(work, f"{package}_*.deb"))
        _run(["dpkg", "-x", file, "unpacked"], work)
        unpacked = os.path.join(work, "unpacked", inside)
        if not is_whole(unpacked):
            raise RuntimeError(f"the package {package} does not hold {inside}")
        prepare(unpacked)
        if not is_whole(place):
            shutil.rmtree(place, ignore_errors=True)
            try:
                sync_all(unpacked)
                os.replace(unpacked, place)
                sync(parent)
            except OSError:  # another process may have put it there just now
                if not is_whole(place):
                    raise
    return place


def _download_with_own_lists(package, work):
    """As `apt-get download`, where the machine's package lists are empty or old."""
    lists, cache = os.path.join(work, "lists"), os.path.join(work, "cache")
    os.makedirs(os.path.join(lists, "partial"))
    os.makedirs(os.path.join(cache, "archives", "partial"))
    options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
    _run(["apt-get", *options, "update"], work)
    _run(["apt-get", *options, "download", package], work)


def _run(command, folder):
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_SECONDS,
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.startswith("E: ")]
        reason = (errors or done.stdout.splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(command)} failed: {reason}")
