"""What is in a folder of versions: a table for people, JSON for programs."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tfembed.export.card import read_card
from tfembed.export.versions import version_paths
from tfembed.hints import PathLike

_COLUMNS = ("number", "created", "rows", "head", "recall", "encoder", "size", "from")


def list_versions(model_base: PathLike) -> list[dict[str, Any]]:
    """Describes the versions of a served model. Needs no TensorFlow.

    >>> import os, tempfile
    >>> from tfembed.export import list_versions
    >>> with tempfile.TemporaryDirectory() as base:
    ...     for number in (1, 2):
    ...         os.mkdir(os.path.join(base, str(number)))
    ...     [version["number"] for version in list_versions(base)]
    [1, 2]

    Args:
        model_base: Folder with one numbered folder a version.

    Returns:
        List of dictionaries, ascending: `number`; `created` (UTC), `rows`, `head`,
        `recall` (of the k nearest rows, the share that the head finds),
        `encoder` (sha256 of its weights), `stale_threshold` and `origin` as the
        model card says, `None` where a version has none, or one of a newer format;
        `bytes`, the size of its files (of which a rollback shares some with another
        version).

    Raises:
        ValueError: If there is no version.
    """
    described = [_describe(*item) for item in version_paths(model_base).items()]
    return [each for each in described if each is not None]


def _describe(number, path):
    """What is told of a version; `None` if it was removed meanwhile."""
    try:
        card = read_card(path)
    except ValueError:
        card = {}
    size = _bytes(path)
    if not path.is_dir():
        return None
    head, known = card.get("head") or {}, card.get("known") or {}
    return {
        "number": number,
        "created": card.get("created"),
        "rows": (card.get("gallery") or {}).get("size"),
        "head": head.get("head"),
        "recall": head.get("recall_at_k"),
        "encoder": (card.get("encoder") or {}).get("sha256"),
        "stale_threshold": known.get("stale"),
        "origin": card.get("origin"),
        "bytes": size,
    }


def _bytes(path):
    """The size of a folder's files; of those that are still there."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total


def format_versions(versions):
    """Returns the table of `list_versions`, as lines.

    Args:
        versions: List of dictionaries.
    """
    rows = [_COLUMNS, *map(_cells, versions)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.ljust(width) if column in (1, 3, 5, 7) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def _cells(version):
    recall, encoder = version["recall"], version["encoder"]
    return (
        str(version["number"]),
        version["created"] or "-",
        "-" if version["rows"] is None else f"{version['rows']:,}",
        version["head"] or "-",
        "-" if recall is None else f"{recall:.3f}",
        encoder[:12] if encoder else "-",
        _size(version["bytes"]),
        _origin(version),
    )


def _origin(version):
    origin = version["origin"] or {}
    made_by, source = origin.get("made_by"), origin.get("from_version")
    if made_by == "gallery update":
        counts = (f"+{origin['added']:,}", f"~{origin['replaced']:,}")
        text = f"{source} {' '.join(counts)} -{origin['deleted']:,}"
    elif made_by == "rollback":
        text = f"rollback from {source} to {origin['to_version']}"
    else:
        text = "export" if version["created"] else "-"
    return text + ("; stale threshold" if version["stale_threshold"] else "")


def _size(count):
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
