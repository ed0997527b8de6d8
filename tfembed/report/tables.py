"""What was trained on what, and how well it does: the report's tables."""

import numpy as np

from tfembed.report.names import isolated

TITLES = {
    "loss": "Loss",
    "linear_probe": "Linear probe",
    "learning_rate": "Learning rate",
    "images_per_second": "Images per second",
    "mean_cosine": "Mean cosine of two images",
    "effective_rank": "Effective rank",
    "mean_norm": "Mean length",
    "noise_posterior": "NCE: noise posterior",
    "normalizer": "NCE: normaliser Z",
    "generator_loss": "GAN: loss of the generator",
    "discriminator_loss": "GAN: loss of the discriminator",
}
PROTOCOLS = {
    "seen": "seen classes: other images of the classes in the gallery, by the vote of "
    "their neighbours",
    "unseen": "unseen classes: training saw other classes; each image looks for its "
    "class among the others",
}


def title_of(column):
    """Returns a column's name for a person."""
    if column in TITLES:
        return TITLES[column]
    kind, _, k = column.rpartition("_")
    if k.isdigit() and kind == "knn":
        return f"kNN accuracy, k = {k}"
    text = column.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def facts(runs):
    """Returns what was trained on what: `(name, a value for each run)`.

    Args:
        runs: List of `Run`.
    """
    each = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for found in each for name in found))
    rows = [(name, [found.get(name, "") for found in each]) for name in names]
    return [row for row in rows if any(row[1])]


def _facts(run):
    config, result, environment = run.config, run.result, run.environment
    data = str(result.get("dataset") or config.get("dataset") or "")
    for key, text in (
        ("training_images", "{:,} training images"),
        ("test_images", "{:,} test images"),
        ("validation_images", "{:,} validation images, by which the epochs are drawn"),
        ("skipped_images", "{:,} skipped"),
    ):
        if result.get(key):
            data += f"{', ' if data else ''}{text.format(result[key])}"
    network = str(config.get("backbone", ""))
    if config.get("dim"):
        network += f"{', ' if network else ''}embeddings of {config['dim']} numbers"
    training = []
    if config.get("epochs"):
        done = len(next(iter(run.log.values()), ()))
        of = "" if run.result or not done else f"{done} of "
        training.append(f"{of}{config['epochs']} epochs")
    if config.get("batch_size"):
        training.append(f"batches of {config['batch_size']}")
    if config.get("optimizer"):
        training.append(f"{config['optimizer']} at {config.get('learning_rate')}")
    took = ""
    if result.get("seconds") is not None:
        took = f"{result['seconds']:,.0f} s"
        if result.get("seconds_are_of"):
            took += f", {result['seconds_are_of']} and the evaluation"
            if result["seconds_are_of"].startswith("the evaluation"):
                took = f"{result['seconds']:,.0f} s, {result['seconds_are_of']}"
    versions = environment.get("versions", {})
    packages = ", ".join(
        f"{name} {versions[name]}"
        for name in ("tfembed", "tensorflow", "keras")
        if name in versions
    )
    machine = str(environment.get("system", ""))
    if environment.get("cpus"):
        machine += f", {environment['cpus']} CPUs"
    method = str(config.get("recipe", ""))
    for key in ("objective", "loss"):
        if config.get(key):
            method += f", {config[key]}"
    if config.get("temperature") is not None:
        method += f", temperature {config['temperature']}"
    return {
        "Recipe": method,
        "Data": data,
        "Measured on": PROTOCOLS.get(result.get("protocol"), "")
        or str(result.get("evaluated_on", "")),
        "Network": network,
        "Training": ", ".join(training),
        "Seed": str(config.get("seed", "")),
        "Took": took,
        "Machine": machine,
        "Versions": packages,
        "Command": str(environment.get("command", "")),
    }


def settings(run):
    """Returns the run's whole config and environment, as `(name, value)`."""
    rows = [(key, _plain(value)) for key, value in run.config.items()]
    for name, version in run.environment.get("versions", {}).items():
        rows.append((f"{name} (version)", str(version)))
    for key in ("python", "system", "cpus", "command"):
        if key in run.environment:
            rows.append((key, _plain(run.environment[key])))
    return {"name": run.name, "path": str(run.path), "rows": rows}


