"""The versions of one model: on disk, in memory, and on their way between the two."""

import contextlib
import dataclasses
import gc
import logging
import math
import os
import threading
import time

from tfembed.formats.version_folders import find_versions, is_one_version
from tfembed.serving.status import CODE_NAMES, StatusError

_logger = logging.getLogger("tfembed.serving")


@dataclasses.dataclass
class VersionState:
    """Where one version is in its life.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END. A version that failed is
            LOADING until it has been tried as often as it may be.
        code: Name of the status code of its last failure; OK if there was none.
        failure: Why it failed to load, the last time; lone surrogates stand for bytes
            that are not UTF-8.
        attempts: How often loading was tried.
        tried_at: When it was last tried, on the monotonic clock.
    """

    state: str = "START"
    code: str = "OK"
    failure: str = ""
    attempts: int = 0
    tried_at: float = 0.0

    @property
    def status(self):
        """The code and the text of the status; a failure only once it is final."""
        if self.state == "END":
            return self.code, self.failure
        return "OK", ""


@dataclasses.dataclass
class _Served:
    """A loaded version, and how many requests are using it."""

    path: str
    servable: object
    users: int = 0
    retired: bool = False


class ModelVersions:
    """Serves those versions of a model that its policy asks for.

    There is always a version to answer: the last one is let go when a new one is
    loaded, others before that, as in TF Serving. Requests that are under way finish on
    the version they began on. If a version fails to load, the ones before it stay, and
    loading is tried again: its files may still be arriving. A folder that becomes empty
    changes nothing.

    Args:
        config: The `ModelConfig`.
        load: Function of `(path, version)` that loads one version.
        poll_seconds: How often the folder is looked at.
        states: Dictionary of version to `VersionState` from an earlier life of the
            model in this server; it is gone on with.
        retries: How often loading is tried again.
        retry_seconds: The least seconds between two attempts.
    """

    def __init__(
        self,
        config,
        load,
        poll_seconds=1.0,
        states=None,
        retries=5,
        retry_seconds=60.0,
    ):
        self.name = config.name
        self.config = config
        self._load = load
        self._poll_seconds = poll_seconds
        self._retries = retries
        self._retry_seconds = retry_seconds
        self._served = {}
        self._states = {} if states is None else states
        self._lock = threading.Lock()
        self._refreshing = threading.RLock()
        self._garbage = False
        self._stopped = threading.Event()
        self._poller = threading.Thread(
            target=self._poll, name=f"poll-{self.name}", daemon=True
        )

    def start_polling(self):
        """Begins to look for other versions, in a thread."""
        self._poller.start()

    def close(self):
        """Stops looking for versions, and lets all go that are served."""
        self._stopped.set()
        if self._poller.is_alive() and self._poller is not threading.current_thread():
            self._poller.join()
        with self._refreshing:
            for version in list(self._served):
                self._retire(version)
            with self._lock:
                for state in self._states.values():
                    if state.failure:  # it is not tried again
                        state.state = "END"
            self._collect()

    def reconfigure(self, config):
        """Goes on with another policy or another folder."""
        with self._refreshing:
            self.config = config
            self.refresh()

    @contextlib.contextmanager
    def use(self, version=None):
        """Lends a loaded version; it stays in memory until it is given back.

        Args:
            version: Its number, or None for the latest.

        Yields:
            What `load` returned.

        Raises:
            StatusError: NOT_FOUND if that version is not loaded.
        """
        with self._lock:
            number = max(self._served, default=None) if version is None else version
            if number not in self._served:
                raise servable_not_found(self.name, version)
            served = self._served[number]
            served.users += 1
        try:
            yield served.servable
        finally:
            with self._lock:
                served.users -= 1
                self._end_if_unused(number, served)

    def available(self):
        """Returns the set of versions that answer requests."""
        with self._lock:
            return set(self._served)

    def states(self):
        """Returns `(version, VersionState)` of each version ever seen, highest first.

        The states are copies.
        """
        with self._lock:
            return [
                (version, dataclasses.replace(state))
                for version, state in sorted(self._states.items(), reverse=True)
            ]

    def history(self):
        """Returns the states themselves, for `states` of a later `ModelVersions`."""
        return self._states

    def refresh(self):
        """Looks at the folder once, and changes over if there is reason to."""
        with self._refreshing:
            try:
                found = find_versions(self.config.base_path)
            except OSError as error:
                _logger.warning("cannot read %s: %s", self.config.base_path, error)
                return
            wanted = self.config.policy.choose(found)
            self._forget_failures(wanted)
            self._retire_others(wanted)
            for version in sorted(wanted, reverse=True):
                self._bring_up(version, found[version])
            self._retire_others(wanted)
            self._collect()

    def _forget_failures(self, wanted):
        """Gives up what failed and is not wanted; if it comes again, it is new."""
        with self._lock:
            for version, state in self._states.items():
                if state.failure and version not in wanted:
                    state.state = "END"
                    state.attempts, state.tried_at = 0, -math.inf

    def _retire_others(self, wanted):
        """Takes unwanted versions out of service, if a wanted one can answer."""
        if any(version in self._served for version in wanted):
            for version in set(self._served) - wanted:
                self._retire(version)

    def _bring_up(self, version, path):
        """Loads a version, unless it is loaded or has failed too often."""
        served = self._served.get(version)
        if served is not None and served.path == path:
            return
        state = self._states.get(version)
        if state is None or not state.failure:
            state = VersionState()
        elif state.attempts > self._retries:
            return
        elif time.monotonic() - state.tried_at < self._retry_seconds:
            return
        with self._lock:
            state.state, state.code, state.failure = "LOADING", "OK", ""
            state.attempts += 1
            state.tried_at = time.monotonic()
            self._states[version] = state
        try:
            servable = self._load(path, version)
        except Exception as error:  # whatever a broken folder makes TensorFlow raise
            with self._lock:
                state.code, state.failure = _code_and_message(error)
                if state.attempts > self._retries:
                    state.state = "END"
            _logger.error(
                "version %d of %s failed to load: %s",
                version,
                self.name,
                printable(state.failure),
            )
            return
        with self._lock:
            self._served = {**self._served, version: _Served(path, servable)}
            state.state = "AVAILABLE"
            if served is not None:  # the same number, from another folder
                served.retired = True
                self._garbage = True
        _logger.info("serving version %d of %s", version, self.name)

    def _retire(self, version):
        """Takes a version out of service; it ends with the last request on it."""
        with self._lock:
            served = self._served[version]
            self._served = {
                number: kept
                for number, kept in self._served.items()
                if number != version
            }
            served.retired = True
            self._states[version].state = "UNLOADING"
            self._end_if_unused(version, served)

    def _end_if_unused(self, version, served):
        """Lets go of a retired version that no request uses. Needs the lock."""
        if not served.retired or served.users or served.servable is None:
            return
        served.servable = None
        self._garbage = True
        if version not in self._served:
            self._states[version].state = "END"

    def _collect(self):
        """Frees unloaded versions: functions and graphs refer to each other."""
        if self._garbage:
            self._garbage = False
            gc.collect()

    def _poll(self):
        while not self._stopped.wait(self._poll_seconds):
            self.refresh()


def printable(text):
    """Returns a text in which what is not UTF-8 is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _code_and_message(error):
    """Returns the status that the failure to load a version is told by."""
    if isinstance(error, StatusError):
        return error.code, error.message
    message = getattr(error, "message", "") or str(error)
    code = CODE_NAMES.get(getattr(error, "error_code", None), "UNKNOWN")
    return code, f"{type(error).__name__}: {message}"


def servable_not_found(name, version):
    """Returns the error for a model or version that is not loaded."""
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
    if is_one_version(path):
        raise ValueError(
            f"{allowed} {received}, which is itself one version. "
            f"Give the folder above it, {os.path.dirname(os.path.abspath(path))!r}."
        )
    try:
        found = find_versions(path)
    except FileNotFoundError:  # it went just now
        found = {}
    if not found:
        raise ValueError(
            f"{allowed} {received}, in which there is none. Write a model with "
            "`python -m tfembed.export model RUN_DIR MODEL_DIR`."
        )
