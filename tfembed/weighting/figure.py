"""One figure of how every loss weighs a pair."""

import dataclasses
import os

import numpy as np

from tfembed import losses
from tfembed.formats.disk import written_beside
from tfembed.weighting.anchors import anchor_weights
from tfembed.weighting.dependence import similarity_types
from tfembed.weighting.derivatives import on_proxies

# Settings without a default.
SETTINGS = {"FacilityLocation": {"gamma": 1.0}}
WRAPPERS = {"Matryoshka"}  # weigh pairs as the loss does that they are given
NEAR, FAR, POSITIVE = 0.7, 0.0, 0.5
GRID = np.linspace(-0.99, 0.99, 100)
PULL, PUSH, INK, MUTED = "#1f6fb4", "#c8442c", "#222222", "#777777"
DASHES = (0, (2.5, 1.3))
SMALL = {"ha": "center", "va": "bottom", "fontsize": 7.5, "color": MUTED}
ROUNDING = 1e-8  # what is below is no weight
HEADINGS = {
    "pairs": "Losses on pairs and triplets of embeddings",
    "batch": "Losses on a whole batch of embeddings",
    "proxies": "Losses on similarities to proxies (pairs of an embedding and a class)",
}
LONG_NAME = 20
# Inches: a panel with its title, the text above, the room of a heading, the margins.
COLUMNS, CELL, HEAD, GAP, FOOT, SIDE = 6, (2.0, 1.3), 1.15, 0.42, 0.2, 0.3


@dataclasses.dataclass
class Curves:
    """How a loss weighs one pair, by the pair's similarity (`GRID`).

    Attributes:
        name: Name of the loss's class.
        kind: `"pairs"`, `"batch"` or `"proxies"`: what the loss looks at.
        types: As `similarity_types` says.
        pull: Of a positive, `{far or near: (points,)}`; above 0 it is pulled in.
        push: Of a negative; above 0 it is pushed away.
    """

    name: str
    kind: str
    types: str
    pull: dict
    push: dict


def every_loss():
    """Returns one of each public loss, by name, but of what wraps others."""
    found = {}
    for name in sorted(losses.__all__, key=str.lower):
        symbol = getattr(losses, name)
        if isinstance(symbol, type) and name not in WRAPPERS:
            found[name] = symbol(**SETTINGS.get(name, {}))
    return found


def curves_of(name, loss):
    """Computes what the figure shows of one loss."""
    kind = "proxies" if on_proxies(loss) else "pairs"
    if kind == "pairs" and not _takes_references(loss):
        kind = "batch"
    try:
        pull, push = _weights(loss, positives=1 if kind == "proxies" else 2)
    except ValueError:
        if kind == "proxies":
            raise
        pull, push = _weights(loss, positives=1)  # two views
    return Curves(name, kind, similarity_types(loss), pull, push)


def _weights(loss, positives):
    """Returns the curves of a positive and of a negative, each in two places."""
    anchors = []
    for where in (FAR, NEAR):
        others = [where, FAR, FAR]
        same = [POSITIVE] * (positives - 1)
        anchors += [([x, *same], [FAR, *others]) for x in GRID]
        anchors += [([POSITIVE, *same], [x, *others]) for x in GRID]
    pulls, pushes = anchor_weights(loss, *zip(*anchors))
    pulls = np.split(-pulls.numpy()[:, 0], 4)
    pushes = np.split(pushes.numpy()[:, 0], 4)
    return dict(zip((FAR, NEAR), pulls[::2])), dict(zip((FAR, NEAR), pushes[1::2]))


def _takes_references(loss):
    try:
        loss.per_row([0], [[1.0, 0.0]], [0, 1], [[1.0, 0.0], [0.0, 1.0]])
    except ValueError:
        return False
    return True


