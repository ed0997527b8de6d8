"""From a source to its groups of near duplicates, a page and a list, in one folder."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfembed.data import folder_of
from tfembed.dedup.duplicates import check_threshold, find_duplicates
from tfembed.dedup.forest import groups_of
from tfembed.dedup.gallery import (
    RESULT,
    KnownEncoder,
    check_encoder_of,
    find_gallery,
    is_images,
)
from tfembed.dedup.kept import find_kept, write_csv
from tfembed.dedup.page import GROUPS, PAGE, write_page
from tfembed.dedup.pictures import ArrayPictures, FolderPictures
from tfembed.dedup.state import State
from tfembed.dedup.threshold import histogram
from tfembed.dedup.thumbnails import FOLDER
from tfembed.formats.disk import raise_full_disk, written_beside
from tfembed.hints import PathLike
from tfembed.ops.arguments import as_count

if TYPE_CHECKING:
    from tfembed.backbones import Weights

__all__ = ["DedupResult", "dedup_source"]

CSV = "duplicates.csv"
EMBEDDINGS = "embeddings"
SEARCH = "search.npz"
BATCH_SIZE = 32
_SHARD_SIZE = 1024  # what a killed job loses at most
_OURS = {PAGE, CSV, RESULT, SEARCH, FOLDER, EMBEDDINGS}
_OTHERS = (0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92, 0.9, 0.87, 0.84, 0.8)


@dataclasses.dataclass(frozen=True)
class DedupResult:
    """What `dedup_source` found and wrote.

    Attributes:
        found: `Duplicates`.
        members: `tfembed.dedup.kept.Members`.
        rows: `tfembed.dedup.rows.Rows`.
        output: The folder.
        table: List of `(threshold, groups, pictures beside the kept ones)`.
        summary: What `dedup.json` holds.
        skipped: List of `(id, reason)` of images that could not be embedded.
    """

    found: Any
    members: Any
    rows: Any
    output: str
    table: list
    summary: dict
    skipped: list


def dedup_source(
    source: str,
    output: PathLike,
    encoder: PathLike | None = None,
    threshold: float | None = None,
    images: str | None = None,
    groups_on_page: int = GROUPS,
    say: Callable[[str], object] | None = None,
    weights: str | Weights | None = None,
    pool: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    resize: str | None = None,
    **embedding: Any,
) -> DedupResult:
    """Finds the near duplicates of a source, and writes a page and a list of them.

    Of each group the largest picture is kept, of as large ones the first by name.
    Nothing of the source is changed. Started again, it goes on: with embedding at a
    whole shard, with comparing at a block of rows, and with another threshold at once.

    Args:
        source: Images, as `tfembed.embed` takes them, with `encoder`; or embeddings: an
            output of `tfembed.embed` or of this, an `.npz` or `.parquet`, a run
            directory, or an export.
        output: Folder for `index.html`, `duplicates.csv`, `dedup.json`, and what is
            gone on from.
        encoder: A run directory, a saved Keras model, or a backbone's name with
            `weights`.
        threshold: The lowest cosine of a pair; `None` for the valley in the histogram
            of the nearest pictures' cosines.
        images: For embeddings, the folder in which an id is the path of a picture.
        groups_on_page: Most groups on the page; of more, the least certain.
        say: Function that is given a line of progress now and then.
        weights: As in `tfembed.backbones.open_encoder`.
        pool: Likewise.
        image_size: Likewise.
        channels: Likewise.
        resize: Likewise.
        **embedding: Further arguments of `tfembed.embed.embed_source`: `split`,
            `limit`, `batch_size`, `data_dir`, `strict`.

    Returns:
        `DedupResult`.

    Raises:
        ValueError: If an argument is wrong, or the output holds something else.
        OSError: If it cannot be written.
    """
    say = say or (lambda line: None)
    check_threshold(threshold)
    as_count("groups_on_page", groups_on_page)
    output = os.path.abspath(os.path.expanduser(os.fspath(output)))
    options = {
        "weights": weights,
        "pool": pool,
        "image_size": image_size,
        "channels": channels,
    }
    _check_output(output, source)
    check_encoder_of(source, encoder, weights, pool)
    start, skipped = time.monotonic(), []
    if is_images(source, encoder):
        gallery, skipped = _embedded(
            source, output, encoder, options, images, say, resize, embedding
        )
    else:
        gallery = find_gallery(source, images, output)
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise_full_disk(output, error)
        raise
    rows = gallery.rows
    if rows.without_direction:
        say(f"{rows.without_direction:,} embeddings are zero, and like no other")
    state = State(os.path.join(output, SEARCH))
    found = find_duplicates(rows, threshold, say=say, state=state)
    members = find_kept(found.groups, rows, gallery.pictures)
    table = _table(found, rows.size)
    counts = histogram(found.links.nearest).counts
    write_csv(os.path.join(output, CSV), members, rows)
    facts = {
        "source": str(source),
        "encoder": gallery.encoder.name if gallery.encoder else None,
        "table": table,
        "histogram": counts,
    }
    write_page(
        output, found, members, rows, gallery.pictures, facts, groups_on_page, say
    )
    summary = _summary(gallery, found, members, counts, output, skipped)
    summary["seconds"] = round(time.monotonic() - start, 1)
    with written_beside(os.path.join(output, RESULT)) as partial:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(summary, file, indent=1)
            file.write("\n")
    return DedupResult(found, members, rows, output, table, summary, skipped)


def _embedded(source, output, encoder, options, images, say, resize, embedding):
    """Embeds images into the output; returns the `Gallery`, and what is left out."""
    from tfembed.backbones import open_encoder
    from tfembed.data import SourceImages
    from tfembed.embed import embed_source

    opened = open_encoder(encoder, **options, say=say, resize=resize)
    chosen = {
        name: embedding.pop(name)
        for name in ("data_dir", "strict", "limit")
        if name in embedding
    }
    split = embedding.pop("split", "all")
    chosen["resize"] = opened.resize
    found = SourceImages(source, split, opened.image_shape, **chosen)
    folder = os.path.join(output, EMBEDDINGS)
    embedding.setdefault("batch_size", BATCH_SIZE)
    files = embed_source(
        opened,
        found,
        folder,
        shard_size=_SHARD_SIZE,
        strict=chosen.get("strict", False),
        replace=True,
        say=say,
        **embedding,
    )
    gallery = find_gallery(folder, images, output)
    pictured = folder_of(found.name)
    if images is None and pictured is not None:
        pictures = FolderPictures(pictured)
    elif images is None:
        pictures = ArrayPictures(found.parts)
    else:
        pictures = gallery.pictures
    path = encoder if opened.facts else os.path.abspath(os.path.expanduser(encoder))
    weights = options["weights"]
    if weights and os.path.exists(os.path.expanduser(weights)):
        weights = os.path.abspath(os.path.expanduser(weights))
    options = {**options, "weights": weights}
    known = KnownEncoder(path, opened.sha256, options, resize=found.resize)
    gallery = dataclasses.replace(
        gallery, name=str(source), pictures=pictures, encoder=known
    )
    return gallery, files.manifest["skipped"]


def _table(found, size):
    """Groups at several thresholds: `(threshold, groups, pictures beside the kept)`."""
    links, chosen = found.links, found.threshold.value
    thresholds = {value for value in _OTHERS if value >= links.floor} | {chosen}
    table = []
    for value in sorted(thresholds, reverse=True):
        count = int(np.sum(links.scores >= np.float32(value)))
        groups = groups_of(size, links.first[:count], links.second[:count])
        table.append((value, len(groups), count))
    return table


def _summary(gallery, found, members, counts, output, skipped):
    from tfembed.version import __version__

    path = os.path.abspath(gallery.path)
    inside = os.path.commonpath([path, output]) == output
    others = members.others
    return {
        "tfembed": __version__,
        "source": gallery.name,
        "embeddings": os.path.relpath(path, output) if inside else path,
        "images": gallery.pictures.root,
        "encoder": dataclasses.asdict(gallery.encoder) if gallery.encoder else None,
        "count": gallery.rows.size,
        "dim": gallery.rows.dim,
        "threshold": found.threshold.value,
        "threshold_from": found.threshold.source,
        "reason": found.threshold.reason,
        "floor": found.links.floor,
        "nearest_by_degree": [int(count) for count in counts],
        "groups": len(members),
        "in_groups": len(members.rows),
        "beside_the_kept": int(others.sum()),
        "bytes_beside_the_kept": int(members.bytes[others].clip(min=0).sum()),
        "skipped": [list(pair) for pair in skipped],
    }


def _check_output(output, source):
    """Raises unless the output is new, empty or of this command, and not in the way."""
    if os.path.lexists(output) and not os.path.isdir(output):
        raise ValueError(
            "--output must be a folder. Received: "
            f"{output!r}, which is a file. Give another."
        )
    pictures = folder_of(source)
    if pictures is not None and str(source).startswith("folder:"):
        root = os.path.realpath(os.path.expanduser(pictures))
        if os.path.commonpath([root, os.path.realpath(output)]) == root:
            raise ValueError(
                "--output must not be in the folder of pictures: its small pictures "
                f"would be taken for some of yours. Received: {output!r}. Give "
                "another with --output."
            )
    names = set(os.listdir(output)) if os.path.isdir(output) else set()
    foreign = sorted(name for name in names - _OURS if not name.startswith("."))
    if foreign and not names & {RESULT, SEARCH, EMBEDDINGS}:
        raise ValueError(
            "--output must be a new or empty folder, or one that this command wrote. "
            f"Received: {output!r}, which holds {foreign[0]!r}. Give another."
        )
