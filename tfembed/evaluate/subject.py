"""What is measured: a run, an encoder on images, or embeddings that are there."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfembed.backbones import check_encoder, is_backbone, open_encoder
from tfembed.data import SourceImages, load_images, read_embeddings
from tfembed.formats.label_vectors import as_vector
from tfembed.formats.npz import Npz
from tfembed.formats.run_config import check_run
from tfembed.formats.shards import read_manifest_inside
from tfembed.hints import PathLike
from tfembed.ops.arguments import as_count
from tfembed.progress import Progress

if TYPE_CHECKING:
    from tfembed.backbones import Weights

_NAMED = 3  # images left out that are named


@dataclasses.dataclass(frozen=True)
class Rows:
    """Embeddings of images whose class is known.

    Attributes:
        embeddings: Float `(n, d)`.
        labels: `(n,)`.
        ids: `(n,)`, or `None`.
    """

    embeddings: Any
    labels: Any
    ids: Any = None


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        name: Where it came from.
        protocol: `"seen"`: the queries search the gallery, of the same classes.
            `"unseen"`: the queries search each other.
        queries: `Rows`.
        gallery: `Rows`; `None` for `"unseen"`.
        temperature: Of the vote, where the source has its own; else `None`.
        notes: Sentences on what was left out.
    """

    name: str
    protocol: str
    queries: Rows
    gallery: Rows | None = None
    temperature: float | None = None
    notes: tuple = ()


def find_subject(
    target: PathLike,
    gallery: PathLike | None = None,
    dataset: str | None = None,
    split: str | None = None,
    data_dir: PathLike | None = None,
    limit: int | None = None,
    test_limit: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    strict: bool = False,
    say: Callable[[str], object] | None = None,
    weights: str | Weights | None = None,
    pool: str | None = None,
    resize: str | None = None,
) -> Subject:
    """Finds out what a target is, and reads or makes its embeddings.

    Args:
        target: A run directory; a saved Keras encoder (`.keras`) or the name of a
            backbone, with `dataset`; or embeddings: a file `.npz` or `.parquet`, or a
            folder that `python -m tfembed.embed` wrote.
        gallery: Embeddings that those of `target` search; by default each other.
        dataset: A source of `tfembed.data`. With a run directory, its encoder embeds
            this source instead of what the run left behind.
        split: Which images of `dataset` search which, as of
            `tfembed.data.load_images`: `"seen"` (the default), test images among
            training images; `"unseen"` or `"given"`, images of the test classes among
            themselves; or `"whole"`, all images of the source among themselves.
        data_dir: As in `load_images`.
        limit: As in `load_images`.
        test_limit: As in `load_images`.
        image_size: Of a backbone, 224 by default; else only where the encoder takes
            images of any size.
        channels: Of a backbone, 3 by default; else likewise.
        seed: As in `load_images`.
        batch_size: Images at a time.
        strict: Raise when an image does not decode, instead of leaving it out.
        say: Given a line of progress now and then; `None` for none.
        weights: Of a backbone, which must say; see `tfembed.backbones.open_encoder`.
        pool: Of a backbone; see there.
        resize: `"squash"`, `"crop"` or `"pad"`, how pictures are brought to the
            encoder's size; a run's encoder has its own, else see `open_encoder`, and
            `"squash"` where nobody says.

    Returns:
        A `Subject`.

    Raises:
        ValueError: If it is none of these, arrays are missing or do not fit together,
            or nothing has a label.
    """
    backbone = is_backbone(os.fspath(target), weights)
    target = os.fspath(target) if backbone else os.path.expanduser(os.fspath(target))
    if not backbone and not os.path.exists(target):
        if ":" in target:
            check_encoder(target, weights, pool)  # names the backbones that there are
        raise ValueError(
            "TARGET must be a run directory, a saved Keras model (.keras), a file of "
            "embeddings (.npz), or the name of a backbone, such as "
            f"applications:MobileNetV2. Received: {target!r}, which does not exist."
        )
    arrays = not backbone and (
        target.endswith((".npz", ".parquet")) or _in(target, "manifest.json")
    )
    run = not backbone and os.path.isdir(target) and not arrays
    if not arrays and (backbone or weights is not None or pool is not None):
        check_encoder(target, weights, pool)
    if gallery is not None and not arrays:
        raise ValueError(
            "--gallery goes with a file of embeddings. "
            f"Received: --gallery with {target!r}. Leave it out."
        )
    if arrays:
        if dataset is not None:
            raise ValueError(
                "--dataset goes with a saved encoder or a run directory. Received: "
                f"--dataset with the embeddings {target!r}. Leave it out."
            )
        return _of_arrays(target, gallery)
    if run and dataset is None:
        return _of_run(target)
    if dataset is None:
        raise ValueError(
            "An encoder needs --dataset, the images to embed. "
            f"Received: {target!r} alone. Add, for instance, --dataset folder:PATH."
        )
    return _of_images(
        target,
        dataset,
        split or "seen",
        {
            "data_dir": data_dir,
            "limit": limit,
            "test_limit": test_limit,
            "seed": seed,
            "strict": strict,
        },
        lambda: open_encoder(
            target, weights, image_size, channels, pool, say=say, resize=resize
        ),
        batch_size,
        say,
    )


