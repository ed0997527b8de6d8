"""`python -m tfembed.publish`: from an encoder and a folder of images to a search.

    python -m tfembed.publish ENCODER BASE --gallery SOURCE

embeds every image of a source, calibrates from which score on a query counts as known,
and writes the next version of a served model below BASE: encoder, gallery and search in
one SavedModel, checked before it appears. ENCODER is a run directory, a saved Keras
model, or the name of a backbone with its weights: nothing has to be trained. SOURCE is
what `tfembed.embed` takes, or what it wrote.

Killed at any moment, the same command goes on: what was embedded is kept in a hidden
folder below BASE until the version is there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfembed.backbones import (
    backbone_resize,
    backbone_shape,
    check_encoder,
    is_backbone,
    is_foreign,
    open_encoder,
)
from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.data import check_source, source_names
from tfembed.embed import (
    add_image_flags,
    check_arguments,
    embed_source,
    name_left_out,
)
from tfembed.export import add_search_flags, search_options
from tfembed.hints import PathLike
from tfembed.quiet_imports import quiet_start

if TYPE_CHECKING:
    import tensorflow as tf

    from tfembed.backbones import Weights

__all__ = ["publish"]

BATCH_SIZE = 32
_SHARD_SIZE = 1024  # what a killed job loses at most
_EMBEDDINGS = ".tfembed-embeddings"
_SAMPLES = 4
_MEASURED = 1000  # rows that are searched among the others, to say how good it is
_UNIT_TOLERANCE = 1e-3
_LEAST = 2  # images: one alone has no neighbour


def publish(
    encoder: PathLike,
    base: PathLike,
    gallery: PathLike,
    *,
    weights: str | Weights | None = None,
    pool: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    resize: str | None = None,
    split: str = "all",
    limit: int | None = None,
    batch_size: int = BATCH_SIZE,
    data_dir: PathLike | None = None,
    strict: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    k: int = 10,
    vote_k: int | None = None,
    report: Callable[[str], object] | None = print,
    **options: Any,
) -> Path:
    """Publishes an encoder with a gallery as the next version of a served model.

    Embeddings that are not of length 1 are divided by it, in the served model too.

    Args:
        encoder: A run directory, a saved Keras model, a name in
            `tfembed.backbones.BACKBONES` with `weights`, or one's own backbone,
            `module:function`, which brings its weights.
        base: Folder with one numbered folder a version; made if missing.
        gallery: A source of `tfembed.data`, such as `folder:PATH`, whose images are
            embedded; or embeddings of this encoder: a folder or file that
            `tfembed.embed` wrote, a run directory, an `.npz` or a `.parquet` file.
        weights: Of a backbone, which must say; see `tfembed.backbones.open_encoder`.
        pool: Of a backbone; see there.
        image_size: As for `open_encoder`.
        channels: As for `open_encoder`.
        resize: As for `open_encoder`; of a gallery that is embeddings, as they were
            made.
        split: As for `tfembed.embed.embed_source`.
        limit: As for `embed_source`.
        batch_size: As for `embed_source`.
        data_dir: As for `embed_source`.
        strict: As for `embed_source`.
        strategy: As for `embed_source`.
        k: Neighbours in an answer.
        vote_k: Neighbours that vote; `None`: `k`.
        report: Is called with a line of progress at a time. `None`: silent.
        **options: `head`, `head_options`, `recall`, `threshold`,
            `false_rejection`, `score_megabytes`, `max_pixels` and `warmup_batches` of
            `tfembed.export.export`.

    Returns:
        `pathlib.Path` of the published version.

    Raises:
        ValueError: If an argument, the encoder or the images are not fit for it.
        OSError: If the version cannot be written, or the disk has no room.
        RuntimeError: If the export does not answer as Python does.
        ImportError: If a package is missing.
    """
    say = report or (lambda line: None)
    vote_k = k if vote_k is None else vote_k
    place = os.path.join(base, _EMBEDDINGS)
    check_arguments(place, split=split, batch_size=batch_size, limit=limit)
    check_encoder(encoder, weights, pool)
    _check_gallery_name(gallery)
    from tfembed.export import check_base, check_options, export

    check_options(options.get("head", "auto"), **_without_head(options), k=k)
    check_options(vote_k=vote_k)
    check_base(base)
    made = not os.path.exists(base)
    shape, images = None, None
    if is_backbone(encoder, weights):  # the folder is looked into before a download
        shape, how = backbone_shape(image_size, channels), backbone_resize(resize)
        images = _open_images(gallery, split, shape, data_dir, strict, limit, how)
    opened = open_encoder(
        encoder, weights, image_size, channels, pool, strategy, say, resize
    )
    if shape is None:
        shape, resize = opened.image_shape, opened.resize
        images = _open_images(gallery, split, shape, data_dir, strict, limit, resize)
    try:
        if images is None:
            found, resize = _read_embeddings(gallery, opened, resize)
            left_out = []
        else:
            say(f"embedding {images.size:,} images of {gallery}")
            files = embed_source(
                opened,
                images,
                place,
                batch_size=batch_size,
                shard_size=_SHARD_SIZE,
                strict=strict,
                say=say,
                replace=True,
            )
            found, left_out = _load(files), files.manifest["skipped"]
            resize = images.resize
        arrays, normalize, zeros = _as_gallery(found, gallery, vote_k)
        left_out = [*left_out, *zeros]
        for line in name_left_out(left_out):
            say(line)
        version = export(
            opened.model,
            arrays,
            base,
            k=k,
            normalize=normalize,
            resize=resize,
            samples=None if images is None else _samples(images),
            facts=_facts(encoder, opened, gallery, arrays, left_out, say),
            report=report,
            **options,
        )
        shutil.rmtree(place, ignore_errors=True)
        return version
    finally:
        if made:
            with suppress(OSError):
                os.rmdir(base)  # only if empty


def _without_head(options):
    return {name: value for name, value in options.items() if name != "head"}


def _check_gallery_name(gallery):
    """Raises where it is a folder of images without its `folder:`."""
    path = os.path.expanduser(os.fspath(gallery))
    if os.path.isdir(path) and not _holds_embeddings(path):
        raise ValueError(
            "The gallery must be a source, such as folder:PATH, or embeddings. "
            f"Received: {gallery!r}, a folder without embeddings. For the images in "
            f"it, write folder:{gallery}."
        )
    if not os.path.exists(path):
        check_source(gallery)


def _holds_embeddings(path):
    if os.path.isdir(path):
        names = ("manifest.json", "gallery.npz")
        return any(os.path.isfile(os.path.join(path, name)) for name in names)
    return os.path.isfile(path) and path.endswith((".npz", ".parquet"))


def _open_images(gallery, split, image_shape, data_dir, strict, limit, resize):
    """Lists the images of a source; `None` where the gallery is embeddings."""
    path = os.path.expanduser(os.fspath(gallery))
    if _holds_embeddings(path):
        if split != "all" or limit is not None:
            raise ValueError(
                "`split` and `limit` go with images. Received: "
                f"split={split!r}, limit={limit!r}, with embeddings, {gallery!r}. "
                "Leave them out."
            )
        return None
    from tfembed.data import SourceImages

    images = SourceImages(gallery, split, image_shape, data_dir, strict, limit, resize)
    if images.size < _LEAST:
        raise ValueError(
            f"The gallery must have {_LEAST} images or more, to find one by another. "
            f"Received: {images.size} of {gallery!r}."
        )
    return images


def _read_embeddings(gallery, encoder, resize):
    """Reads embeddings that were made before, and by this encoder as far as it is told.

    Args:
        gallery: Their name.
        encoder: The `Encoder`.
        resize: How it has pictures resized; `None` where nobody said.

    Returns:
        The arrays, and how pictures were resized; `None` where nobody said.

    Raises:
        ValueError: If they are another encoder's, or of pictures resized otherwise.
    """
    from tfembed.formats.embeddings import read_embeddings

    files = read_embeddings(gallery, text_labels=True)
    theirs = ((files.manifest or {}).get("identity") or {}).get("model")
    found = _load(files)
    dim = found["embeddings"].shape[1]
    if theirs not in (None, encoder.sha256) or dim != encoder.dim:
        raise ValueError(
            "The embeddings must be of the encoder that is published. Received: "
            f"{gallery!r}, of {dim} numbers"
            + (f", made by {theirs[:12]}" if theirs else "")
            + f", and an encoder of {encoder.dim} numbers, {encoder.sha256[:12]}. "
            "Embed the images with this one."
        )
    if None not in (resize, files.resize) and resize != files.resize:
        raise ValueError(
            "The embeddings must be of pictures that were resized as the encoder has "
            f"them, {resize!r}. Received: {gallery!r}, {files.resize!r}. Embed the "
            "images with this one."
        )
    if len(found["ids"]) < _LEAST:
        raise ValueError(
            f"The gallery must have {_LEAST} rows or more, to find one by another. "
            f"Received: {len(found['ids'])} of {gallery!r}."
        )
    return found, resize or files.resize


def _load(files):
    found = files.load()
    return {
        "embeddings": np.array(found.embeddings, np.float32),
        "labels": found.labels,
        "ids": found.ids,
        "class_names": np.array(files.class_names, np.str_),
        "metadata": found.metadata,
    }


def _as_gallery(arrays, name, vote_k):
    """Prepares the arrays of a gallery.

    Returns:
        The arrays, with what votes; whether embeddings must be divided by their
        length; and `(id, reason)` of the rows left out because they have none.
    """
    norms = np.linalg.norm(arrays["embeddings"], axis=1)
    has_length = norms > 0
    zeros = [(each, "its embedding is zero") for each in arrays["ids"][~has_length]]
    if has_length.sum() < _LEAST:
        raise ValueError(
            f"The gallery must have {_LEAST} images or more that can be embedded. "
            f"Received: {has_length.sum()} of {name!r}, whose embeddings are not zero."
        )
    rows = ("embeddings", "labels", "ids")
    kept = {key: arrays[key][has_length] for key in rows}
    columns = arrays["metadata"].items()
    kept["metadata"] = {name: texts[has_length] for name, texts in columns}
    names = arrays["class_names"]
    named = {"class_names": names} if len(names) else {}
    normalize = bool(np.abs(norms[has_length] - 1).max() > _UNIT_TOLERANCE)
    return {**kept, **named, "vote_k": vote_k}, normalize, zeros


def _samples(images):
    """Returns the pixels of the first images, to try the export with."""
    for _, pixels, _ in images.stream(0, min(images.size, 64), _SAMPLES):
        if len(pixels):
            return list(pixels)
    return None


def _facts(name, encoder, gallery, arrays, left_out, say):
    """Returns what the model card says of encoder, images and quality."""
    from tfembed.export import facts_of_weights, read_facts

    if encoder.facts:
        made = dict(encoder.facts)
        weights = made.pop("weights")
        method = {**made, **facts_of_weights(weights)}
        if is_foreign(made["backbone"]):
            method["weights"] = "its own"
        elif weights is None:
            method["weights"] = "none: not trained"
            say(
                "the backbone has no weights: its neighbours are an untrained network's"
            )
        facts = {"method": method}
    else:
        facts = read_facts(os.path.expanduser(os.fspath(name)))
    metrics = _measure(arrays, say)
    if left_out:
        facts["data"] = {**facts.get("data", {}), "images_left_out": len(left_out)}
    facts["metrics"] = [*facts.get("metrics", []), *metrics]
    return {**facts, "source": str(gallery)}


def _measure(arrays, say):
    """Measures how often a labelled row's neighbours are of its class, itself apart."""
    from tfembed.metrics import weighted_knn_hits

    labels = arrays["labels"]
    unknown = labels == "" if labels.dtype.kind == "U" else labels < 0
    rows = np.flatnonzero(~unknown)
    if len(np.unique(labels[rows])) < _LEAST:
        return []
    ids = np.arange(len(rows))
    asked = np.sort(np.random.default_rng(0).permutation(ids)[:_MEASURED])
    known, names = arrays["embeddings"][rows], labels[rows]
    ks = sorted({1, min(int(arrays["vote_k"]), len(rows) - 1)})
    hits = weighted_knn_hits(
        known[asked], names[asked], known, names, ks, ids=asked, gallery_ids=ids
    )
    found = {k: float(hits[k].mean()) for k in ks}
    count = f"{len(asked):,} images of the gallery, each among the others"
    say(
        f"of {count}: "
        + ", ".join(
            f"{100 * share:.1f} % find their class by "
            + ("the nearest one" if k == 1 else f"the vote of {k}")
            for k, share in found.items()
        )
    )
    return [{"representation": count, **{f"knn_{k}": v for k, v in found.items()}}]


