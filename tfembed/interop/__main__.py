"""`python -m tfembed.interop`: embeddings to indexes, and the embedding job on Beam.

    python -m tfembed.interop index EMBEDDINGS FILE [--library faiss|nmslib]
    python -m tfembed.interop embed MODEL PATHS OUTPUT [--runner ... of Beam]

The first writes an index of what `tfembed.embed` or a run left; the second runs the
embedding job as an Apache Beam pipeline.
"""

import sys

from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.ops.image_formats import RESIZES
from tfembed.quiet_imports import quiet_start


@stopped_by_hand()
def main(argv=None):
    """Runs the command; returns the exit status."""
    parser = _parser()
    args, others = parser.parse_known_args(argv)
    if others and args.command != "embed":
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    quiet_start()
    try:
        print(_embed(args, others) if args.command == "embed" else _index(args))
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        say_error(error)
        return 1
    return 0


def _index(args):
    from tfembed import interop
    from tfembed.data import read_embeddings

    found = read_embeddings(args.embeddings).load()
    more = {"factory": args.factory} if args.factory else {}
    write = getattr(interop, f"write_{args.library}")
    if more and args.library != "faiss":
        raise ValueError("--factory goes with --library faiss.")
    write(found.embeddings, found.ids, args.file, metric=args.metric, **more)
    return f"{args.file}: {len(found.ids):,} rows, and their ids beside it"


def _embed(args, others):
    from tfembed.formats.shards import summary
    from tfembed.interop.beam import RUNNER, PipelineOptions, embed_files

    given = any(word.partition("=")[0] == "--runner" for word in others)
    others = others if given else [*others, f"--runner={RUNNER}"]
    manifest = embed_files(
        args.model,
        args.paths,
        args.output,
        root=args.root,
        batch_size=args.batch_size,
        image_size=args.image_size,
        channels=args.channels,
        dtype=args.dtype,
        strict=args.strict,
        options=PipelineOptions(others),
        num_shards=args.num_shards,
        resize=args.resize,
    )
    return f"{args.output}: {summary(manifest)}"


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.interop",
        description="Embeddings to indexes of other libraries, and the embedding job "
        "on Apache Beam.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    index = commands.add_parser(
        "index",
        help="write an index of FAISS or NMSLIB",
        description="Writes an index, and the id of each row to FILE.ids.npz.",
    )
    index.add_argument(
        "embeddings",
        metavar="EMBEDDINGS",
        help="what tfembed.embed wrote, a run directory, or an .npz",
    )
    index.add_argument("file", metavar="FILE", help="the index to write")
    index.add_argument("--library", choices=("faiss", "nmslib"), default="faiss")
    index.add_argument("--metric", choices=("cosine", "euclidean"), default="cosine")
    index.add_argument(
        "--factory",
        metavar="TEXT",
        help="what faiss.index_factory makes, such as HNSW32 (default: Flat, exact)",
    )
    embed = commands.add_parser(
        "embed",
        help="embed a list of image files on Apache Beam",
        description="Embeds the images of a list into Parquet shards. Further flags, "
        "such as --runner, are Beam's own.",
    )
    embed.add_argument(
        "model", metavar="MODEL", help="a saved encoder that every worker can open"
    )
    embed.add_argument(
        "paths",
        metavar="PATHS",
        help="text file with a path a line, and after a tab its label if there is one",
    )
    embed.add_argument("output", metavar="OUTPUT", help="new folder for the shards")
    embed.add_argument(
        "--root", metavar="DIR", help="folder that is taken off the paths for the ids"
    )
    embed.add_argument("--batch-size", type=int, default=64, metavar="N")
    embed.add_argument("--num-shards", type=int, default=0, metavar="N")
    embed.add_argument("--image-size", type=int, metavar="N")
    embed.add_argument("--resize", choices=RESIZES)
    embed.add_argument("--channels", type=int, choices=(1, 3))
    embed.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    embed.add_argument("--strict", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
