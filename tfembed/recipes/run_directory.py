"""The run directory: made, found again, locked, written to."""

import contextlib
import csv
import dataclasses
import fcntl
import io
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from tfembed.formats.disk import written_beside

PACKAGES = (
    "tensorflow",
    "keras",
    "keras-cv",
    "tensorflow-addons",
    "tensorflow-similarity",
    "tensorflow-serving-api",
    "numpy",
    "scikit-learn",
)


class RunDirectory:
    """A directory that one process at a time trains in.

    Args:
        path: The directory, or `None` for the newest unfinished run of the same
            config below `parent`, or else a new one there.
        recipe: Name of the recipe.
        config: Its config.
        parent: Where runs without a name of their own are made.
        chief: False on all workers of a multi-worker run but the first, which alone
            locks the directory and writes to it.

    Raises:
        ValueError: If the directory belongs to another config, or to a process that
            is training in it now.
    """

    def __init__(self, path, recipe, config, parent="runs", chief=True):
        self.settings = {"recipe": recipe, **dataclasses.asdict(config)}
        self.path = Path(path) if path else self._find(Path(parent))
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"--run-dir must be a directory. Received: {str(self.path)!r}, "
                "which is a file."
            )
        self._check_config()
        self._lock = None
        self._new = []  # what was not there before
        if not chief:
            return
        if not self.path.exists():
            self._new.append(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path / ".lock", "w")
        if not _locked(self._lock):
            raise ValueError(
                f"Another process is training in {str(self.path)!r}; wait for it, "
                "or choose another --run-dir."
            )
        if not (self / "config.json").exists():
            self._new += [
                self / name for name in ("environment.json", ".lock", "config.json")
            ]
            self.write_json("config.json", self.settings)
        self.write_json("environment.json", environment())

    def __truediv__(self, name):
        return self.path / name

    def __str__(self):
        return str(self.path)

    def close(self):
        """Lets other processes in."""
        if self._lock is not None:
            self._lock.close()

    def discard(self):
        """Removes what was made here, of a run that could not begin."""
        for path in reversed(self._new):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()

    @property
    def finished(self):
        """Whether the run has its result."""
        return (self / "result.json").exists()

    def write_json(self, name, value):
        """Writes JSON beside and renames it into place."""
        self.write_bytes(name, (json.dumps(value, indent=2) + "\n").encode())

    def write_bytes(self, name, content):
        """Writes a file beside and renames it into place."""
        with written_beside(self / name) as partial:
            Path(partial).write_bytes(content)

    def write_npz(self, name, **arrays):
        """Writes arrays, none of them pickled, beside and renames the file."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self.write_bytes(name, buffer.getvalue())

    def read_json(self, name):
        """Reads a JSON file of the run, `None` if it is not there."""
        path = self / name
        return json.loads(path.read_text()) if path.exists() else None

    def cut_log(self, epochs):
        """Leaves the first `epochs` rows in `log.csv`.

        A run that was killed after it logged an epoch and before it backed it up
        trains that epoch again, and logs it again.
        """
        path = self / "log.csv"
        if not path.exists():
            return
        if not epochs:
            path.unlink()
            return
        with open(path, newline="") as file:
            rows = list(csv.reader(file))
        buffer = io.StringIO(newline="")
        csv.writer(buffer, lineterminator="\n").writerows(rows[: epochs + 1])
        self.write_bytes("log.csv", buffer.getvalue().encode())

    def _check_config(self):
        path = self.path / "config.json"
        if not path.exists():
            return
        try:
            theirs = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
        differences = [
            f"{key}={theirs.get(key)!r} there, {value!r} here"
            for key, value in self.settings.items()
            if theirs.get(key) != value
        ]
        if differences:
            raise ValueError(
                f"{str(self.path)!r} is a run of other settings: "
                f"{'; '.join(differences)}. Choose another --run-dir, or repeat its "
                f"command to go on with it: --config {path}."
            )

    def _find(self, parent):
        """Returns the newest unfinished run of these settings, or a new folder."""
        dataset = str(self.settings["dataset"]).split(":")[0]
        stem = f"{self.settings['recipe']}-{dataset}"
        numbers = [0]
        for path in parent.glob(f"{stem}-*"):
            number = path.name[len(stem) + 1 :]
            if number.isdigit():
                numbers.append(int(number))
        for number in sorted(numbers, reverse=True)[:-1]:
            path = parent / f"{stem}-{number:03d}"
            if self._can_go_on(path):
                return path
        return parent / f"{stem}-{max(numbers) + 1:03d}"

    def _can_go_on(self, path):
        if (path / "result.json").exists() or not (path / "config.json").exists():
            return False
        if json.loads((path / "config.json").read_text()) != self.settings:
            return False
        with open(path / ".lock", "w") as lock:
            return _locked(lock)


def _locked(file):
    """Takes a file's lock, without waiting; tells whether it succeeded."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def environment():
    """Returns what a run was made with: versions, machine, command."""
    from tfembed.version import __version__

    versions = {"tfembed": __version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "versions": versions,
        "command": " ".join(sys.argv),
    }


def is_chief():
    """Tells whether this process writes the run directory."""
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
    return task.get("index", 0) == 0 and task.get("type", "worker") in (
        "chief",
        "worker",
    )