def _in(folder, name):
    return os.path.isfile(os.path.join(folder, name))


def _of_run(path):
    """Reads what a recipe left behind."""
    if not _in(path, "gallery.npz"):
        going = _in(path, "config.json")
        raise ValueError(
            "TARGET, a directory, must be a finished run. "
            f"Received: {path!r}, without gallery.npz. "
            + (
                "Start its command again: it goes on where it stopped."
                if going
                else "Give the directory that a recipe wrote."
            )
        )
    check_run(path)
    name = os.path.join(path, "gallery.npz")
    gallery, notes = _read_rows(name)
    temperature = _number(name, "vote_temperature")
    if _in(path, "queries.npz"):
        queries, more = _read_rows(os.path.join(path, "queries.npz"))
        return Subject(path, "seen", queries, gallery, temperature, notes + more)
    result = os.path.join(path, "result.json")
    protocol = None
    if os.path.isfile(result):
        try:
            with open(result, encoding="utf-8") as file:
                protocol = json.load(file).get("protocol")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{result!r} must be a JSON object: {error}") from error
    if protocol != "unseen":
        raise ValueError(
            "A run on seen classes must hold queries.npz, the embeddings of its test "
            f"images. Received: {path!r} without. Give --dataset, to embed images with "
            f"its encoder, or {name!r}, to search the gallery for itself."
        )
    return Subject(path, "unseen", gallery, notes=notes)


def _of_arrays(path, gallery):
    queries, notes = _read_rows(path)
    if gallery is None:
        return Subject(path, "unseen", queries, notes=notes)
    gallery = os.path.expanduser(os.fspath(gallery))
    if not os.path.exists(gallery):
        raise ValueError(
            "--gallery must be a file of embeddings (.npz). "
            f"Received: {gallery!r}, which does not exist."
        )
    rows, more = _read_rows(gallery)
    lengths = queries.embeddings.shape[1], rows.embeddings.shape[1]
    if lengths[0] != lengths[1]:
        raise ValueError(
            "Queries and gallery must be embeddings of one encoder. Received: rows of "
            f"{lengths[0]} numbers in {path!r}, of {lengths[1]} in {gallery!r}."
        )
    return Subject(
        path, "seen", queries, rows, _number(gallery, "vote_temperature"), notes + more
    )


def _of_images(target, dataset, split, arguments, opened, batch_size, say):
    """Embeds a source of images."""
    as_count("batch_size", batch_size)
    encoder = opened()
    shape, strict = encoder.image_shape, arguments["strict"]
    resize = encoder.resize or "squash"
    if split == "whole":
        folder = arguments["data_dir"]
        found = SourceImages(dataset, "all", shape, folder, strict, resize=resize)
        parts, taken = [("images", found)], found.taken
    else:
        data = load_images(
            dataset,
            image_size=shape[:2],
            channels=shape[2],
            split=split,
            resize=resize,
            **arguments,
        )
        parts, taken = [("test images", data.test)], data.taken
        if split == "seen":
            parts.append(("training images", data.train))
        for what, part in parts:
            if part is None or part.labels is None:
                lacks = "none" if part is None else "no labels for them"
                raise ValueError(
                    f"--dataset must have {what} with labels to be measured. "
                    f"Received: {dataset!r}, which has {lacks}."
                )
        parts = [
            (what, SourceImages(part, "all", shape, resize=resize))
            for what, part in parts
        ]
    if say and taken:
        say(f"{dataset}: {taken}")
    notes, rows = (), []
    for what, images in parts:
        made, left_out = _embed(encoder, images, batch_size, strict, what, say)
        made, unlabelled = _with_labels(f"{dataset} ({what})", made)
        rows.append(made)
        notes += left_out + unlabelled
    return Subject(
        f"{target} on {dataset}",
        "seen" if split == "seen" else "unseen",
        *rows,
        notes=notes,
    )


