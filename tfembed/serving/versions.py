"""The versions of a model on disk, and which of them is being served."""

import dataclasses
import gc
import logging
import os
import re
import threading
import time

from tfembed.serving.status import StatusError, invalid_argument

_logger = logging.getLogger("tfembed.serving")
_VERSION = re.compile(r"\s*[+-]?\d+\s*")
_RETRIES = 5
_RETRY_SECONDS = 60.0


@dataclasses.dataclass
class VersionState:
    """Where one version is in its life.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: Why it failed to load; empty if it did not.
        attempts: How often loading was tried.
        tried_at: When it was last tried, on the monotonic clock.
    """

    state: str = "START"
    error: str = ""
    attempts: int = 0
    tried_at: float = 0.0


def find_versions(base_path):
    """Finds the versions in a model's folder.

    Args:
        base_path: The folder whose children are named by numbers.

    Returns:
        Dictionary of version (int) to path. Other names, such as those of hidden
        folders that are still being written, are passed over.
    """
    versions = {}
    for name in sorted(os.listdir(base_path)):
        path = os.path.join(base_path, name)
        if _VERSION.fullmatch(name) and os.path.isdir(path):
            versions.setdefault(int(name), path)
    return versions


class ModelVersions:
    """Serves the highest version, and moves on when a higher one appears.

    The new version is loaded before the old one is let go, so that there is always
    one to answer; requests that are under way finish on the version they began on.
    If a version fails to load, the one before it stays, and loading is tried again
    each minute, five times.

    Args:
        name: Name of the model in requests.
        base_path: The folder whose children are named by numbers.
        load: Function of `(path, version)` that loads one version.
        poll_seconds: How often the folder is looked at.

    Raises:
        ValueError: If there is no version in `base_path`, or it does not load.
    """

    def __init__(self, name, base_path, load, poll_seconds=1.0):
        self.name = name
        self._base_path = os.fspath(base_path)
        self._load = load
        self._poll_seconds = poll_seconds
        self._current = None
        self._states = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._poller = threading.Thread(
            target=self._poll, name=f"poll-{name}", daemon=True
        )
        check_model_dir(self._base_path)

    def start(self):
        """Loads the highest version and begins to look for newer ones."""
        self.refresh()
        if self._current is None:
            version, state = max(self._states.items())
            raise ValueError(
                f"Version {version} of model {self.name!r} in "
                f"{self._base_path!r} does not load: {state.error}"
            )
        self._poller.start()

    def stop(self):
        """Stops looking for newer versions."""
        self._stopped.set()
        if self._poller.is_alive():
            self._poller.join()

    def get(self, version=None):
        """Returns the loaded version.

        Args:
            version: Its number, or None for the latest.

        Raises:
            StatusError: NOT_FOUND if that version is not loaded.
        """
        current = self._current
        if current is None or version not in (None, current.version):
            raise _not_found(self.name, version)
        return current

    def states(self):
        """Returns the state of each version ever seen, the highest first."""
        with self._lock:
            return [
                (version, dataclasses.replace(state))
                for version, state in sorted(self._states.items(), reverse=True)
            ]

    def refresh(self):
        """Looks at the folder once, and changes over if there is reason to."""
        try:
            versions = find_versions(self._base_path)
        except OSError as error:
            _logger.warning("cannot read %s: %s", self._base_path, error)
            return
        if not versions:
            return  # what is loaded goes on being served
        wanted = max(versions)
        current = self._current
        if current is not None and current.version == wanted:
            return
        state = self._states.get(wanted)
        if state is None or state.state == "END" and not state.error:
            state = VersionState()
        elif state.attempts > _RETRIES:
            return
        elif time.monotonic() - state.tried_at < _RETRY_SECONDS:
            return
        self._change_over(wanted, versions[wanted], state)

    def _change_over(self, version, path, state):
        """Loads a version and, if that works, lets the one before it go."""
        state.state, state.error = "LOADING", ""
        state.attempts += 1
        state.tried_at = time.monotonic()
        with self._lock:
            self._states[version] = state
        try:
            servable = self._load(path, version)
        except Exception as error:  # whatever a broken folder makes TensorFlow raise
            message = f"{type(error).__name__}: {error}"
            with self._lock:
                state.state, state.error = "END", message
            _logger.error(
                "version %d of %s failed to load: %s", version, self.name, message
            )
            return
        before, self._current = self._current, servable
        with self._lock:
            state.state = "AVAILABLE"
            if before is not None:
                self._states[before.version].state = "END"
        _logger.info("serving version %d of %s", version, self.name)
        del before
        gc.collect()  # functions and graphs refer to each other

    def _poll(self):
        while not self._stopped.wait(self._poll_seconds):
            self.refresh()


class Models:
    """The models of a server, by name.

    Args:
        models: List of `ModelVersions`.
    """

    def __init__(self, models):
        self._models = {model.name: model for model in models}

    def get(self, name, version=None, label=None):
        """Returns the loaded version that a request asks for.

        Args:
            name: The model's name.
            version: A number, or None.
            label: The name of a version, or None. There are no labels here.

        Raises:
            StatusError: With the code and text TF Serving would answer.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if label is not None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        if name not in self._models:
            raise _not_found(name, version)
        return self._models[name].get(version)

    def states(self, name, version=None):
        """Returns `(version, VersionState)` of all versions, or of one.

        Raises:
            StatusError: NOT_FOUND if there is none.
        """
        states = self._models[name].states() if name in self._models else []
        if version is not None:
            states = [(number, state) for number, state in states if number == version]
            if not states:
                raise StatusError(
                    "NOT_FOUND", f"Could not find version {version} of model {name}"
                )
        if not states:
            raise StatusError(
                "NOT_FOUND", f"Could not find any versions of model {name}"
            )
        return states


def _not_found(name, version):
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")


def check_model_dir(path):
    """Refuses a folder without versions, and says what it looks like instead."""
    received = f"Received: {path!r}"
    allowed = "The model folder must hold versions, folders named by numbers."
    if not os.path.isdir(path):
        raise ValueError(
            f"{allowed} {received}, which is not a folder. Write a model with "
            "`python -m tfembed.export model RUN_DIR MODEL_DIR`."
        )
    if os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(
            f"{allowed} {received}, which is itself one version. "
            f"Give the folder above it, {os.path.dirname(os.path.abspath(path))!r}."
        )
    if not find_versions(path):
        raise ValueError(
            f"{allowed} {received}, in which there is none. Write a model with "
            "`python -m tfembed.export model RUN_DIR MODEL_DIR`."
        )
