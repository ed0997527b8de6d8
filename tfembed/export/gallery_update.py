"""A new gallery of a served model becomes a new version; its encoder stays as it is."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed.export.additions import IMAGES, read_additions
from tfembed.export.alikeness import describe_alikeness
from tfembed.export.card import read_card, write_card
from tfembed.export.gallery_changes import plan_changes
from tfembed.export.gallery_check import check_gallery
from tfembed.export.gallery_state import gallery_sha256, gallery_state
from tfembed.export.heads import HEADS, build_head, choose_head, load_head, trait
from tfembed.export.run_directory import Gallery, check_vote_k
from tfembed.export.saved_variables import (
    gallery_variables,
    read_variables,
    rewrite_variables,
)
from tfembed.export.served_gallery import read_rows, stored_rows
from tfembed.export.versions import (
    NewerVersionError,
    held,
    new_version,
    version_paths,
)
from tfembed.formats.image_metadata import FILE, update_metadata
from tfembed.hints import PathLike
from tfembed.progress import TimedLines

_TRIES = 5
# Rows that may come, change and go before the cells of an ivf head are made anew.
CELLS_KEPT_UP_TO = 0.2
# What of a version is not copied: the gallery is written, the cards too, and the
# fingerprint is one of the variables as they were (it is optional).
_REWRITTEN = ("variables", "fingerprint.pb", "card.json", "README.md")


def update_gallery(
    model_base: PathLike,
    add: PathLike | Sequence[PathLike] = (),
    replace_all: PathLike | Sequence[PathLike] = (),
    delete: Sequence[str] = (),
    ignore_missing: bool = False,
    strict: bool = False,
    vote_k: int | None = None,
    report: Callable[[str], object] | None = print,
) -> Path:
    """Publishes a new gallery as the next version of a served model.

    The new version has the encoder of the newest one, graph and weights byte for byte,
    and its head, `k` and signatures; a head that is not tfembed's is imported, by the
    name that the card has of it. It is checked (`tfembed.export.gallery_check`)
    and then renamed to its number; if anything fails, the error is all that is left.
    Memory holds the old and the new gallery, and hardly more.

    A model that divides its embeddings by their length (`export(normalize=True)`)
    divides those of files too.

    What a list says of images besides (`csv:FILE`, see `tfembed.embed`) comes with the
    rows of `.npz`, `.parquet` and folders of shards, and goes with the rows: a row that
    is replaced has what the new one brings. Rows of `images:FOLDER` bring nothing.

    Rows keep their order; a row that is replaced keeps its place; new rows follow at
    the end, new classes after the others. The threshold of `known` stays, and the
    card says that it is stale if it was calibrated on another gallery. The cells of an
    `ivf` head are kept until a fifth of the rows has changed since they were made, and
    are then made anew; recall is measured again in any case.

    If another version is published meanwhile, this one is made again on top of it,
    unless that one has another encoder.

    >>> import tempfile
    >>> from tfembed.export import update_gallery
    >>> with tempfile.TemporaryDirectory() as models:  # nothing was exported to it
    ...     update_gallery(models, add="new.npz", delete=["shoes/17.png"])
    Traceback (most recent call last):
        ...
    ValueError: `model_base` must be a folder with numbered versions. ...

    Args:
        model_base: Folder with one numbered folder a version.
        add: What to add, one or a list: `.npz`, `.parquet`, a folder of shards, or
            `images:FOLDER`; see `tfembed.export.additions.read_additions`. A row whose
            id is in the gallery replaces that row.
        replace_all: The same; all rows of before go. Not with `add` or `delete`.
        delete: Ids of rows to take away.
        ignore_missing: Whether ids to delete may be unknown.
        strict: Whether an image that does not decode is an error; by default it is
            counted and left out.
        vote_k: Neighbours that vote from now on; `None`: as many as before.
        report: Is called with a line of progress at a time. `None`: silent.

    Returns:
        `pathlib.Path` of the published version; of the newest one, if there was
        nothing to change.

    Raises:
        ValueError: If an argument or a file does not fit the model.
        OSError: If the version cannot be written, or the disk has no room.
        RuntimeError: If the new version does not answer as it should, or others
            publish faster than this can be made.
    """
    say = TimedLines(report)
    add, replace_all = _listed(add), _listed(replace_all)
    delete = [str(each) for each in ([delete] if isinstance(delete, str) else delete)]
    nothing = not (add or replace_all or delete) and vote_k is None
    if nothing or (replace_all and (add or delete)):
        raise ValueError(
            "Give `add`, `delete` or both, or `replace_all` alone, or `vote_k`. "
            f"Received: add={add}, replace_all={replace_all}, {len(delete):,} ids to "
            "delete."
        )
    vote_k = check_vote_k(vote_k)
    base = Path(model_base)
    update = _Update(
        add or replace_all, bool(replace_all), delete, ignore_missing, vote_k
    )
    for trial in range(_TRIES):
        number, path = list(version_paths(base).items())[-1]
        try:
            with held(path):
                return update.publish(base, number, path, strict, say)
        except (NewerVersionError, FileNotFoundError) as error:
            newest = list(version_paths(base))[-1]
            if newest == number or trial == _TRIES - 1:
                raise
            say(f"version {newest} was published meanwhile; made again on top of it")
            del error
    raise AssertionError("unreachable")


class _Update:
    """What is to change; it can be made on top of any version of one encoder."""

    def __init__(self, sources, replaces_all, delete, ignore_missing, vote_k):
        self._sources, self._replaces_all = sources, replaces_all
        self._delete, self._ignore_missing = delete, ignore_missing
        self._vote_k = vote_k
        self._additions = None
        self._encoder = None

    def publish(self, base, number, path, strict, say):
        card = read_card(path)
        encoder = card["encoder"]
        if self._encoder not in (None, encoder):
            raise ValueError(
                f"Version {number} of {str(base)!r} was published meanwhile, with "
                "another encoder; nothing was changed. Embed the new rows with that "
                "encoder, and run the command again."
            )
        self._encoder = encoder
        head = card["head"]["head"]
        say(f"read version {number}: {card['gallery']['size']:,} rows, head {head}")
        if self._additions is None:
            # Cards of before there was the option say nothing of it.
            normalize = bool(encoder.get("normalize"))
            self._additions = _read_all(self._sources, path, strict, say, normalize)
            gc.collect()  # the version that embedded images, and its gallery
        for each in self._additions:
            if each.dim != card["encoder"]["dim"]:
                raise ValueError(
                    f"{each.name!r} must hold embeddings of length "
                    f"{card['encoder']['dim']}, as this model's encoder gives them. "
                    f"Received: length {each.dim}. Embed with this encoder."
                )
            resize = encoder.get("resize", "squash")
            if each.resize not in (None, resize):
                raise ValueError(
                    f"{each.name!r} must be of pictures that were resized as this "
                    f"model does, {resize!r}. Received: {each.resize!r}. Embed the "
                    f"images so (--resize {resize}), or add them by images:FOLDER."
                )
        ids, labels, names, rest = read_rows(path)
        gone = len(ids) if self._replaces_all else 0
        if gone:
            ids, labels = ids[:0], labels[:0]
        changes = plan_changes(
            ids, labels, names, self._additions, self._delete, self._ignore_missing
        )
        changes = dataclasses.replace(changes, deleted=changes.deleted + gone)
        left = ids[changes.from_old < 0]  # deleted, or replaced
        del ids, labels
        vote_k = rest["vote_k"] if self._vote_k is None else self._vote_k
        if vote_k != rest["vote_k"]:
            say(f"{vote_k:,} neighbours vote, in place of {rest['vote_k']:,}")
        elif not changes.changed:
            say(f"nothing to change: version {number} stays")
            return path
        rest["vote_k"] = vote_k
        say(
            f"{changes.added:,} rows added, {changes.replaced:,} replaced, "
            f"{changes.deleted:,} deleted: {changes.size:,} rows"
        )
        needed = _needed_bytes(path, changes.size / max(card["gallery"]["size"], 1))
        with new_version(base, needed, basis=number) as version:
            self._write(version, path, card, changes, left, rest, needed, say)
        say(f"published version {version.number}: {version.path}")
        return version.path

    def _write(self, version, path, card, changes, left, rest, needed, say):
        head = card["head"]["head"]
        since = card["head"].get("rows_changed_since_cells", 0) + changes.changed
        embeddings = self._embeddings(path, head, changes, card["encoder"]["dim"])
        gallery = Gallery(
            embeddings, changes.labels, changes.ids, changes.class_names, **rest
        )
        previous = None
        carries = trait(load_head(head), "carries")
        if carries and set(carries) <= set(gallery_variables(path)):
            keep = since <= CELLS_KEPT_UP_TO * changes.size
            if keep:
                read = read_variables(path, carries)
                previous = {name: value.numpy() for name, value in read.items()}
            if not keep:
                say(f"making new cells: {since:,} rows have changed since the last")
        wanted = {"recall": "recall_wanted", "k": "recall_k"}
        wanted = {name: card["head"].get(key) for name, key in wanted.items()}
        built = build_head(
            head,
            embeddings,
            given=card["head"].get("options"),
            previous=previous,
            progress=say,
            **{name: value for name, value in wanted.items() if value},
        )
        _copy_rest(path, version.path)
        rewrite_variables(path, version.path, gallery_state(gallery, built))
        columns = self._write_metadata(version.path, card, left, say)
        say("wrote the gallery")
        head_card = dict(built.card)
        if "cells_kept" in head_card:
            kept = head_card["cells_kept"]
            head_card["rows_changed_since_cells"] = since if kept else 0
        if trait(load_head(head), "kept") is not None:
            head_card["recall_is_of"] = "rows that were rounded before, but new ones"
            before = card["head"].get("recall_at_k")
            before = card["head"].get("recall_when_exported", before)
            head_card["recall_when_exported"] = before
        del built
        mean, warning = describe_alikeness(gallery, say, say.silent)
        card = self._card(card, path, gallery, head_card, changes)
        card["gallery"]["mean_cosine"] = mean
        card["gallery"]["metadata"] = columns
        card["warnings"] = [] if warning is None else [warning]
        wanted, reason = choose_head(gallery.size, gallery.dim)
        if wanted != head and head in HEADS.parts:
            say(f"the head stays {head}; {wanted} would fit this gallery: {reason}")
        added = [each[:4] for each in changes.from_added]
        some = np.concatenate(added) if added else np.empty(0, np.int64)
        off = check_gallery(path, version.path, head, gallery, some)
        card["checks"] = {**card.get("checks", {}), "gallery_scores_within": off}
        write_card(version.path, card)
        say(f"asked it in a fresh process: scores within {off:.1g} of NumPy's")

    def _write_metadata(self, target, card, left, say):
        """Changes the further columns, which were copied; returns their names."""
        before = card["gallery"].get("metadata") or []
        if self._replaces_all:
            before = []
            (target / FILE).unlink(missing_ok=True)
        bare = sum(len(each.ids) for each in self._additions if not each.metadata)
        if before and bare:
            say(
                f"{bare:,} rows come without the further columns of the gallery "
                f"({', '.join(before)}), and have none"
            )
        added = [(each.ids, each.metadata) for each in self._additions]
        columns = update_metadata(target, left, added)
        return list(dict.fromkeys([*before, *columns]))

    def _embeddings(self, path, head, changes, dim):
        """The new gallery's embeddings; beside them, the old one's are in memory."""
        embeddings = np.empty((changes.size, dim), np.float32)
        if not self._replaces_all:
            for rows, part in stored_rows(path, head):
                becomes = changes.from_old[rows]
                stays = becomes >= 0
                embeddings[becomes[stays]] = part[stays]
        for additions, becomes in zip(self._additions, changes.from_added):
            start = 0
            for part in additions.parts():
                embeddings[becomes[start : start + len(part)]] = part
                start += len(part)
        return embeddings

    def _card(self, card, path, gallery, head_card, changes):
        digest = gallery_sha256(gallery)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        known = dict(card.get("known") or {})
        if known.get("gallery_sha256"):
            known["stale"] = known["gallery_sha256"] != digest
        return {
            **card,
            "created": created,
            "gallery": {
                **card["gallery"],
                "size": gallery.size,
                "sha256": digest,
                "classes": gallery.class_names.tolist(),
                "created": created,
            },
            "head": head_card,
            "known": known,
            "vote": {**card.get("vote", {}), "k": gallery.vote_k},
            "origin": {
                "made_by": "gallery update",
                "from_version": int(path.name),
                "sources": self._sources,
                "added": changes.added,
                "replaced": changes.replaced,
                "deleted": changes.deleted,
                "left_out": sum(len(each.skipped) for each in self._additions),
            },
        }


def _read_all(sources, path, strict, say, normalize):
    """Reads everything that is to be added."""
    embed = None
    if any(each.startswith(IMAGES) for each in sources):
        embed = _embedding(path)
    return [read_additions(each, embed, strict, say, normalize) for each in sources]


def _embedding(path):
    """A version's own `embed_bytes`, as a function of arrays; it holds the version."""
    with tf.device("CPU"):
        model = tf.saved_model.load(str(path))

    def embed(image_bytes):
        answer = model.signatures["embed_bytes"](image_bytes=tf.constant(image_bytes))
        return answer["embeddings"].numpy(), answer["valid"].numpy()

    return embed


def _copy_rest(source, target):
    for path in sorted(source.iterdir()):
        if path.name in _REWRITTEN:
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


def _needed_bytes(path, growth):
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return int(1.1 * size * max(growth, 0.01)) + (8 << 20)


def _listed(sources):
    single = isinstance(sources, (str, Path))
    return [str(each) for each in ([sources] if single else sources)]
