"""The report's figures: SVG of Matplotlib, in the colours of the page.

Colours are drawn as stand-ins and replaced by the page's CSS variables, so that a
figure follows light and dark. Text stays text.
"""

import io
import re
from html import escape

import numpy as np

from tfembed.report.names import short

WIDTH, HEIGHT = 4.2, 2.5  # inches; the page makes them as wide as there is room
LEGEND_CHARACTERS = 42  # in the width of a figure
TICK_CHARACTERS = 26
SERIES = 8  # colours for runs, used again after these
DASHES = ((4, 3.5), (1.2, 2.5), (7, 2.5, 1.2, 2.5), (2.2, 5))  # second line on
MARKS = "osD^v"
_INK, _MUTED, _GRID, _PAPER = "#010101", "#020202", "#030303", "#040404"
_GOOD, _BAD = "#050505", "#060606"
_STAND_INS = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _GRID: "var(--grid)",
    _PAPER: "var(--card)",
    _GOOD: "var(--good)",
    _BAD: "var(--bad)",
    **{f"#0700{number:02x}": f"var(--s{number})" for number in range(SERIES)},
}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.labelcolor": _INK,
}


def series_color(number):
    """Returns the stand-in for the colour of a run."""
    return f"#0700{number % SERIES:02x}"


def class_colors(count):
    """Returns `count` CSS colours that can be told apart as far as that goes."""
    import matplotlib

    for name, most in (("tab10", 10), ("tab20", 20)):
        if count <= most:
            colors = matplotlib.colormaps[name].colors[:count]
            break
    else:
        hues = np.arange(count) * 0.61803 % 1  # the golden ratio: near ones differ
        value = 0.6 + 0.3 * (np.arange(count) % 3) / 2
        hsv = np.stack([hues, np.full(count, 0.65), value], axis=1)
        colors = matplotlib.colors.hsv_to_rgb(hsv)
    return [matplotlib.colors.to_hex(color) for color in colors]