def draw(curves, path):
    """Draws the curves of all losses, and writes the figure.

    Args:
        curves: List of `Curves`.
        path: File to write; its ending says the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [
        (title, [each for each in curves if each.kind == kind])
        for kind, title in HEADINGS.items()
    ]
    groups = [(title, members) for title, members in groups if members]
    rows = sum(-(-len(members) // COLUMNS) for _, members in groups)
    height = HEAD + len(groups) * GAP + rows * CELL[1] + FOOT
    width = COLUMNS * CELL[0] + 2 * SIDE
    figure = pyplot.figure(figsize=(width, height))
    _explain(figure, width, height)
    top = HEAD
    for title, members in groups:
        top += GAP
        figure.text(
            SIDE / width,
            1 - (top - 0.02) / height,
            title,
            fontsize=10,
            color=INK,
            weight="bold",
        )
        for number, each in enumerate(sorted(members, key=lambda x: x.name.lower())):
            row, column = divmod(number, COLUMNS)
            left = SIDE + column * CELL[0]
            bottom = height - top - (row + 1) * CELL[1] + 0.18
            panel = figure.add_axes(
                [
                    left / width,
                    bottom / height,
                    (CELL[0] - 0.22) / width,
                    (CELL[1] - 0.46) / height,
                ]
            )
            lowest = number + COLUMNS >= len(members)
            _panel(panel, each, lowest)
        top += -(-len(members) // COLUMNS) * CELL[1]
    kind = os.path.splitext(path)[1][1:] or "png"
    with written_beside(path, shared=True) as beside:
        figure.savefig(beside, dpi=150, facecolor="white", format=kind)
    pyplot.close(figure)


def _explain(figure, width, height):
    from matplotlib.lines import Line2D

    figure.text(
        SIDE / width,
        1 - 0.38 / height,
        "How every loss weighs a pair",
        fontsize=15,
        color=INK,
        weight="bold",
    )
    figure.text(
        SIDE / width,
        1 - 0.62 / height,
        "Derivative of the loss with respect to the pair's cosine similarity, over "
        "that similarity; each panel by its own maximum. Default settings.",
        fontsize=9,
        color=INK,
    )
    figure.text(
        SIDE / width,
        1 - 0.83 / height,
        "S, N, P: a negative's weight depends on its own similarity, on the other "
        "negatives' and on the positives' (relative similarities).",
        fontsize=9,
        color=INK,
    )
    handles = [
        Line2D([], [], color=PULL, lw=2, label="a positive is pulled in"),
        Line2D([], [], color=PUSH, lw=2, label="a negative is pushed away"),
        Line2D([], [], color=INK, lw=1.4, label=f"other negatives at {FAR:g}"),
        Line2D(
            [],
            [],
            color=INK,
            lw=1.4,
            ls=DASHES,
            label=f"one other negative at {NEAR:g}",
        ),
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=((SIDE - 0.05) / width, 1 - 0.95 / height),
        bbox_transform=figure.transFigure,
        ncol=4,
        frameon=False,
        fontsize=9,
        handlelength=2.6,
        borderaxespad=0,
        borderpad=0.2,
    )


def _panel(panel, each, lowest):
    values = np.concatenate([*each.pull.values(), *each.push.values()])
    scale = np.abs(values).max()
    if scale < ROUNDING:
        scale = np.inf
        panel.text(0, 0.12, "0: independent rows\nleave it as it is", **SMALL)
    panel.axhline(0, color="#cccccc", lw=0.8, zorder=0)
    for lines, color in ((each.pull, PULL), (each.push, PUSH)):
        for where, style in ((FAR, "-"), (NEAR, DASHES)):
            panel.plot(GRID, lines[where] / scale, color=color, ls=style, lw=1.5)
    size = 8.5 if len(each.name) <= LONG_NAME else 7.2  # beside what it depends on
    panel.set_title(each.name, fontsize=size, loc="left", pad=3, color=INK)
    panel.text(
        1,
        1.035,
        " ".join(each.types) or "\N{EN DASH}",
        transform=panel.transAxes,
        ha="right",
        va="bottom",
        fontsize=8,
        color=MUTED,
    )
    panel.set_xlim(-1, 1)
    signed = (values / scale).min() < -0.02
    panel.set_ylim(-1.1 if signed else -0.08, 1.12)
    panel.set_xticks([-1, 0, 1], ["\N{MINUS SIGN}1", "0", "1"] if lowest else [])
    panel.set_yticks([])
    panel.tick_params(labelsize=7, length=2, color=MUTED, labelcolor=MUTED)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color("#cccccc")
