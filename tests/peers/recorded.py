"""What pytorch-metric-learning computed, read from the files beside this module."""

import dataclasses
import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().with_name("pytorch_metric_learning")


@dataclasses.dataclass(frozen=True)
class Case:
    """One setting of one of its losses, and what came out.

    Attributes:
        settings: How it was made; see `make_pytorch_metric_learning.py`.
        labels: `(rows,)`.
        embeddings: `(rows, dim)`, float64.
        weights: `(classes * per class, dim)`, its proxies, or None.
        loss: Its value.
        gradient: Of the embeddings.
        weights_gradient: Of the weights, or None.
    """

    settings: dict
    labels: np.ndarray
    embeddings: np.ndarray
    weights: np.ndarray
    loss: np.ndarray
    gradient: np.ndarray
    weights_gradient: np.ndarray

    def argument(self, name, default=None):
        """Returns an argument that its loss was given."""
        return self.settings["arguments"].get(name, default)


def files():
    """Returns the names of all files."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def classes():
    """Returns the names of the losses and miners that something was recorded of."""
    found = set()
    for name in files():
        for settings in _settings(_read(name))["cases"].values():
            found |= {settings["class"], settings.get("memory", settings)["class"]}
            miner = settings.get("miner")
            found |= {miner if isinstance(miner, str) else miner[0]} if miner else set()
    return found


def load(name, case):
    """Returns one case of a file."""
    arrays = _read(name)

    def of_case(key):
        return arrays.get(f"{key}_{case}")

    return Case(
        _settings(arrays)["cases"][case],
        arrays["labels"],
        arrays["embeddings"],
        arrays.get("weights"),
        of_case("loss"),
        of_case("gradient"),
        of_case("weights_gradient"),
    )


def _read(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def _settings(arrays):
    return json.loads(str(arrays["settings"]))


def pairs(labels):
    """Returns how many ordered pairs of one class there are, and of two."""
    same = labels[:, None] == labels[None, :]
    return same.sum() - len(labels), (~same).sum()
