"""What the model card says of data, method and quality, from a run's own files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfembed.export.run_directory import read_json
from tfembed.formats.format_version import RUN, check_format
from tfembed.hints import PathLike


def read_facts(path: PathLike) -> dict[str, Any]:
    """Returns the facts of a saved encoder: those of its run, or its file's name.

    >>> from tfembed.export import read_facts
    >>> read_facts("models/mine.keras")
    {'method': {'encoder': 'mine.keras'}}

    Args:
        path: A run directory, or a saved Keras model, whose own folder is looked into
            if it is a run's `model.keras`.

    Returns:
        As `facts_of_run`.
    """
    path = Path(path)
    run = path if path.is_dir() else path.parent
    of_run = path.is_dir() or path.name == "model.keras"
    config = read_json(run / "config.json") if of_run else {}
    check_format(config, RUN, str(run / "config.json"))
    if config:
        name = os.path.basename(run.absolute())
        return facts_of_run(name, config, read_json(run / "result.json"))
    return {"method": {"encoder": path.name}}


def facts_of_run(name, config, result):
    """Returns what a run's files say of data, method and quality.

    Args:
        name: Of the run directory.
        config: Its `config.json`, empty if there is none.
        result: Its `result.json`, empty if there is none.

    Returns:
        The `facts` of `export`: `data`, `method`, `metrics`, those that there are, and
        `source`.
    """
    result = dict(result)
    metrics = result.pop("table", [])
    result.pop("known_threshold", None)
    data = {key: value for key, value in result.items() if _is_plain(value)}
    method = {
        key: config[key]
        for key in (
            "recipe",
            "backbone",
            "optimizer",
            "learning_rate",
            "batch_size",
            "precision",
        )
        if _is_plain(config.get(key))
    }
    method.update(facts_of_weights(config.get("backbone_weights")))
    for key in ("epochs", "seed", "knn_temperature"):
        if key in data:
            method[key] = data.pop(key)
    if "dataset" in config:
        data = {"dataset": config["dataset"], **data}
    facts = {"data": data, "method": method, "metrics": metrics}
    return {**{k: v for k, v in facts.items() if v}, "source": f"run {name}"}


def facts_of_weights(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what a card's `method` says of the weights that a backbone began with.

    >>> from tfembed.export import facts_of_weights
    >>> facts_of_weights({"file": "mine.h5", "licence": "MIT"})
    {'weights': 'mine.h5', 'weights_licence': 'MIT'}

    Args:
        record: A dictionary with `file`, `source`, `sha256`, `licence` and `checked`,
            as `tfembed.backbones.Weights.record` returns it; `None` for none.
    """
    return {
        "weights" if key == "file" else f"weights_{key}": value
        for key, value in (record if isinstance(record, dict) else {}).items()
    }


def _is_plain(value):
    return isinstance(value, (str, int, float, bool))
