"""`python -m tfembed.embed`: the embeddings of a whole source of images, on disk.

    python -m tfembed.embed MODEL SOURCE OUTPUT

runs an encoder over every image of a source and writes a folder of shards, or one
`.npz`. Images are read as they are needed, so that memory does not grow with the
source. Killed at any moment, the same command goes on at the first shard that is not
whole, and refuses to mix two models or two sources, which it tells apart by the
contents of their images: files are read once for that, and again where they changed.

`tfembed.data.read_embeddings(OUTPUT)` reads it back. `tfembed.interop` does the same on
many machines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfembed.backbones import POOLS, check_encoder, open_encoder
from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.data import check_source, source_names
from tfembed.formats.run_config import agreed_resize
from tfembed.formats.shards import summary
from tfembed.hints import PathLike
from tfembed.ops.arguments import as_count, check_choice
from tfembed.ops.image_formats import RESIZES
from tfembed.progress import Progress
from tfembed.quiet_imports import quiet_start
from tfembed.version import __version__

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow import keras

    from tfembed.backbones import Encoder, Weights
    from tfembed.data import EmbeddingFiles, SourceImages

__all__ = ["embed_source"]

SPLITS = ("all", "train", "validation", "test")
SHARD_SIZE = 8192
BATCH_SIZE = 256
_NOT_FINITE = "its embedding is not finite"
_NAMED = 20  # images left out that are named on the screen; the manifest has all


def embed_source(
    model: PathLike | keras.Model | Encoder,
    source: str | SourceImages,
    output: PathLike,
    split: str = "all",
    format: str | None = None,
    batch_size: int = BATCH_SIZE,
    shard_size: int = SHARD_SIZE,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    dtype: str = "float32",
    data_dir: PathLike | None = None,
    strict: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    say: Callable[[str], object] | None = None,
    weights: str | Weights | None = None,
    pool: str | None = None,
    limit: int | None = None,
    replace: bool = False,
    resize: str | None = None,
) -> EmbeddingFiles:
    """Embeds every image of a source, and writes ids, labels and embeddings.

    Started again with the same arguments it goes on where it was stopped, at a whole
    shard; once it has finished, it does nothing.

    Args:
        model: A saved Keras encoder (`.keras`), a run directory (its `model.keras`),
            a name in `tfembed.backbones.BACKBONES` with `weights`, a `keras.Model` from
            images `[b, height, width, channels]` in 0..255 to embeddings `[b, d]`, or
            a `tfembed.backbones.Encoder`, as it is.
        source: A source of `tfembed.data`, such as `folder:PATH`, or a `Split`; or a
            `SourceImages`, as it is.
        output: Folder to write shards to, made if need be; or a file that ends in
            `.npz`, written at the end and in one piece.
        split: `"all"`, or `"train"`, `"validation"` or `"test"` of a source that is
            divided so.
        format: `"npz"` or `"parquet"` for the shards of a folder; `None` for npz.
        batch_size: Images in a batch. It changes no embedding.
        shard_size: Images in a shard, which is what memory has to hold.
        image_size: `(height, width)` or an integer for both; only where the encoder
            takes images of any size, or is a backbone (224).
        channels: 1 or 3; only where the encoder takes any number.
        dtype: `"float32"`, or `"float16"` to write half as much.
        data_dir: As in `tfembed.data.load_images`.
        strict: Stop at an image that does not decode or whose embedding is not finite,
            instead of leaving it out.
        strategy: The `tf.distribute.Strategy` that a `keras.Model` was made under.
            `None`: all GPUs, where the model is loaded here and there are several.
        say: Function that is given a line of progress now and then; `None` for none.
        weights: Of a backbone, which must say; see `tfembed.backbones.open_encoder`.
        pool: Of a backbone; see there.
        limit: Embed so many of the images, a choice that is the same each time; `None`
            for all.
        replace: Start anew where the folder `output` has shards of another model,
            source or setting, instead of refusing it.
        resize: `"squash"`, `"crop"` or `"pad"`, how pictures are brought to the
            encoder's size; a run's encoder has its own, else see
            `tfembed.backbones.open_encoder`. `None` where nobody says: as a `Split`
            does, or `"squash"`.

    Returns:
        A `tfembed.data.EmbeddingFiles` of what was written. Its manifest counts the
        images (`embedded`) and names those left out (`skipped`).

    Raises:
        ValueError: If an argument is wrong, `output` holds something else, no image
            can be embedded, or, with `strict`, one cannot.
        OSError: If it cannot be written. What was whole before is kept.
        ImportError: If Parquet is asked for and pyarrow is missing.
    """
    say = say or (lambda line: None)
    check_arguments(output, split, format, batch_size, shard_size, dtype, limit)
    if isinstance(model, (str, os.PathLike)):
        check_encoder(model, weights, pool)
    from tfembed.backbones import Encoder
    from tfembed.data import SourceImages
    from tfembed.formats.shard_writer import open_shards

    encoder: Any = model
    if isinstance(model, (str, os.PathLike)):
        encoder = open_encoder(
            model, weights, image_size, channels, pool, strategy, say, resize
        )
    elif not isinstance(model, Encoder):
        encoder = Encoder(model, image_size, channels, strategy, resize)
    resize = agreed_resize(resize, encoder.resize, "the encoder")
    images: Any = source
    if not isinstance(source, SourceImages):
        shape = encoder.image_shape
        images = SourceImages(source, split, shape, data_dir, strict, limit, resize)
    agreed_resize(images.resize, resize, "the encoder")
    if images.taken:
        say(f"{images.name}: {images.taken}")
    identity = {
        "model": encoder.sha256,
        "source": images.fingerprint(),
        "decoder": images.decoder,
        "split": split,
        "image_shape": list(encoder.image_shape),
        "resize": images.resize,
        "dim": encoder.dim,
        "dtype": dtype,
        "format": format or "npz",
        "shard_size": shard_size,
        "metadata": images.metadata_digest(),
    }
    about = {
        "tfembed": __version__,
        "model": encoder.name,
        "source": images.name,
        "images": images.size,
        "dim": encoder.dim,
        "class_names": list(images.class_names),
    }
    with open_shards(output, identity, about, images.skipped, replace) as shards:
        if shards.finished:
            say("all images were embedded before")
        else:
            _embed(shards, encoder, images, batch_size, shard_size, dtype, strict, say)
            if not shards.embedded:
                reasons = [f"{name!r}: {reason}" for name, reason in shards.skipped]
                shards.clear()
                raise ValueError(
                    "`source` must have images that can be embedded. Received: "
                    f"{images.name!r}, which has none"
                    + "".join(f"; the first, {one}" for one in reasons[:1])
                    + "."
                )
        return shards.finish()


def _embed(shards, encoder, images, batch_size, shard_size, dtype, strict, say):
    """Writes the shards that are not there."""
    starts = range(0, images.size, shard_size)[len(shards.entries) :]
    done = len(shards.entries) * shard_size
    progress = Progress(say, images.size, "images", done=min(done, images.size))
    for first in starts:
        rows, embeddings, skipped = [], [], []
        last = min(first + shard_size, images.size)
        for some, pixels, unread in images.stream(first, last, batch_size):
            values = encoder(pixels).astype(dtype)
            finite = np.isfinite(values).all(axis=1)
            unread = unread + [(row, _NOT_FINITE) for row in some[~finite]]
            rows.append(some[finite])
            embeddings.append(values[finite])
            skipped += [(images.ids([row])[0], reason) for row, reason in unread]
            if strict and skipped:
                raise ValueError(
                    "Every image must decode and have an embedding where `strict` is "
                    f"set. Received: {str(skipped[0][0])!r}: {skipped[0][1]}. Repair "
                    "or remove it, or do without `strict` to leave such images out."
                )
            progress.step(len(some) + len(unread) - np.sum(~finite))
        rows, embeddings = np.concatenate(rows), np.concatenate(embeddings)
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        skipped = [(str(name), reason) for name, reason in skipped]
        shards.add(
            images.ids(rows),
            images.labels(rows),
            embeddings[order],
            skipped=skipped,
            metadata=images.metadata(rows),
        )
    progress.end()


def check_arguments(
    output,
    split="all",
    format=None,
    batch_size=BATCH_SIZE,
    shard_size=SHARD_SIZE,
    dtype="float32",
    limit=None,
):
    """Checks what can be told of the arguments of `embed_source` at once.

    Raises:
        ValueError: If one is not what it should be.
        ImportError: If Parquet is asked for and pyarrow is missing.
    """
    from tfembed.formats.shards import FORMATS, require_pyarrow

    check_choice(SPLITS, split=split)
    check_choice((None, *FORMATS), format=format)
    check_choice(("float32", "float16"), dtype=dtype)
    as_count("batch_size", batch_size)
    as_count("shard_size", shard_size)
    if limit is not None:
        as_count("limit", limit)
    if format == "parquet":
        if os.fspath(output).endswith(".npz"):
            raise ValueError(
                "`format` must be 'npz' for an output that ends in .npz. "
                "Received: format='parquet'. Give a folder."
            )
        require_pyarrow()


@stopped_by_hand("the same command goes on from here")
def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    quiet_start()
    try:
        check_source(args.source)  # before TensorFlow starts
        files = embed_source(
            args.model,
            args.source,
            args.output,
            split=args.split,
            format=args.format,
            batch_size=args.batch_size,
            shard_size=args.shard_size,
            image_size=args.image_size,
            channels=args.channels,
            dtype=args.dtype,
            data_dir=args.data_dir,
            strict=args.strict,
            say=lambda line: print(line, file=sys.stderr, flush=True),
            weights=args.weights,
            pool=args.pool,
            limit=args.limit,
            resize=args.resize,
        )
    except (ValueError, TypeError, OSError, ImportError) as error:
        say_error(error)
        return 1
    skipped = files.manifest["skipped"]
    for line in name_left_out(skipped):
        print(line, file=sys.stderr)
    print(f"{args.output}: {summary(files.manifest)}")
    return 0


def name_left_out(skipped):
    """Returns lines that name the images left out, of many the first.

    Args:
        skipped: List of `(id, reason)`, as a manifest has it.
    """
    lines = [f"left out {name}: {reason}" for name, reason in skipped[:_NAMED]]
    more = len(skipped) - _NAMED
    return lines + ([f"and {more:,} more"] if more > 0 else [])


def add_image_flags(parser, batch_size):
    """Adds the flags that say which images, and how an encoder is to see them.

    Args:
        parser: An `argparse.ArgumentParser`.
        batch_size: The default of `--batch-size`.
    """
    parser.add_argument(
        "--weights",
        metavar="none|imagenet|FILE",
        help="weights of a backbone, which needs one of these",
    )
    parser.add_argument(
        "--pool",
        choices=POOLS,
        help="how a backbone's last feature map is pooled (default: avg)",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="all",
        help="of a source that is divided so (default: all)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="embed only N of the images, the same ones each time (default: all)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=batch_size,
        metavar="N",
        help="images at once (default: %(default)s)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="height and width, of a backbone (default: 224), and where the encoder "
        "takes any",
    )
    parser.add_argument(
        "--resize",
        choices=RESIZES,
        help="how pictures are brought to that size: squashed, or scaled and cropped "
        "or padded with white; of a run, as it was trained (default: crop for a "
        "backbone, squash else)",
    )
    parser.add_argument(
        "--channels",
        type=int,
        choices=(1, 3),
        help="gray or RGB, of a backbone (default: 3), and where the encoder takes any",
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder to look for the data in first"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at an image that does not decode, instead of leaving it out",
    )


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.embed",
        description="Writes the embeddings of every image of a source. Started again "
        "after it was stopped, it goes on where it was.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run directory, a saved encoder (.keras), or a backbone's name, such as "
        "applications:MobileNetV2, with --weights, or your own, module:function",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help=source_names(),
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="folder for shards and their manifest.json, or a file FILE.npz",
    )
    parser.add_argument(
        "--format",
        choices=("npz", "parquet"),
        help="of the shards (default: npz); parquet needs tfembed[parquet]",
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument(
        "--shard-size",
        type=int,
        default=SHARD_SIZE,
        metavar="N",
        help="images in a shard (default: %(default)s)",
    )
    add_image_flags(parser, BATCH_SIZE)
    return parser


if __name__ == "__main__":
    sys.exit(main())
