"""What changed while a run went on: by epoch, and by round."""

import numpy as np

from tfembed.report import figures
from tfembed.report.names import isolated
from tfembed.report.tables import percent, title_of

LAST = ("mean_cosine", "effective_rank", "mean_norm", "learning_rate")
SETS = ("positives_per_image", "images_with_positives")
PRECISIONS = {
    "precision": "mined",
    "neighbor_precision": "as many nearest neighbours",
    "closest_precision": "as many closest pairs",
}
SHARES = {"images_with_positives", *PRECISIONS}
MOST_BASELINES = 4
LONGEST = 60  # most rows of a table of numbers


def curve_figures(runs, table):
    """Draws each column of the runs' logs; measures with the baselines beside.

    Args:
        runs: List of `Run`.
        table: What `tfembed.report.tables.accuracy` returned for them.

    Returns:
        List of `(title, SVG, last values in words)`.
    """
    columns = {}
    for run in runs:
        columns.update(dict.fromkeys(run.log))
    columns = [column for column in columns if column not in ("epoch", "round")]
    measured = [key for key, _ in table["columns"]] if table else []

    def place(column):
        if column == "loss":
            return 0, 0
        if column in measured:
            return 1, measured.index(column)
        if column in LAST:
            return 3, LAST.index(column)
        return (4 if column == "images_per_second" else 2), 0

    found = []
    for number, column in enumerate(sorted(columns, key=place)):
        lines = []
        for place_of, run in enumerate(runs):
            y = run.log.get(column)
            if y is not None and np.isfinite(y).any():
                lines.append((run.name, place_of, _epochs(run.log), y))
        values = np.concatenate([y[np.isfinite(y)] for *_, y in lines] or [[]])
        if not len(values) or (column in LAST and np.ptp(values) < 1e-5):
            continue  # nothing, or what never changes; the table of numbers has it
        baselines = []
        if column in measured:
            baselines = [
                (row["name"], row["cells"][column]["value"])
                for row in table["rows"]
                if row["number"] is None and row["cells"][column]["value"] is not None
            ]
        if len(baselines) > MOST_BASELINES:  # of runs with different data
            baselines = []
        words = _words(column in measured, lines)
        found.append(
            (
                title_of(column),
                figures.curves(
                    f"curve{number}",
                    lines,
                    f"{title_of(column)} by epoch. {words}",
                    baselines,
                    share=column in measured,
                ),
                words,
            )
        )
    return found


def round_figures(run, key, number):
    """Draws a run's `rounds.csv`, growth and precision of the sets first.

    Args:
        run: A `Run`.
        key: Start of the figures' names.
        number: Number of the run's colour.

    Returns:
        As `curve_figures`.
    """
    x = run.rounds.get("round", np.arange(len(next(iter(run.rounds.values()), ()))))
    there = {
        name: y
        for name, y in run.rounds.items()
        if name != "round" and np.isfinite(y).any()
    }
    precisions = [name for name in PRECISIONS if name in there]
    groups = [[name] for name in SETS if name in there]
    groups += [precisions] if precisions else []
    drawn = {name for group in groups for name in group}
    rest = [name for name in there if name not in drawn]
    if drawn:  # of what is left the table of numbers is enough, but for the losses
        rest = [name for name in rest if name.endswith("loss")]
    groups += [[name] for name in rest]
    found = []
    for place, names in enumerate(groups):
        share = names[0] in SHARES
        lines = [
            (PRECISIONS.get(name, run.name), number + at, x, there[name])
            for at, name in enumerate(names)
        ]
        title = title_of(names[0])
        if names == precisions:
            title = "Positives of the image's class"
        words = _words(share, lines)
        svg = figures.curves(
            f"{key}-round{place}",
            lines,
            f"{title} by round. {words}",
            x_label="round",
            share=share,
        )
        found.append((title, svg, words))
    return found


def interval_figures(table):
    """Draws each measure of the accuracy table, with its intervals.

    Args:
        table: What `tfembed.report.tables.accuracy` returned.

    Returns:
        List of `(title, SVG)`.
    """
    found = []
    for number, (key, title) in enumerate(table["columns"] if table else ()):
        rows = []
        for row in table["rows"]:
            cell = row["cells"][key]
            if cell["value"] is not None:
                rows.append(
                    (row["name"], cell["value"], cell["interval"], row["number"])
                )
        words = "; ".join(f"{name}: {percent(value)}" for name, value, *_ in rows)
        svg = figures.intervals(f"interval{number}", rows, f"{title}. {words}.")
        found.append((title, svg))
    return found


def column_table(columns):
    """Returns `(titles, rows of text)` of the columns of a CSV file.

    A long table keeps its first row, its last one, and some between.
    """
    length = len(next(iter(columns.values()), ()))
    if not length:
        return None
    rows = np.unique(
        np.linspace(0, length - 1, min(length, LONGEST)).round().astype(int)
    )
    titles = [title_of(name) for name in columns]
    return titles, [
        ["" if np.isnan(each[row]) else f"{each[row]:.5g}" for each in columns.values()]
        for row in rows
    ]


def log_tables(runs):
    """Returns `(name of the run, column_table)` of each run with a log."""
    found = []
    for run in runs:
        log = dict(run.log)
        if "epoch" in log:
            log["epoch"] = _epochs(run.log)
        table = column_table(log)
        if table is not None:
            found.append((run.name, table))
    return found


def _epochs(log):
    """Numbers the epochs from 1; Keras' log has them from 0."""
    if "epoch" in log:
        return log["epoch"] + 1
    return np.arange(1, len(next(iter(log.values()), ())) + 1)


def _words(share, lines):
    said = []
    for name, _, _, y in lines:
        value = y[np.isfinite(y)][-1]
        text = percent(value) if share else f"{value:.4g}"
        said.append(
            f"{isolated(name)}: {text} at the end"
            if len(lines) > 1
            else f"{text} at the end"
        )
    return "; ".join(said) + "."
