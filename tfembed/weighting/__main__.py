"""Draws how every loss weighs a pair, as one figure, and prints what decides it."""

import pathlib
import sys

from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.quiet_imports import quiet_start


@stopped_by_hand()
def main(arguments=None):
    """Runs the command.

    Returns:
        The exit code: 0, or 2 if the figure cannot be drawn.
    """
    options = _parser().parse_args(arguments)
    if not options.output.resolve().parent.is_dir():
        print(
            "`--output` must be a file in a folder that exists. "
            f"Received: {options.output}.",
            file=sys.stderr,
        )
        return 2
    quiet_start()
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        print(
            f"The figure needs a package that is missing ({error}). "
            'Install it with `pip install "tfembed[report]"`.',
            file=sys.stderr,
        )
        return 2
    from tfembed.weighting.figure import curves_of, draw, every_loss

    every = every_loss()
    unknown = set(options.losses or []) - set(every)
    if unknown:
        print(
            f"`--losses` must be of {', '.join(every)}. "
            f"Received: {', '.join(sorted(unknown))}.",
            file=sys.stderr,
        )
        return 2
    print(f"{'loss':24} {'looks at':9} its weights depend on")
    curves = []
    for name in options.losses or every:
        curves.append(curves_of(name, every[name]))
        each = curves[-1]
        print(f"{name:24} {each.kind:9} {' '.join(each.types)}", flush=True)
    try:
        draw(curves, options.output)
    except (OSError, ValueError) as error:  # no room, or no format of Matplotlib's
        say_error(error)
        return 2
    print(f"{options.output}: {len(curves)} losses")
    return 0


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.weighting",
        description=__doc__,
        epilog="S: the pair's own similarity; N and P: its similarity relative to the "
        "other negatives, and to the positives.",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        required=True,
        metavar="FILE",
        help="the figure to write, such as weights.png",
    )
    parser.add_argument(
        "--losses",
        nargs="+",
        metavar="NAME",
        help="classes of tfembed.losses; by default all of them",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
