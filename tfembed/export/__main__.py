"""`python -m tfembed.export`: publishes a trained encoder with its gallery.

    python -m tfembed.export model RUN_DIR MODEL_BASE [--k 10]
    python -m tfembed.export gallery MODEL_BASE --add FILE --delete-id ID
    python -m tfembed.export list MODEL_BASE
    python -m tfembed.export rollback MODEL_BASE [--to N]
    python -m tfembed.export prune MODEL_BASE --keep N

`model`, `gallery` and `rollback` write the next numbered version into MODEL_BASE, which
TF Serving (or `python -m tfembed.serving MODEL_BASE`) then picks up by itself.
"""

import json
import signal
import sys

from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.export.flags import add_search_flags, search_options
from tfembed.ops.image_formats import RESIZES
from tfembed.quiet_imports import quiet_start


@stopped_by_hand()
def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    quiet_start()
    # Leave like Ctrl-C does, so that an unfinished version is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        args.run(args)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        say_error(error)
        return 1
    return 0


def _model(args):
    from tfembed.export.model import export_model

    export_model(
        args.run_dir,
        args.model_base,
        image_shape=args.image_shape,
        resize=args.resize,
        normalize=args.normalize,
        **search_options(args),
    )


def _gallery(args):
    from tfembed.export.gallery_update import update_gallery

    delete = list(args.delete_id)
    for path in args.delete:
        with open(path, encoding="utf-8") as file:
            delete += [line.rstrip("\n") for line in file if line.strip()]
    update_gallery(
        args.model_base,
        add=args.add,
        replace_all=args.replace_all,
        delete=delete,
        ignore_missing=args.ignore_missing,
        strict=args.strict,
        vote_k=args.vote_k,
    )


def _list(args):
    from tfembed.export.version_list import format_versions, list_versions

    versions = list_versions(args.model_base)
    print(
        json.dumps(versions, indent=2, ensure_ascii=False)
        if args.json
        else "\n".join(format_versions(versions))
    )


def _rollback(args):
    from tfembed.export.version_rollback import rollback

    rollback(args.model_base, to=args.to)


def _prune(args):
    from tfembed.export.versions import prune_versions

    removed, in_use = prune_versions(args.model_base, args.keep)
    print(f"removed {', '.join(map(str, removed)) or 'nothing'}")
    if in_use:
        print(f"left {', '.join(map(str, in_use))}: being read; prune again later")


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.export",
        description="Publishes a trained encoder and its gallery as a SavedModel.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    model = commands.add_parser(
        "model",
        help="add the next version to a folder that a server watches",
        description="Writes RUN_DIR's encoder and gallery to MODEL_BASE/<next number>.",
    )
    model.add_argument("run_dir", metavar="RUN_DIR", help="a finished run directory")
    model.add_argument(
        "model_base",
        metavar="MODEL_BASE",
        help="folder with one numbered folder a version; made if missing",
    )
    add_search_flags(model)
    model.add_argument(
        "--normalize",
        action="store_true",
        help="divide embeddings by their length, the gallery's and its updates' too",
    )
    model.add_argument(
        "--image-shape",
        type=int,
        nargs=3,
        metavar=("HEIGHT", "WIDTH", "CHANNELS"),
        help="of an encoder that does not tell",
    )
    model.add_argument(
        "--resize",
        choices=RESIZES,
        help="how pictures are brought to that size, of an encoder that no recipe made "
        "(default: squash; of a run, as it was trained)",
    )
    model.set_defaults(run=_model)
    _add_gallery(commands)
    _add_versions(commands)
    return parser


def _add_gallery(commands):
    gallery = commands.add_parser(
        "gallery",
        help="add the next version with another gallery, the encoder untouched",
        description="Writes the newest version again with other rows in its gallery. "
        "The encoder's graph and weights are copied byte for byte.",
    )
    gallery.add_argument("model_base", metavar="MODEL_BASE")
    files = (
        "an .npz with embeddings, ids and labels (numbers or names), a .parquet, a "
        "folder that tfembed.embed wrote, or images:FOLDER with a folder a class"
    )
    gallery.add_argument(
        "--add",
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"rows to add; those whose id is there are replaced: {files}",
    )
    gallery.add_argument(
        "--replace-all",
        nargs="+",
        default=[],
        metavar="FILE",
        help="the same, and all rows of before go",
    )
    gallery.add_argument(
        "--delete",
        nargs="+",
        default=[],
        metavar="IDS_FILE",
        help="text files with an id a line, of rows to take away",
    )
    gallery.add_argument(
        "--delete-id", nargs="+", default=[], metavar="ID", help="ids of such rows"
    )
    gallery.add_argument(
        "--ignore-missing",
        action="store_true",
        help="pass over ids to delete that the gallery does not have",
    )
    gallery.add_argument(
        "--strict",
        action="store_true",
        help="stop at an image that does not decode, instead of leaving it out",
    )
    gallery.add_argument(
        "--vote-k",
        type=int,
        metavar="N",
        help="neighbours that vote from now on (default: as many as before)",
    )
    gallery.set_defaults(run=_gallery)


def _add_versions(commands):
    listing = commands.add_parser(
        "list",
        help="show the versions of a folder",
        description="Shows number, time, rows, head, recall, encoder (first letters "
        "of its hash), size on disk and origin of each version.",
    )
    listing.add_argument("model_base", metavar="MODEL_BASE")
    listing.add_argument("--json", action="store_true", help="all of it, as JSON")
    listing.set_defaults(run=_list)
    rollback = commands.add_parser(
        "rollback",
        help="publish an old version again, under a new number",
        description="Publishes an old version again as the next one, because a server "
        "serves the highest number.",
    )
    rollback.add_argument("model_base", metavar="MODEL_BASE")
    rollback.add_argument(
        "--to",
        type=int,
        metavar="N",
        help="which version (default: the one before the newest; repeated, the one "
        "before that)",
    )
    rollback.set_defaults(run=_rollback)
    prune = commands.add_parser(
        "prune",
        help="remove all but the newest versions",
        description="Removes all but the newest versions. Their numbers do not come "
        "again.",
    )
    prune.add_argument("model_base", metavar="MODEL_BASE")
    prune.add_argument(
        "--keep",
        type=int,
        required=True,
        metavar="N",
        help="how many stay, at least 1; as many as the server keeps loaded",
    )
    prune.set_defaults(run=_prune)


if __name__ == "__main__":
    sys.exit(main())