def next_steps(base, gallery):
    """Returns lines on what to do with what was published.

    Args:
        base: Folder of the versions.
        gallery: The gallery, as it was named.
    """
    from tfembed.data import folder_of

    base, folder = shlex.quote(os.fspath(base)), folder_of(os.fspath(gallery))
    images = "" if folder is None else f" --images {shlex.quote(folder)}"
    return [
        "Search it in a browser, at http://localhost:8501/ while this runs:",
        f"  python -m tfembed.serving {base}{images}",
        "or from a shell, while that runs:",
        f"  python -m tfembed.serving.query IMAGE{images} --picture answer.png",
    ]


@stopped_by_hand("the same command goes on from here")
def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    quiet_start()
    # Leave like Ctrl-C does, so that an unfinished version is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        publish(
            args.encoder,
            args.base,
            args.gallery,
            weights=args.weights,
            pool=args.pool,
            image_size=args.image_size,
            channels=args.channels,
            resize=args.resize,
            split=args.split,
            limit=args.limit,
            batch_size=args.batch_size,
            data_dir=args.data_dir,
            strict=args.strict,
            report=lambda line: print(line, flush=True),
            **search_options(args),
        )
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        say_error(error)
        return 1
    if not args.no_next_steps:
        print("\n" + "\n".join(next_steps(args.base, args.gallery)))
    return 0


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.publish",
        description="Embeds a gallery of images and publishes it with the encoder as "
        "the next version of a served model. Started again after it was stopped, it "
        "goes on where it was.",
    )
    parser.add_argument(
        "encoder",
        metavar="ENCODER",
        help="a run directory, a saved Keras model (.keras), or a backbone's name, "
        "such as applications:MobileNetV2, with --weights, or your own, "
        "module:function",
    )
    parser.add_argument(
        "base",
        metavar="BASE",
        help="folder with one numbered folder a version; made if missing",
    )
    parser.add_argument(
        "--gallery",
        required=True,
        metavar="SOURCE",
        help=f"{source_names()}; or embeddings of this encoder that tfembed.embed "
        "wrote",
    )
    parser.add_argument(
        "--no-next-steps",
        action="store_true",
        help="do not say at the end how to serve it, for scripts that go on to it",
    )
    add_image_flags(parser, BATCH_SIZE)
    add_search_flags(
        parser, "calibrated, on rows of the gallery", "as many as an answer has"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
