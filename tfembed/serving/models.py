"""The models of a server, by name; replaced as a whole, or not at all."""

import contextlib
import logging
import os
import threading

from tfembed.formats.version_folders import find_versions
from tfembed.serving.status import StatusError, invalid_argument
from tfembed.serving.versions import ModelVersions, servable_not_found

_logger = logging.getLogger("tfembed.serving")


class Models:
    """Loads the models that are configured, and finds the one that a request means.

    Args:
        load: Function of `(path, version)` that loads one version.
        poll_seconds: How often the folders are looked at.
        labels_for_unavailable: Whether a label may be given to a version that is not
            loaded yet, as TF Serving's
            `--allow_version_labels_for_unavailable_models` allows.
        retries: How often a version that does not load is tried again.
        retry_seconds: The least seconds between two attempts.
    """

    def __init__(
        self,
        load,
        poll_seconds=1.0,
        labels_for_unavailable=False,
        retries=5,
        retry_seconds=60.0,
    ):
        self._load = load
        self._timing = {
            "poll_seconds": poll_seconds,
            "retries": retries,
            "retry_seconds": retry_seconds,
        }
        self._labels_for_unavailable = labels_for_unavailable
        self._serving = {}, {}  # models, and labels, by name: replaced in one stroke
        self._histories = {}
        self._replacing = threading.Lock()

    def replace(self, configs):
        """Serves these models and no others.

        Models that were served before go on answering; new ones are loaded first, and
        only if all of them can be served does anything change. The new state shows to
        requests all at once.

        Args:
            configs: List of `ModelConfig`.

        Raises:
            StatusError: With the code and text TF Serving would answer. Then nothing
                has changed.
        """
        with self._replacing:
            labels = {config.name: self._check_labels(config) for config in configs}
            for config in configs:
                _check_folder(config)
            added = self._load_new(configs)
            before, _ = self._serving
            kept = [config for config in configs if config.name in before]
            after = {
                config.name: before.get(config.name) or added[config.name]
                for config in configs
            }
            self._serving = after, labels
            for config in kept:
                if before[config.name].config != config:
                    before[config.name].reconfigure(config)
            for model in added.values():
                model.start_polling()
            for name in set(before) - set(after):
                self._histories[name] = before[name].history()
                before[name].close()

    def close(self):
        """Lets all models go."""
        with self._replacing:
            (models, _), self._serving = self._serving, ({}, {})
            for model in models.values():
                model.close()

    @contextlib.contextmanager
    def use(self, name, version=None, label=None):
        """Lends the loaded version that a request asks for.

        Args:
            name: The model's name.
            version: A number, or None.
            label: The label of a version, or None.

        Yields:
            What `load` returned.

        Raises:
            StatusError: With the code and text TF Serving would answer.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        models, labels = self._serving
        if label is not None:
            version = labels.get(name, {}).get(label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        model = models.get(name)
        if model is None:
            raise servable_not_found(name, version)
        with model.use(version) as servable:
            yield servable

    def names(self):
        """Returns the names of the models, in order."""
        return sorted(self._serving[0])

    def states(self, name, version=None):
        """Returns `(version, VersionState)` of all versions, or of one.

        Raises:
            StatusError: NOT_FOUND if there is none.
        """
        model = self._serving[0].get(name)
        if model is not None:
            states = model.states()
        else:
            states = sorted(self._histories.get(name, {}).items(), reverse=True)
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

    def _check_labels(self, config):
        """Returns the labels of a model, if their versions may have one."""
        models, labels = self._serving
        model = models.get(config.name)
        available = model.available() if model is not None else set()
        for label, version in config.labels.items():
            before = labels.get(config.name, {}).get(label)
            free = self._labels_for_unavailable and before in (None, version)
            if not free and version not in available:
                raise StatusError(
                    "FAILED_PRECONDITION",
                    f"Request to assign label to version {version} of model "
                    f"{config.name}, which is not currently available for inference",
                )
        return dict(config.labels)

    def _load_new(self, configs):
        """Returns the loaded `ModelVersions` of each model not served yet, by name."""
        added = {}
        try:
            for config in configs:
                if config.name in self._serving[0]:
                    continue
                history = {  # what failed before may be tried at once
                    version: state
                    for version, state in self._histories.get(config.name, {}).items()
                    if not state.failure
                }
                added[config.name] = model = ModelVersions(
                    config, self._load, states=history, **self._timing
                )
                model.refresh()
                if not model.available():
                    raise _unavailable(model)
        except BaseException:
            for name, model in added.items():
                model.close()
                self._histories[name] = model.history()
            raise
        return added


def _check_folder(config):
    """Refuses a model in whose folder there is nothing to serve."""
    if not os.path.isdir(config.base_path):
        raise invalid_argument(
            f"Could not find base path {config.base_path} for servable "
            f"{config.name} with error NOT_FOUND: {config.base_path} not found"
        )
    if not config.policy.choose(find_versions(config.base_path)):
        raise StatusError(
            "NOT_FOUND",
            "Unable to find a numerical version path for servable "
            f"{config.name} at: {config.base_path}",
        )


def _unavailable(model):
    failed = [
        f"{{{{name: {model.name} version: {version}}} due to error: {state.code}: "
        f"{state.failure}}}, "
        for version, state in model.states()
        if state.failure
    ]
    return StatusError(
        "UNKNOWN", f"1 model(s) did not become available: {{{''.join(failed)}}}"
    )
