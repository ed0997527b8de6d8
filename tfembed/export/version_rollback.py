"""An old version of a served model is published again, under a new number."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tfembed.export.card import read_card, write_card
from tfembed.export.versions import held, new_version, version_paths
from tfembed.hints import PathLike

# What is written anew: through a link it would change in the old version as well.
_CARDS = {"card.json", "README.md", os.path.join("assets.extra", "tfembed.json")}


def rollback(
    model_base: PathLike,
    to: int | None = None,
    report: Callable[[str], object] | None = print,
) -> Path:
    """Publishes an old version again, as the next one.

    A server serves the highest number, so an old version comes back under a new one.
    Files are shared with the old version (hard links) where the disk allows that.

    >>> import os, tempfile
    >>> from tfembed.export import rollback
    >>> with tempfile.TemporaryDirectory() as base:
    ...     for number in ("1", "2"):  # as `export` makes them, with more in them
    ...         os.mkdir(os.path.join(base, number))
    ...         for name in ("card.json", "saved_model.pb"):
    ...             with open(os.path.join(base, number, name), "w") as file:
    ...                 size = file.write('{"format_version": 1}')
    ...     rollback(base, to=1, report=None).name
    '3'

    Args:
        model_base: Folder with one numbered folder a version.
        to: Number of the version to go back to. `None`: the one before the newest; if
            the newest is itself a rollback, the one before the version it went back
            to, so that repeating it goes further back.
        report: Is called with a line of progress at a time. `None`: silent.

    Returns:
        `pathlib.Path` of the published version.

    Raises:
        ValueError: If there is no such version, or none before.
        NewerVersionError: If another version is published meanwhile.
        OSError: If it cannot be written.
    """
    base = Path(model_base)
    while True:
        paths = version_paths(base)
        try:
            return _roll_back(base, paths, to, report or (lambda line: None))
        except (FileNotFoundError, ValueError):
            if all(path.is_dir() for path in paths.values()):
                raise
            # A version was pruned meanwhile: what is left is looked at again.


def _roll_back(base, paths, to, say):
    newest = list(paths)[-1]
    to = _before(base, paths) if to is None else to
    if to not in paths or to == newest:
        what = "which is the newest already" if to == newest else "which is not there"
        raise ValueError(
            f"`to` must be a version before the newest, {newest}. "
            f"Received: to={to!r}, {what}; there are {_listed(paths)}."
        )
    with held(paths[to]):
        card = read_card(paths[to])
        needed = sum(
            (paths[to] / name).stat().st_size
            for name in ("saved_model.pb", "card.json")
        )
        with new_version(base, needed + (1 << 20), basis=newest) as version:
            shared = _link_tree(paths[to], version.path)
            card["origin"] = {
                "made_by": "rollback",
                "from_version": newest,
                "to_version": to,
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            write_card(version.path, card)
    how = "sharing its files" if shared else "with copies of its files"
    say(f"published version {to} again, {how}")
    say(f"published version {version.number}: {version.path}")
    return version.path


def _before(base, paths):
    """The version that the newest one replaced, or is a return from."""
    newest = list(paths)[-1]
    origin = read_card(paths[newest]).get("origin") or {}
    limit = origin["to_version"] if origin.get("made_by") == "rollback" else newest
    older = [number for number in paths if number < limit]
    if not older:
        raise ValueError(
            "`model_base` must have a version to go back to. "
            f"Received: model_base={str(base)!r}, with {_listed(paths)} and none "
            f"before {limit}. Name one with --to (`to=`)."
        )
    return older[-1]


def _link_tree(source, target):
    """Fills a folder with another's files; whether they are the same files."""
    shared = True
    for folder, _, names in os.walk(source):
        into = target / os.path.relpath(folder, source)
        into.mkdir(exist_ok=True)
        for name in names:
            old = os.path.join(folder, name)
            if os.path.relpath(old, source) in _CARDS:
                continue
            try:
                os.link(old, into / name)
            except OSError:
                shutil.copyfile(old, into / name)
                shared = False
    return shared


def _listed(paths):
    return "version " + ", ".join(map(str, paths))
