"""`python -m tfembed.export`: publishes a trained encoder with its gallery.

    python -m tfembed.export model RUN_DIR MODEL_BASE [--k 10]

writes the next numbered version into MODEL_BASE, which TF Serving (or `python -m
tfembed.serving MODEL_BASE`) then picks up by itself.
"""

import argparse
import os
import signal
import sys


def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Leave like Ctrl-C does, so that an unfinished version is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from tfembed.export.model import export_model

    try:
        export_model(
            args.run_dir,
            args.model_base,
            k=args.k,
            score_megabytes=args.score_megabytes,
        )
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(
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
    model.add_argument(
        "--k",
        type=int,
        default=10,
        help="neighbours in each answer, at most the gallery's size (default: 10)",
    )
    model.add_argument(
        "--score-megabytes",
        type=int,
        default=128,
        help="larger batches are searched in chunks whose table of scores takes at "
        "most this much memory (default: 128)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
