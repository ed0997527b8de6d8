"""What is printed and written of a measurement."""

import dataclasses
import io
import json

import numpy as np

from tfembed.evaluate.measured import vote_temperature
from tfembed.formats.disk import FullDiskError, written_beside


def _table(columns, rows):
    """Formats cells under heads, the first column to the left."""
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def _share(value):
    return "-" if value is None or value != value else f"{value:.4f}"


def report(subject, measured, comparison, other, confidence):
    """Returns what is printed."""
    searched = f"a gallery of {measured.gallery:,}"
    lines = [
        f"{subject.name}: {measured.queries:,} queries, "
        + ("each among all others" if subject.protocol == "unseen" else searched)
    ]
    percent = f"{100 * confidence:g} %"
    columns = ["", "value", f"{percent} from", "to"]
    if comparison:
        lines.append(f"compared with {other.name}")
        columns += ["other", "difference", f"{percent} from", "to", "p"]
    rows = []
    for name, value in measured.values.items():
        cells = [name, _share(value)]
        cells += map(_share, measured.intervals.get(name, (None, None)))
        if comparison and name in comparison:
            found = comparison[name]
            cells += [_share(found.second), f"{found.difference:+.4f}"]
            cells += [f"{bound:+.4f}" for bound in found.interval]
            cells.append(f"{found.p_value:.2g}")
        elif comparison:
            cells += ["-"] * 5
        rows.append(cells)
    lines += ["", _table(columns, rows)]
    notes = list(subject.notes) + list(other.notes if other else ())
    if measured.lone:
        notes.append(
            f"{measured.lone:,} queries have no other image of their class to find: in "
            "no mean of retrieval, misses of a vote"
        )
    if comparison:
        both = max(found.queries for found in comparison.values())
        notes.append(f"compared on the {both:,} queries that both have")
    return "\n".join(lines + [""] * bool(notes) + notes)


def as_json(subject, measured, comparison, other, options):
    """Returns the text of the JSON file."""
    result = {
        "target": subject.name,
        "protocol": subject.protocol,
        "queries": measured.queries,
        "gallery": measured.gallery,
        "lone": measured.lone,
        "notes": list(subject.notes),
        "confidence": options.confidence,
        "resamples": options.resamples,
        "seed": options.seed,
        "similarity": options.similarity,
        "table": [measured.row(subject.name)],
    }
    if subject.protocol == "seen":
        result["knn_temperature"] = vote_temperature(subject, options.temperature)
    if comparison:
        result["comparison"] = {
            "other": other.name,
            "numbers": {
                name: dataclasses.asdict(found) for name, found in comparison.items()
            },
        }
    return json.dumps(_finite(result), indent=2) + "\n"


def _finite(value):
    """Puts null where JSON has no number."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def write(path, fill):
    """Writes a file beside, and renames it into place.

    Args:
        path: The file.
        fill: Function that is given an open binary file.

    Raises:
        FullDiskError: With a sentence, if there is no room.
        ValueError: If it cannot be written for another reason.
    """
    content = io.BytesIO()  # NumPy says of a full disk twice, once when it is collected
    fill(content)
    try:
        with written_beside(path, shared=True) as partial:
            with open(partial, "wb") as file:
                file.write(content.getbuffer())
    except FullDiskError:
        raise
    except OSError as error:
        raise ValueError(f"{path!r} cannot be written: {error.strerror}.") from error


def write_per_query(path, subject, measured):
    """Writes the values of every query, beside its id and label."""
    columns = dict(measured.per_query)
    if subject.queries.ids is not None:
        columns["ids"] = subject.queries.ids
    columns["labels"] = subject.queries.labels
    write(path, lambda file: np.savez(file, **columns))
