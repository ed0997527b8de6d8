"""The model card of a version: `card.json` for programs, `README.md` for people.

Beside them `assets.extra/tfembed.json`, what a client may want to know.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfembed.formats.format_version import EXPORT, FORMAT, check_format
from tfembed.hints import PathLike

CARD = "card.json"
PAGE = "README.md"
CLIENT_CARD = "assets.extra/tfembed.json"
_RESIZED = {
    "squash": "squashed to that",
    "crop": "scaled until they cover that, and cut around the middle",
    "pad": "scaled until they fit into that, and padded with white",
}
_LISTED = 20  # classes that are named on the page


def write_card(folder, card):
    """Writes the card of a version: three files, all from one dictionary.

    Args:
        folder: Path of the version.
        card: JSON values, see `tfembed.export.model`. What is missing is left out; a
            card without the number of its format is one of the newest.
    """
    card = {FORMAT: EXPORT, **card}
    folder = Path(folder)
    (folder / CLIENT_CARD).parent.mkdir(parents=True, exist_ok=True)
    for name, content in ((CARD, card), (CLIENT_CARD, _for_clients(card))):
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    (folder / PAGE).write_text(render_card(card), encoding="utf-8")


def read_card(version: PathLike) -> dict[str, Any]:
    """Returns the model card of a version, a dictionary, with the number of its format.

    >>> import json, os, tempfile
    >>> from tfembed.export import read_card
    >>> with tempfile.TemporaryDirectory() as version:  # as `export` leaves it
    ...     with open(os.path.join(version, "card.json"), "w") as file:
    ...         json.dump({"format_version": 1, "k": 10}, file)
    ...     read_card(version)["k"]
    10

    Args:
        version: Folder of the version.

    Raises:
        ValueError: If it has none, or is of a newer format.
    """
    path = Path(version, CARD)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(version)!r} must be a version with a model card, as tfembed.export "
            f"writes it, but reading {path.name} says: {error}. Export the model again."
        ) from error
    return {**card, FORMAT: check_format(card, EXPORT, str(path))}


def render_card(card):
    """Returns the page of a card, in Markdown.

    Args:
        card: As for `write_card`.
    """
    gallery, encoder = card.get("gallery", {}), card.get("encoder", {})
    what = f"An encoder of images and a gallery of {gallery.get('size', 0):,} images"
    parts = [
        "# Image search model",
        f"{what}, served by TensorFlow Serving: it embeds an image and finds its "
        "nearest neighbours.",
        *(f"**Warning.** {_cell(each)}" for each in card.get("warnings") or []),
        _table(
            "Versions",
            [
                ("made at", card.get("created")),
                ("format", card.get(FORMAT)),
                ("tfembed", card.get("tfembed")),
                ("TensorFlow", card.get("tensorflow")),
                ("Keras", card.get("keras")),
            ],
        ),
        _table(
            "Encoder",
            [
                ("images", _shape(encoder.get("image_shape"))),
                ("pictures of other sizes", _RESIZED.get(encoder.get("resize"))),
                ("version of the decoder", _count(encoder.get("decoder"))),
                ("embedding", _numbers(encoder.get("dim"))),
                ("precision", encoder.get("precision")),
                ("divided by its length", _yes(encoder.get("normalize"))),
                ("SHA-256 of the weights", _code(encoder.get("sha256"))),
            ],
        ),
        _table(
            "Gallery",
            [
                ("images", _count(gallery.get("size"))),
                ("classes", _classes(gallery.get("classes"))),
                ("mean cosine of two images", _decimal(gallery.get("mean_cosine"))),
                ("further columns", ", ".join(gallery.get("metadata") or [])),
                ("source", gallery.get("source")),
                ("made at", gallery.get("created")),
                ("SHA-256", _code(gallery.get("sha256"))),
            ],
        ),
        _search(card),
        _known(card.get("known", {})),
        _facts("Data", card.get("data")),
        _facts("Method", card.get("method")),
        _metrics(card.get("metrics")),
        _checks(card.get("checks", {})),
        _facts("Origin", card.get("origin")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _for_clients(card):
    """What `assets.extra/tfembed.json` has held from the first version on."""
    gallery, encoder = card.get("gallery", {}), card.get("encoder", {})
    method, vote = card.get("method") or {}, card.get("vote", {})
    return {
        FORMAT: card.get(FORMAT),
        "tfembed": card.get("tfembed"),
        "tensorflow": card.get("tensorflow"),
        "recipe": method.get("recipe"),
        "dataset": (card.get("data") or {}).get("dataset"),
        "head": card.get("head", {}).get("head"),
        "k": min(card.get("k", 0), gallery.get("size", 0)),
        "image_shape": encoder.get("image_shape"),
        "resize": encoder.get("resize", "squash"),
        "max_pixels": card.get("max_pixels"),
        "dim": encoder.get("dim"),
        "gallery_size": gallery.get("size"),
        "class_names": gallery.get("classes"),
        "known_threshold": card.get("known", {}).get("threshold"),
        "vote_temperature": vote.get("temperature"),
        "vote_k": min(vote.get("k", 0), gallery.get("size", 0)),
        "created": card.get("created"),
    }


def _search(card):
    head, vote = dict(card.get("head", {})), card.get("vote", {})
    query = card.get("query") or {}
    name = head.pop("head", None)
    recall, k = head.pop("recall_at_k", None), head.pop("recall_k", None)
    queries = head.pop("recall_queries", None)
    measured = head.pop("measured", None)
    rows = [("head", name), ("neighbours in an answer", _count(card.get("k")))]
    if recall is not None:
        said = _decimal(recall) + (f" at {k}" if k else "")
        if recall == 1 and measured is False:
            said = "1, by construction"
        elif isinstance(queries, int):
            said += f", measured on {queries:,} queries"
        elif measured is False:
            said += ", not measured"
        rows.append(("recall of the nearest rows", said))
    rows += [(key.replace("_", " "), _value(value)) for key, value in head.items()]
    rows += [
        ("exact in the signature `query`", query.get("exact")),
        ("most examples of a question", _count(query.get("examples"))),
        ("neighbours that vote", _voters(card)),
        ("temperature of the vote", _numbers(vote.get("temperature"))),
        ("largest image decoded", _pixels(card.get("max_pixels"))),
    ]
    return _table("Search", rows)


def _voters(card):
    """How many vote: a gallery that is smaller votes as a whole."""
    k, size = card.get("vote", {}).get("k"), card.get("gallery", {}).get("size")
    if k is None or size is None or k <= size:
        return _count(k)
    return f"{size:,}, the whole gallery, not {k:,}"


def _known(known):
    threshold = known.get("threshold")
    if threshold is None:
        return ""
    if threshold <= -1e30:
        text = "Every valid query counts as known: no threshold was calibrated."
        return f"## Known or not\n\n{text}"
    rows = [
        ("a query is known from a best score of", _decimal(threshold)),
        ("calibrated on", known.get("calibrated_on")),
        ("genuine queries that it rejects", _share(known.get("false_rejection"))),
        ("SHA-256 of the gallery then", _code(known.get("gallery_sha256"))),
    ]
    stale = ""
    if known.get("stale"):
        stale = (
            "\n\n**The threshold is older than the gallery.** It was calibrated on "
            "another one; calibrate it again by exporting the model anew."
        )
    return _table("Known or not", rows) + stale


def _metrics(metrics):
    """The tables of result.json: a column a number, with its interval."""
    rows = [row for row in metrics or [] if isinstance(row, dict)]
    names = []
    for row in rows:
        for name, value in row.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and name not in names:
                names.append(name)
    if not names:
        return ""
    lines = ["## Metrics", ""]
    lines.append("| " + " | ".join(["", *names]) + " |")
    lines.append("|" + "---|" * (len(names) + 1))
    for row in rows:
        intervals = row.get("intervals") or {}
        cells = [_cell(row.get("representation", ""))]
        for name in names:
            cell = _decimal(row.get(name))
            if cell and intervals.get(name):
                cell += " ({} to {})".format(*map(_decimal, intervals[name]))
            cells.append(cell or "-")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "In brackets: the 95 % interval, by resampling the queries."]
    return "\n".join(lines)


def _checks(checks):
    rows = []
    for name, value in checks.items():
        if name == "embeddings_within":
            name = "largest difference of an embedding from Keras"
        elif name in ("scores_within", "gallery_scores_within"):
            name = "largest difference of a score from brute force"
        elif name == "images":
            name = "sample images"
        elif name == "runtimes":
            name, value = "loaded by", ", ".join(value)
        rows.append((name.replace("_", " "), _value(value)))
    return _table("Checks before publishing", rows)


def _facts(title, facts):
    rows = [(key.replace("_", " "), _value(v)) for key, v in (facts or {}).items()]
    return _table(title, rows)


def _table(title, rows):
    rows = [(name, value) for name, value in rows if value not in (None, "")]
    if not rows:
        return ""
    lines = [f"## {title}", "", "| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join(lines)


def _cell(value):
    return " ".join(str(value).replace("|", "\\|").split())


def _value(value):
    if isinstance(value, bool):
        return _yes(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(each) for each in value)
    return value


def _yes(value):
    return None if value is None else "yes" if value else "no"


def _code(value):
    return f"`{value}`" if value else None


def _count(value):
    return None if value is None else f"{value:,}"


def _decimal(value):
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _share(value):
    return None if value is None else f"{100 * value:.3g} %"


def _numbers(value):
    return None if value is None else f"{value:g}"


def _shape(shape):
    if not shape:
        return None
    height, width, channels = shape
    return f"{height} high, {width} wide, {'RGB' if channels == 3 else 'grey'}"


def _pixels(value):
    return None if value is None else f"{value / 1e6:g} million pixels"


def _classes(names):
    if not names:
        return None
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"{len(names):,}: {listed}"
