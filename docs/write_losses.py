"""Writes docs/losses.md from losses.template.md and the docstrings.

python docs/write_losses.py
"""

import inspect
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENDPOINTS = ["Margin", "DynamicSoftMargin", "Centers", "ProxySoftmax", "CrossBatch"]


def first_line(symbol):
    """Returns what a docstring says in one line."""
    return symbol.__doc__.strip().split("\n")[0]


def source(function):
    """Returns the reference of a docstring, its addresses as Markdown links."""
    text = function.__doc__.split("Reference:")[1]
    text = " ".join(text.split())
    return re.sub(r"\((https?://[^)\s]+)\)", r"([paper](\1))", text)


def takes_references(loss):
    """Tries whether a loss of pairs compares with what is not in the batch."""
    batch, refs = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]], [[0.6, -0.8]]
    try:
        loss.per_row([0, 0, 1, 1], batch, [1], refs)
    except ValueError:
        return False
    return True


def rows():
    """Returns the lines of each table, by the name that stands for them."""
    from tfembed import callbacks, data, layers, losses, miners, training, weighting

    on_embeddings, on_proxies = [], []
    for name in losses.__all__:
        loss = getattr(losses, name)
        if not isinstance(loss, type):
            continue
        arguments = inspect.signature(loss.function).parameters
        cells = [f"`{name}`", first_line(loss.function), source(loss.function)]
        if "similarities" in arguments:
            on_proxies.append(cells)
            continue
        if "loss" in arguments:  # it wraps another
            cells += ["as the wrapped loss", ""]
            on_embeddings.append(cells)
            continue
        cells.append("yes" if takes_references(loss()) else "no")
        options = [word for word in ("row_chunk", "miner") if word in arguments]
        cells.append(", ".join(f"`{word}`" for word in options))
        on_embeddings.append(cells)
    composing = [
        *[
            (f"layers.{name}", getattr(layers, name))
            for name in ("Proxies", "Mahalanobis", "FeatureQueue")
        ],
        *[(f"miners.{name}", getattr(miners, name)) for name in miners.__all__],
        ("callbacks.TemperatureSchedule", callbacks.TemperatureSchedule),
        ("data.class_balanced", data.class_balanced),
        ("training.GradCacheModel", training.GradCacheModel),
        *[
            (f"weighting.{name}", getattr(weighting, name))
            for name in ("pair_weights", "PairWeighted")
        ],
    ]
    return {
        "EMBEDDINGS": on_embeddings,
        "PROXIES": on_proxies,
        "ENDPOINTS": [
            [f"`layers.{name}`", first_line(getattr(layers, name))]
            for name in ENDPOINTS
        ],
        "COMPOSE": [[f"`{name}`", first_line(symbol)] for name, symbol in composing],
    }


def page():
    """Returns the text of the page."""
    text = (HERE / "losses.template.md").read_text(encoding="utf-8")
    for name, lines in rows().items():
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        text = text.replace(f"@{name}@", table)
    return text


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    (HERE / "losses.md").write_text(page(), encoding="utf-8")