def curves(key, lines, described, baselines=(), x_label="epoch", share=False):
    """Draws values by epoch.

    Args:
        key: The figure's name, unique in the page.
        lines: List of `(name, number of its colour, x, y)`; NaN is no point.
        described: What a screen reader says.
        baselines: List of `(name, value)`, drawn as dashed lines.
        x_label: Below the x axis.
        share: Whether the values are shares, to be written as percent.

    Returns:
        The SVG, a string.
    """
    with _figure(key, described) as (figure, axes, done):
        for number, (name, color, x, y) in enumerate(lines):
            there = np.isfinite(y)
            marks = there.sum() < 25
            axes.plot(x[there], y[there], label=name, **_line(number, color, marks))
        for number, (name, value) in enumerate(baselines):
            dashes = (0, [(4, 2), (1.2, 1.6), (7, 2), (4, 1.5, 1, 1.5)][number % 4])
            axes.axhline(value, color=_MUTED, lw=1.1, ls=dashes, label=name, zorder=1)
        axes.set_xlabel(x_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if share:
            axes.yaxis.set_major_formatter(_percent)
        axes.margins(x=0.03)
        _legend(figure, axes, len(lines) + len(baselines))
    return done[0]


def intervals(key, rows, described):
    """Draws one number of several representations, with intervals.

    Args:
        key: The figure's name, unique in the page.
        rows: List of `(name, value, (low, high) or None, number of its colour or
            None)`, the first on top.
        described: What a screen reader says.

    Returns:
        The SVG, a string.
    """
    height = 0.75 + 0.36 * len(rows)
    with _figure(key, described, height=height) as (_, axes, done):
        places = np.arange(len(rows))[::-1]
        for at, (_, value, interval, color) in zip(places, rows):
            ink = _MUTED if color is None else series_color(color)
            if interval is not None:
                axes.plot(interval, [at, at], color=ink, lw=2.4, alpha=0.55)
            axes.plot([value], [at], "o", color=ink, markersize=5.5)
        axes.set_yticks(places, [short(row[0], TICK_CHARACTERS) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.margins(x=0.08)
        axes.xaxis.set_major_formatter(_percent)
        axes.xaxis.get_major_locator().set_params(nbins=4)
    return done[0]


def histograms(key, groups, described, x_label, y_label="density", bins=60):
    """Draws distributions over each other.

    Args:
        key: The figure's name, unique in the page.
        groups: List of `(name, colour, values)`; the colour is `"good"`, `"bad"` or
            the number of a run.
        described: What a screen reader says.
        x_label: Below the x axis.
        y_label: Beside the y axis.
        bins: Number of bins.

    Returns:
        The SVG, a string.
    """
    with _figure(key, described) as (figure, axes, done):
        together = np.concatenate([values for _, _, values in groups])
        low, high = float(together.min()), float(together.max())
        if high - low < 1e-6:
            low, high = low - 0.01, high + 0.01
        edges = np.linspace(low, high, bins + 1)
        for name, color, values in groups:
            ink = {"good": _GOOD, "bad": _BAD}.get(color) or series_color(color)
            heights, _ = np.histogram(values, edges, density=True)
            axes.stairs(heights, edges, color=ink, lw=1.5, label=name)
            axes.stairs(heights, edges, color=ink, alpha=0.25, fill=True)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_yticks([])
        axes.grid(axis="y", visible=False)
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
        _legend(figure, axes, len(groups))
    return done[0]


def spectrum(key, lines, described):
    """Draws the share of variance that the first directions hold together.

    Args:
        key: The figure's name, unique in the page.
        lines: List of `(name, number of its colour, eigenvalues, largest first)`.
        described: What a screen reader says.

    Returns:
        The SVG, a string.
    """
    with _figure(key, described) as (figure, axes, done):
        for number, (name, color, values) in enumerate(lines):
            share = np.cumsum(values) / max(values.sum(), 1e-30)
            x = np.arange(1, len(values) + 1)
            axes.plot(x, share, label=name, **_line(number, color, False))
        axes.set_xlabel("directions, the largest first")
        axes.set_ylabel("share of the variance")
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(_percent)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(figure, axes, len(lines) if len(lines) > 1 else 0)
    return done[0]


def scatter(key, points, colors, described):
    """Draws the map: one point an image, in the order given.

    Args:
        key: The figure's name, unique in the page.
        points: `(n, 2)` in [0, 1].
        colors: `(n,)`, each a CSS colour `#rrggbb`.
        described: What a screen reader says.

    Returns:
        The SVG, a string. The points are its `use` elements, in order.
    """
    size = 4.6
    with _figure(key, described, size, size, tight=False) as (_, axes, done):
        axes.set_position((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)
        area = float(np.clip(9000 / max(len(points), 1), 9, 60))
        axes.scatter(*points.T, s=area, c=list(colors), linewidths=0, alpha=0.85)
    return done[0]


def _line(number, color, marks):
    """Returns how the line of a number is drawn.

    Lines may lie on each other: the first is the broadest and lowest, those above it
    are dashed, each in its own way, and show between their dashes what is below them.
    Marks grow outwards in the same way, those above being hollow.
    """
    style = {"color": series_color(color), "zorder": 2 + 0.01 * number}
    style.update(linewidth=3.0 if not number else 1.6)
    style["linestyle"] = "-" if not number else (0, DASHES[(number - 1) % len(DASHES)])
    if marks:
        style["marker"] = MARKS[number % len(MARKS)]
        style["markersize"] = 3.6 if not number else 4.6 + 0.9 * (number % len(MARKS))
        style["markerfacecolor"] = series_color(color) if not number else "none"
        style["markeredgewidth"] = 1.1
    return style


def _percent(value, _):
    return f"{100 * value:.4g} %"


class _figure:
    """A figure with one pair of axes; leaves its SVG in the third value's list."""

    def __init__(self, key, described, width=WIDTH, height=HEIGHT, tight=True):
        self.key, self.described = key, described
        self.size, self.tight = (width, height), tight
        self.done = []

    def __enter__(self):
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        style = {**_STYLE, "svg.hashsalt": self.key}
        self.context = matplotlib.rc_context(style)
        self.context.__enter__()
        layout = "constrained" if self.tight else None
        self.figure = Figure(figsize=self.size, layout=layout)
        FigureCanvasSVG(self.figure)
        return self.figure, self.figure.add_subplot(), self.done

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                file = io.StringIO()
                nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
                self.figure.savefig(file, format="svg", metadata=nothing)
                self.done.append(_for_page(file.getvalue(), self.key, self.described))
        finally:
            self.context.__exit__(None, None, None)
        return False


def _legend(figure, axes, count):
    if count < 2:
        return
    handles, names = axes.get_legend_handles_labels()
    names = [short(each, LEGEND_CHARACTERS) for each in names]
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=2 if max(map(len, names)) <= LEGEND_CHARACTERS // 2 else 1,
        columnspacing=1.2,
        handlelength=2.8,
        borderaxespad=0.1,
    )


def _for_page(svg, key, described):
    """Makes Matplotlib's file an element of the page."""
    svg = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', svg).group(0)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = svg[svg.index(">") + 1 :]
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{key}-", svg)
    for stand_in, variable in _STAND_INS.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r"\n\s*", "\n", svg)
    return (
        f'<svg class="plot" role="img" aria-label="{escape(described)}" {box} '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{svg}'
    )
