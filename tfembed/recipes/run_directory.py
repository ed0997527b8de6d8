"""The run directory: made, found again, locked, written to."""

import contextlib
import csv
import dataclasses
import errno
import fcntl
import io
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from tfembed.formats.disk import written_beside
from tfembed.formats.format_version import FORMAT, RUN, check_format

WEIGHTS = "backbone_weights"  # what config.json calls the record of them
_TRIES = 100
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
        ValueError: If the directory belongs to another config, to a newer version of
            tfembed, or to a process that is training in it now.
    """

    def __init__(self, path, recipe, config, parent="runs", chief=True):
        self.settings = {"recipe": recipe, **dataclasses.asdict(config)}
        self._defaults = {
            each.name: each.default for each in dataclasses.fields(config)
        }
        self._lock, self._new = None, []
        for trial in range(_TRIES):
            self.path = Path(path) if path else self._find(Path(parent))
            if self.path.exists() and not self.path.is_dir():
                raise ValueError(
                    f"--run-dir must be a directory. Received: {str(self.path)!r}, "
                    "which is a file."
                )
            self._check_config()
            if not chief:
                return
            try:
                self._take()
                if path or not self.finished:
                    break
                self.close()
            except (FileNotFoundError, FileExistsError, ValueError) as error:
                named = path and isinstance(error, ValueError)
                if named or trial == _TRIES - 1:
                    raise
                # Another process was faster: what there is now is looked at.
        if not (self / "config.json").exists():
            self._new += [
                self / name for name in (".lock", "environment.json", "config.json")
            ]
            self._write_config()
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
        """Whether the run has its result, of as many epochs as are wanted."""
        return (self / "result.json").exists() and self.shorter is None

    @property
    def shorter(self):
        """How many epochs a result has that is of fewer than are wanted, or `None`."""
        result = self.read_json("result.json") or {}
        epochs = result.get("epochs", self.settings["epochs"])
        return epochs if epochs < self.settings["epochs"] else None

    def extend(self):
        """Makes a finished run one of more epochs, which has yet to finish.

        `stages.json` keeps after which epochs it had a result before.
        """
        stages = {*(self.read_json("stages.json") or []), self.shorter}
        self.write_json("stages.json", sorted(stages))
        self._write_config((self.read_json("config.json") or {}).get(WEIGHTS))
        (self / "result.json").unlink()  # last: killed before it, this is done again

    def record_weights(self, record):
        """Says in `config.json` which weights the backbone began with.

        Args:
            record: A dictionary with `sha256`.

        Raises:
            ValueError: If the run began with others.
        """
        settings = self.read_json("config.json") or self.settings
        before = settings.get(WEIGHTS)
        if before and before["sha256"] != record["sha256"]:
            raise ValueError(
                f"{str(self.path)!r} began with other weights, {before['file']} of "
                f"sha256 {before['sha256'][:8]}. Received: {record['file']} of sha256 "
                f"{record['sha256'][:8]}. Put the file back, or choose another "
                "--run-dir."
            )
        if self._lock is not None and not before:
            self._write_config(record)

    def _write_config(self, weights=None):
        weights = {WEIGHTS: weights} if weights else {}
        self.write_json("config.json", {FORMAT: RUN, **self.settings, **weights})

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
        try:
            return json.loads((self / name).read_text())
        except FileNotFoundError:
            return None

    def _take(self):
        """Makes the directory if need be, and locks it for this process.

        Raises:
            FileNotFoundError, FileExistsError: If another process took it away, or
                made it, since it was looked at.
            ValueError: If another process has it, or made another run of it.
        """
        self._new = []  # what was not there before
        if not self.path.exists():
            self._new.append(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        lock = open(self.path / ".lock", "w")
        try:
            if not _locked(lock):
                raise ValueError(
                    f"Another process is training in {str(self.path)!r}; wait for it, "
                    "or choose another --run-dir."
                )
            if not os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name)):
                raise FileNotFoundError(errno.ENOENT, "removed", lock.name)
            self._check_config()
        except BaseException:
            lock.close()
            raise
        self._lock = lock

    def _check_config(self):
        path = self.path / "config.json"
        try:
            theirs = json.loads(path.read_text())
        except FileNotFoundError:
            return
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
        check_format(theirs, RUN, str(path))
        differences = self._differences(theirs)
        if self.shorter is not None and theirs.get("epochs", 0) <= self.shorter:
            differences.pop("epochs", None)
        if differences:
            differences = [
                f"{key}={there!r} there, {here!r} here"
                for key, (there, here) in differences.items()
            ]
            raise ValueError(
                f"{str(self.path)!r} is a run of other settings: "
                f"{'; '.join(differences)}. Choose another --run-dir, or repeat its "
                f"command to go on with it: --config {path}."
            )

    def _differences(self, theirs):
        """`{key: (there, here)}`.

        A run of an earlier version lacks the settings that have come since: it has
        their defaults.
        """
        theirs = {**self._defaults, **theirs}
        return {
            key: (theirs.get(key), value)
            for key, value in self.settings.items()
            if theirs.get(key) != value
        }

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
        try:
            if (path / "result.json").exists():
                return False
            theirs = json.loads((path / "config.json").read_text())
            check_format(theirs, RUN, str(path))
            if self._differences(theirs):
                return False
            with open(path / ".lock", "w") as lock:
                return _locked(lock)
        except (FileNotFoundError, ValueError):  # no run, or a newer one
            return False


def cut_log(path, epochs):
    """Leaves the first `epochs` rows in a log, a `Path`.

    A run that was killed after it logged an epoch and before it backed it up trains
    that epoch again, and logs it again.
    """
    if not path.exists():
        return
    if not epochs:
        path.unlink()
        return
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows[: epochs + 1])
    with written_beside(path) as partial:
        Path(partial).write_bytes(buffer.getvalue().encode())


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
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    task = config.get("task", {})
    kind, first = task.get("type", "worker"), int(task.get("index", 0)) == 0
    if config.get("cluster", {}).get("chief"):
        return kind == "chief" and first
    return kind in ("chief", "worker") and first
