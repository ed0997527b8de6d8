"""Asks a server for the nearest neighbours of images, prints and draws them.

The server is a TF Serving, or `python -m tfembed.serving`, with an exported model.
"""

import argparse
import os
import re
import sys


def main(arguments=None):
    """Runs the command.

    Returns:
        The exit code: 0, or 2 with a sentence on what is wrong.
    """
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tfembed.serving.errors import ServingError

    try:
        _run(options)
    except (ImportError, OSError, ServingError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(options):
    from tfembed.serving.client import Client
    from tfembed.serving.picture import draw_neighbors
    from tfembed.serving.thumbnails import open_thumbnails, read_picture

    truth = _truth(options)
    thumbnails = open_thumbnails(options.images) if options.images else None
    with Client(
        options.address,
        name=options.name,
        version=options.version,
        timeout=options.timeout,
    ) as client:
        result = client.search(options.image, options.k)
    names = [os.path.basename(path) for path in options.image]
    print("\n".join(_table(names, result, truth)))
    if options.long:
        print()
        print("\n".join(_long_table(names, result)))
    if options.picture:
        pictures = [read_picture(path) for path in options.image]
        draw_neighbors(options.picture, pictures, result, thumbnails, truth, names)
        print(f"\npicture: {options.picture}")


def label_from_name(path):
    """Returns the label in a name such as `Ankle boot-0042.png`; None if none."""
    match = re.fullmatch(r"(.+)-\d+", os.path.splitext(os.path.basename(path))[0])
    return match[1] if match else None


def _truth(options):
    """Returns the true label of each image, None where it is not known."""
    if options.truth is None:
        if options.label_from_name:
            return [label_from_name(path) for path in options.image]
        return [None] * len(options.image)
    if len(options.truth) != len(options.image):
        raise ValueError(
            "`--truth` must be one label for each image, in their order. Received: "
            f"{len(options.truth)} labels for {len(options.image)} images."
        )
    return options.truth


def _table(names, result, truth):
    """Returns lines: for each query the vote, and its nearest neighbours."""
    from tfembed.serving.picture import same_label

    head = ["query", "vote", "share", "known", "nearest (label score)", "nearest id"]
    judged = any(truth)
    if judged:
        head[1:1] = ["truth"]
        head[4:4] = ["right"]
    rows, right, counted = [head], 0, 0
    for row, name in enumerate(names):
        if not result.valid[row]:
            rows.append([name] + (["could not be read"] + [""] * (len(head) - 2)))
            continue
        vote = str(result.vote[row])
        nearest = ", ".join(
            f"{label} {score:.2f}".strip()
            for label, score in zip(result.labels[row][:3], result.scores[row][:3])
        )
        cells = [
            name,
            vote or "-",
            f"{result.vote_probability[row]:.2f}" if vote else "-",
            "yes" if result.known[row] else "no",
            nearest,
            str(result.ids[row, 0]),
        ]
        if judged:
            verdict = "-"
            if truth[row]:
                hit = same_label(vote, truth[row])
                verdict = "yes" if hit else "NO"
                right, counted = right + hit, counted + 1
            cells[1:1] = [truth[row] or "-"]
            cells[4:4] = [verdict]
        rows.append(cells)
    lines = _aligned(rows)
    if counted:
        lines += ["", f"{right} of {counted} votes right"]
    return lines


def _long_table(names, result):
    """Returns lines: every neighbour of every query."""
    rows = [["query", "rank", "score", "label", "id"]]
    for row, name in enumerate(names):
        if result.valid[row]:
            rows += [
                [name, str(rank), f"{score:.4f}", label or "-", neighbour]
                for rank, (score, label, neighbour) in enumerate(
                    zip(result.scores[row], result.labels[row], result.ids[row]), 1
                )
            ]
    return _aligned(rows)


def _aligned(rows):
    """Lays rows of text out in columns, a line below the first."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * width for width in widths])
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tfembed.serving.query",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", nargs="+", help="image file to find neighbours of")
    parser.add_argument(
        "--address",
        default="localhost:8500",
        help="HOST:PORT for gRPC, http://HOST:PORT for REST [%(default)s]",
    )
    parser.add_argument(
        "--name", default="model", help="name of the model [%(default)s]"
    )
    parser.add_argument(
        "--version", type=int, metavar="N", help="version to ask [the latest]"
    )
    parser.add_argument(
        "--k", type=int, metavar="N", help="neighbours wanted [all the model gives]"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds for each request [%(default)s]",
    )
    parser.add_argument(
        "--picture", metavar="PATH", help="write a PNG of queries and neighbours there"
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        help="thumbnails.npz of the run, or the folder of the gallery's images, to "
        "draw the neighbours from",
    )
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--truth", nargs="+", metavar="LABEL", help="true label of each image"
    )
    labels.add_argument(
        "--label-from-name",
        action="store_true",
        help="take the true label from names such as LABEL-NUMBER.png",
    )
    parser.add_argument(
        "--long", action="store_true", help="print every neighbour and its id"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
