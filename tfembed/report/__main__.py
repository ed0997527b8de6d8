"""Writes a report of one run, or of several side by side, as one HTML file.

It says what was trained on what and how well it does, and shows what it finds: random
queries and the worst ones, a map, confusions, similarities of pairs, and whether the
embedding is in order. It reads the run directories and nothing else. Beside each run's
TensorBoard log it writes the files of TensorBoard's embedding projector.
"""

import argparse
import importlib
import pathlib
import sys

from tfembed.command_line import CommandLine, stopped_by_hand
from tfembed.formats.disk import FullDiskError, written_beside
from tfembed.quiet_imports import quiet_start

LIBRARIES = ("jinja2", "matplotlib", "PIL", "sklearn")
MAPS = ("both", "tsne", "pca")


@stopped_by_hand()
def main(arguments=None):
    """Runs the command.

    Returns:
        The exit code: 0, or 2 if the report cannot be made.
    """
    options = _parser().parse_args(arguments)
    try:
        _write(options)
    except (ValueError, ImportError, FullDiskError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: the report cannot be written ({error}). Take another --output, "
            "or --no-projector where the run directory is not to be written to.",
            file=sys.stderr,
        )
        return 2
    return 0


def _write(options):
    output = options.output
    if output is None:
        output = pathlib.Path("comparison.html")
        if len(options.runs) == 1:
            output = options.runs[0] / "report.html"
    elif not output.resolve().parent.is_dir() or output.is_dir():
        raise ValueError(
            "`--output` must be a file in a folder that exists. "
            f"Received: {str(output)!r}."
        )
    _need_libraries()
    quiet_start()
    from tfembed.report.page import build_page
    from tfembed.report.projector import write_projector
    from tfembed.report.run import read_runs

    runs = read_runs(options.runs)
    methods = ("tsne", "pca") if options.map == "both" else (options.map,)
    page = build_page(runs, methods, options.seed).encode()
    _replace(output, page)
    print(f"{output}: {len(page) / 1e6:.1f} MB")
    if options.projector:
        for run in runs:
            folder = write_projector(run, options.seed)
            if folder is not None:
                print(f"{folder}: tensorboard --logdir {folder.parent}")


def _need_libraries():
    """Raises an ImportError that names all that is missing."""
    missing = []
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ImportError(
            f"The report needs packages that are missing: {', '.join(missing)}. "
            "Install them with `pip install 'tfembed[report]'`."
        )


def _replace(path, content):
    """Writes beside the place and renames, so that none reads half a page."""
    with written_beside(path, shared=True) as partial:
        pathlib.Path(partial).write_bytes(content)


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", type=pathlib.Path, metavar="RUN", help="a run directory"
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        metavar="FILE",
        help="the page to write; by default RUN/report.html, and comparison.html here "
        "for several runs",
    )
    parser.add_argument(
        "--map",
        choices=MAPS,
        default="both",
        help="how the map is made (default: both); pca is the quickest",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the random samples (default: 0)"
    )
    parser.add_argument(
        "--projector",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write RUN/tensorboard/projector for TensorBoard (default: yes)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
