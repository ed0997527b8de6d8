"""Puts runs together into one page that needs nothing else."""

from pathlib import Path

from tfembed.report import curves, figures, tables
from tfembed.report.agreement import agreement
from tfembed.report.names import as_element, isolated
from tfembed.report.view import View

MOST_BYTES = 10 * 10**6
# Longest side of a picture, cell of the map's sprite, and points of the map: the
# first that leave the page below MOST_BYTES.
DETAIL = ((96, 48, 1500), (64, 32, 1000), (48, 24, 600), (32, 16, 200))
FOLDER = Path(__file__).parent


def build_page(runs, methods=("tsne", "pca"), seed=0, most_bytes=MOST_BYTES):
    """Renders the report of one run, or of several side by side.

    Args:
        runs: List of `Run`.
        methods: Maps to draw, of `tfembed.report.projection.METHODS`; the first is
            shown.
        seed: Of all samples, and of t-SNE.
        most_bytes: Bound on the page.

    Returns:
        The HTML, a string.

    Raises:
        ValueError: If no detail is small enough for `most_bytes`.
    """
    views = [View(run, number, methods, seed) for number, run in enumerate(runs)]
    frame = _frame(runs, views, seed)
    for side, cell, points in DETAIL:
        points = max(50, points // len(runs))
        page = _render(
            frame,
            [view.context(side, cell, points) for view in views],
            [each.context(side) for each in frame["agreements"]],
        )
        if len(page.encode()) < most_bytes:
            return page
    raise ValueError(
        f"A report must stay below {most_bytes / 1e6:g} MB, and that of these "
        f"{len(runs)} runs has {len(page.encode()) / 1e6:.1f} MB at the least detail. "
        "Compare fewer runs."
    )


def _render(frame, views, agreements):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER / "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    environment.filters["bdi"] = as_element
    environment.filters["isolated"] = isolated
    template = environment.get_template("page.html")
    frame = {**frame, "agreements": agreements}
    return template.render(
        **frame,
        runs=views,
        style=(FOLDER / "page" / "page.css").read_text(encoding="utf-8"),
        script=(FOLDER / "page" / "page.js").read_text(encoding="utf-8"),
    )


def _code(sentence):
    """Returns a sentence as HTML, with what stands in backquotes as code."""
    from markupsafe import Markup, escape

    parts = str(escape(sentence)).split("`")
    inside = (f"<code>{each}</code>" for each in parts[1::2])
    joined = [each for pair in zip(parts[::2], [*inside, ""]) for each in pair]
    return Markup("".join(joined))


def _frame(runs, views, seed):
    """Returns the parts of the page that compare the runs."""
    from tfembed.version import __version__

    names = [run.name for run in runs]
    table = tables.accuracy(runs)
    agreements = []
    for view in views[1:]:
        both = views[0], view
        if all(each.found is not None and each.run.labelled for each in both):
            found = agreement(*both, seed=seed)
            if found is not None:
                agreements.append(found)
    return {
        "title": names[0] if len(runs) == 1 else "Comparison of " + ", ".join(names),
        "version": __version__,
        "facts": tables.facts(runs),
        "differences": tables.differences(runs),
        "table": table,
        "interval_figures": curves.interval_figures(table),
        "curves": curves.curve_figures(runs, table),
        "log_tables": curves.log_tables(runs),
        "agreements": agreements,
        "settings": [tables.settings(run) for run in runs],
        "series": figures.SERIES,
    }