def differences(runs):
    """Returns the settings that are not the same, `(name, a value for each run)`.

    Args:
        runs: List of `Run`.

    Returns:
        Those that all runs have, and those that only some have.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    common, own = [], []
    for key in keys:
        values = [_plain(run.config.get(key, "")) for run in runs]
        if not all(key in run.config for run in runs):
            own.append((key, values))
        elif len(set(values)) > 1:
            common.append((key, values))
    return common, own


def _plain(value):
    return value if isinstance(value, str) else str(value)


def accuracy(runs):
    """Puts the runs' tables into one.

    The last row of a run's table is the run itself; those above are its baselines.
    Baselines that are the same in all runs stand once.

    Args:
        runs: List of `Run`.

    Returns:
        None where no run has a table; else a dictionary of `columns`, `(key, title)`;
        `rows`, each with `name`, `number` (of the run, None for a baseline) and
        `cells`, by key `{"value", "interval", "text", "range", "best"}`; and
        `intervals`, whether there are any.
    """
    lines = []
    for number, run in enumerate(runs):
        table = [row for row in run.result.get("table") or [] if isinstance(row, dict)]
        for place, row in enumerate(table):
            own = place == len(table) - 1
            name = str(row.get("representation", ""))
            if own and len(runs) > 1:
                name = run.name
            lines.append((name, number if own else None, row, run.name))
    if not lines:
        return None
    keys = []
    for _, _, row, _ in lines:
        keys += [k for k in row if k not in ("representation", "intervals", *keys)]
    keys = [
        k for k in keys if any(_number(row.get(k)) is not None for *_, row, _ in lines)
    ]
    rows = []
    for name, number, row, run_name in lines:
        cells = {key: _cell(row, key) for key in keys}
        line = {"name": name, "number": number, "cells": cells, "run": run_name}
        twins = [
            each
            for each in rows
            if number is None
            and each["number"] is None
            and each["name"] == name
            and each["cells"] == cells
        ]
        if not twins:
            rows.append(line)
    baselines = [row["name"] for row in rows if row["number"] is None]
    for row in rows:
        if row["number"] is None and baselines.count(row["name"]) > 1:
            row["name"] += f" ({isolated(row['run'])})"
    rows.sort(key=lambda row: -1 if row["number"] is None else row["number"])
    for key in keys:
        values = [row["cells"][key]["value"] for row in rows]
        best = max((value for value in values if value is not None), default=None)
        for row in rows:
            cell = dict(row["cells"][key])
            cell["best"] = cell["value"] is not None and cell["value"] == best
            row["cells"] = {**row["cells"], key: cell}
    return {
        "columns": [(key, title_of(key)) for key in keys],
        "rows": rows,
        "intervals": any(
            cell["interval"] for row in rows for cell in row["cells"].values()
        ),
    }


def _cell(row, key):
    value = _number(row.get(key))
    interval = (row.get("intervals") or {}).get(key)
    if interval is not None:
        low, high = (_number(each) for each in interval)
        interval = None if low is None or high is None else (low, high)
    text = "\N{EN DASH}" if value is None else percent(value)
    span = ""
    if interval:
        span = f"{percent(interval[0], '')} to {percent(interval[1], '')}"
    return {"value": value, "interval": interval, "text": text, "range": span}


def percent(value, unit=" %"):
    """Formats a share as percent, any other number as it is."""
    return f"{100 * value:.1f}{unit}" if -1 <= value <= 1 else f"{value:.4g}"


def _number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if np.isfinite(value) else None


def warnings(run):
    """Returns warnings about a run's numbers, in sentences.

    Args:
        run: A `Run`.
    """
    told = []
    loss = run.log.get("loss", np.array([]))
    finite = loss[np.isfinite(loss)]
    if len(finite) < len(loss):
        told.append("The loss became infinite or no number in some epoch.")
    elif len(finite) > 1 and finite[-1] > finite[0]:
        told.append(
            f"The loss went up, from {finite[0]:.4g} in the first epoch to "
            f"{finite[-1]:.4g} in the last."
        )
    table = accuracy([run])
    if table is None:
        return told
    own, others = table["rows"][-1], table["rows"][:-1]
    below = []
    for key, title in table["columns"]:
        mine = own["cells"][key]
        if mine["value"] is None:
            continue
        better = [
            (row["cells"][key]["value"], row["name"])
            for row in others
            if (row["cells"][key]["value"] or 0) > mine["value"]
        ]
        if better:
            value, name = max(better)
            below.append(f"{title}: {mine['text']}, {name} {percent(value)}")
    if below:
        told.append(f"The {own['name']} is below a baseline. " + "; ".join(below) + ".")
    return told