def _embed(encoder, images, batch_size, strict, what, say):
    """Returns the `Rows` of images, and sentences on what was left out."""
    progress = Progress(say, images.size, stage="embedding")
    order, embeddings = [], []
    left_out = [(str(name), reason) for name, reason in images.skipped]
    for some, pixels, skipped in images.stream(0, images.size, batch_size):
        order.append(some)
        embeddings.append(encoder(pixels))
        left_out += [(str(images.ids([row])[0]), reason) for row, reason in skipped]
        if strict and left_out:
            raise ValueError(
                "Every image must decode where --strict is given. Received: "
                f"{left_out[0][0]!r}: {left_out[0][1]}."
            )
        progress.step(len(some) + len(skipped))
    order = np.concatenate(order) if order else np.arange(0)
    if not len(order):
        raise ValueError(f"{images.name} must have images that decode; none does.")
    ascending = np.argsort(order, kind="stable")
    order = order[ascending]
    made = Rows(
        np.concatenate(embeddings)[ascending], images.labels(order), images.ids(order)
    )
    notes = ()
    if left_out:
        named = "; ".join(f"{name}: {reason}" for name, reason in left_out[:_NAMED])
        notes = (f"{len(left_out):,} {what} do not decode and are left out: {named}",)
    return made, notes


def _number(path, name):
    """Returns a number that an archive may hold."""
    if not path.endswith(".npz"):
        return None
    with Npz(path) as archive:
        return archive.number(name, None)


def _read_rows(path):
    """Reads embeddings with labels; returns `Rows` and sentences on what is left out.

    Raises:
        ValueError: If that is not what stands there.
    """
    if path.endswith(".npz"):
        read_manifest_inside(path)  # refuses a newer format
        return _with_labels(path, _read_npz(path))
    found = read_embeddings(path).load()
    return _with_labels(path, Rows(found.embeddings, found.labels, found.ids))


def _read_npz(path):
    with Npz(path) as archive:
        archive.require("embeddings")
        arrays = {
            name: archive[name]
            for name in ("embeddings", "labels", "ids")
            if name in archive
        }
        names = archive.names
    if "labels" not in arrays:
        raise ValueError(
            f"{path!r} must hold the array `labels`, the class of each row: without "
            f"classes nothing is right or wrong. Received: {sorted(names)}."
        )
    embeddings, labels = arrays["embeddings"], arrays["labels"]
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        raise ValueError(
            f"{path!r}: `embeddings` must be a float array (n, d). Received: "
            f"{embeddings.dtype} of shape {embeddings.shape}."
        )
    try:
        labels = as_vector("labels", labels)
    except ValueError as error:
        raise ValueError(f"{path!r}: {error}") from error
    for name, values in (("labels", labels), ("ids", arrays.get("ids"))):
        if values is not None and values.reshape(-1).shape != (len(embeddings),):
            raise ValueError(
                f"{path!r}: `{name}` must have one entry for each of the "
                f"{len(embeddings):,} rows of `embeddings`. Received: shape "
                f"{values.shape}."
            )
    ids = arrays.get("ids")
    return Rows(embeddings, labels, None if ids is None else ids.ravel())


def _with_labels(name, rows):
    """Leaves out rows without a label: a negative number, NaN, or an empty string."""
    kind = rows.labels.dtype.kind
    known = np.ones(len(rows.labels), bool)
    if kind in "if":
        known = rows.labels >= 0
    elif kind == "U":
        known = rows.labels != ""
    if not known.any():
        raise ValueError(
            f"{name} must have labels to be measured. Received: "
            f"{len(known):,} rows, none of them with a label."
        )
    if known.all():
        return rows, ()
    kept = Rows(
        rows.embeddings[known],
        rows.labels[known],
        None if rows.ids is None else rows.ids[known],
    )
    return kept, (f"{np.sum(~known):,} rows of {name} have no label: left out",)
