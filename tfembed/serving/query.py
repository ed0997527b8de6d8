"""Asks a server for the nearest neighbours of images, prints and draws them.

The server is a TF Serving, or `python -m tfembed.serving`, with an exported model. Each
image is a question. With --positive-id, --negative-id or --negative-image they are one
together: for what is like all of them, and unlike the negative ones.
"""

import argparse
import json
import os
import re
import sys
import time

from tfembed.command_line import CommandLine, stopped_by_hand
from tfembed.formats.folders import is_text, shown, walk
from tfembed.formats.image_files import ENDINGS, name_some, part_images
from tfembed.quiet_imports import quiet_start

_FILTERS = ("allow_labels", "exclude_labels", "allow_ids", "exclude_ids")
_MANY = 32
_SECONDS_BETWEEN_LOOKS = 0.5


@stopped_by_hand()
def main(arguments=None):
    """Runs the command.

    Returns:
        The exit code: 0; 1 if no image could be read; 2 with a sentence on what is
        wrong.
    """
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    quiet_start()
    from tfembed.serving.errors import ServerUnavailable, ServingError

    try:
        return 0 if _run(options) else 1
    except ServerUnavailable as error:
        later = "" if options.wait else " A server that is starting: --wait 60."
        print(f"{error}{later}", file=sys.stderr)
        return 2
    except (ImportError, OSError, ServingError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(options):
    """Asks and prints; returns whether an image could be read."""
    from tfembed.serving.client import Client
    from tfembed.serving.picture import draw_neighbors
    from tfembed.serving.thumbnails import open_thumbnails, read_picture

    _check_examples(options)
    paths = find_images(options.image)
    together = _has_examples(options)
    questions = [_example_names(options, paths)] if together else paths
    truth = _truth(options, questions)
    thumbnails = open_thumbnails(options.images) if options.images else None
    filters = {name: getattr(options, name) for name in _FILTERS}
    with Client(
        options.address,
        name=options.name,
        version=options.version,
        label=options.label,
        timeout=options.timeout,
    ) as client:
        if options.wait:
            _wait(client, options.wait)
        progress = sys.stderr.isatty() and len(paths) > _MANY
        asked = {"min_score": options.min_score, "per_label": options.per_label}
        if together:
            result = client.search_like(
                options.k,
                positive_images=paths or None,
                positive_ids=options.positive_ids,
                negative_images=find_images(options.negative_images or []) or None,
                negative_ids=options.negative_ids,
                negative_weight=options.negative_weight,
                **filters,
                **asked,
            )
        elif any(filters.values()):
            result = client.search_filtered(
                paths, options.k, **filters, **asked, progress=progress
            )
        else:
            result = client.search(paths, options.k, **asked, progress=progress)
    names = [shown(each if together else os.path.basename(each)) for each in questions]
    if options.json:
        escaped = not all(map(is_text, paths))  # a surrogate escaped is read back as it
        rows = _rows("examples" if together else "image", questions, result, truth)
        print(json.dumps(rows, indent=2, ensure_ascii=escaped))
    else:
        print("\n".join(_table(names, result, truth)))
    if options.long and not options.json:
        print()
        print("\n".join(_long_table(names, result)))
    if options.picture:
        pictures = [read_picture(path) for path in paths]
        draw_neighbors(options.picture, pictures, result, thumbnails, truth, names)
        if not options.json:
            print(f"\npicture: {options.picture}")
    if not result.valid.any():
        of = "the image" if len(paths) == 1 else f"any of the {len(paths):,} images"
        print(f"The model could not read {of}.", file=sys.stderr)
    return bool(result.valid.any())


def _wait(client, seconds):
    """Waits until the server can answer; what is wrong after that, the answer says."""
    from tfembed.serving.errors import NotFound, ServerUnavailable

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if any(each.state == "AVAILABLE" for each in client.status()):
                return
        except (NotFound, ServerUnavailable):
            pass
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def find_images(given):
    """Returns paths of image files.

    Args:
        given: Paths of files, which are taken as they are, and of folders, whose
            images are taken, those of folders below too, in alphabetical order; other
            files in them are named on standard error.

    Raises:
        ValueError: If there is no image in a folder.
    """
    found = []
    for path in given:
        if not os.path.isdir(path):
            found.append(path)
            continue
        below = [
            os.path.join(folder, name) for folder, names in walk(path) for name in names
        ]
        inside, others = part_images("", sorted(below))
        if others:
            print(
                f"passed over {len(others):,} files that are not images: "
                f"{name_some(others)}",
                file=sys.stderr,
            )
        if not inside:
            raise ValueError(
                "A folder must hold images, files ending in "
                f"{', '.join(ENDINGS)}. Received: {path!r}, where there are none."
            )
        found += inside
    return found


def label_from_name(path):
    """Returns the label in a name such as `Ankle boot-0042.png`; None if none."""
    match = re.fullmatch(r"(.+)-\d+", os.path.splitext(os.path.basename(path))[0])
    return match[1] if match else None


def _has_examples(options):
    """Whether all images are examples of one question."""
    return bool(options.positive_ids or options.negative_ids or options.negative_images)


def _check_examples(options):
    """Refuses what makes no sense together."""
    if not options.image and not options.positive_ids:
        raise ValueError(
            "Give an IMAGE, a folder of them, or `--positive-id`. Received: none."
        )
    if not _has_examples(options):
        if options.negative_weight is not None:
            raise ValueError(
                "`--negative-weight` goes with negative examples: give `--negative-id` "
                "or `--negative-image`, too. Received: none."
            )
        return
    if options.picture or options.label_from_name:
        flag = "--picture" if options.picture else "--label-from-name"
        raise ValueError(
            f"`{flag}` needs images that are a question each. Received: examples, "
            "which are one question together. Leave it out."
        )
    if options.negative_weight is None:
        options.negative_weight = 0.5


def _example_names(options, paths):
    """Returns the examples of the only question, such as `a.png + b.png - boot-17`."""
    positives = [*paths, *(options.positive_ids or [])]
    negatives = [*(options.negative_images or []), *(options.negative_ids or [])]
    return " - ".join([" + ".join(positives), *negatives])


def _truth(options, paths):
    """Returns the true label of each image, None where it is not known."""
    if options.truth is None:
        if options.label_from_name:
            return [label_from_name(path) for path in paths]
        return [None] * len(paths)
    if len(options.truth) != len(paths):
        raise ValueError(
            "`--truth` must be one label for each image, in their order. Received: "
            f"{len(options.truth)} labels for {len(paths)} images."
        )
    return options.truth


def _rows(kind, questions, result, truth):
    """Returns what `--json` prints: a dictionary for each question."""
    rows = []
    for row, question in enumerate(questions):
        valid = bool(result.valid[row])
        found = {kind: question, "valid": valid}
        if truth[row]:
            found["truth"] = truth[row]
        if valid:
            found["vote"] = str(result.vote[row])
            found["vote_probability"] = float(result.vote_probability[row])
            found["known"] = bool(result.known[row])
            found["neighbours"] = [
                {"id": str(name), "label": str(label), "score": float(score)}
                for name, label, score in _neighbours(result, row)
            ]
        rows.append(found)
    return rows


def _neighbours(result, row):
    """Returns ids, labels and scores; a filter may leave fewer than k."""
    columns = zip(result.ids[row], result.labels[row], result.scores[row])
    return [(name, label, score) for name, label, score in columns if name]


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
            for _, label, score in _neighbours(result, row)[:3]
        )
        cells = [
            name,
            vote or "-",
            f"{result.vote_probability[row]:.2f}" if vote else "-",
            "yes" if result.known[row] else "no",
            nearest or "none",
            str(result.ids[row, 0]) or "-",
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
                for rank, (neighbour, label, score) in enumerate(
                    _neighbours(result, row), 1
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
    parser = CommandLine(
        prog="python -m tfembed.serving.query",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "image",
        nargs="*",
        metavar="IMAGE",
        help="image file to find neighbours of, or a folder of them",
    )
    parser.add_argument(
        "--address",
        default="localhost:8500",
        help="HOST:PORT for gRPC, http://HOST:PORT for REST [%(default)s]",
    )
    parser.add_argument(
        "--name", default="model", help="name of the model [%(default)s]"
    )
    pinned = parser.add_mutually_exclusive_group()
    pinned.add_argument(
        "--version", type=int, metavar="N", help="version to ask [the latest]"
    )
    pinned.add_argument(
        "--label", metavar="NAME", help="label of the version, of the server's config"
    )
    parser.add_argument(
        "--k", type=int, metavar="N", help="neighbours wanted [all the model gives]"
    )
    _add_question_flags(parser)
    _add_answer_flags(parser)
    return parser


def _add_question_flags(parser):
    """Adds what may, may not and should be found."""
    for name in _FILTERS:
        verb, _, what = name.partition("_")
        only = "find no neighbours but these" if verb == "allow" else "never find these"
        kind = "id" if what == "ids" else "class"
        parser.add_argument(
            f"--{verb}-{what[:-1]}",
            dest=name,
            action="append",
            metavar=kind.upper(),
            help=f"{only}, by {kind}; may be given again",
        )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="find no neighbours of a lower score, -1 to 1",
    )
    parser.add_argument(
        "--per-label",
        type=int,
        metavar="N",
        help="show at most N neighbours of one class",
    )
    for kind, like in (("positive", "like"), ("negative", "unlike")):
        parser.add_argument(
            f"--{kind}-id",
            dest=f"{kind}_ids",
            action="append",
            metavar="ID",
            help=f"what is found is to be {like} this row of the gallery, too; may be "
            "given again",
        )
    parser.add_argument(
        "--negative-image",
        dest="negative_images",
        action="append",
        metavar="IMAGE",
        help="what is found is to be unlike this image, or those of this folder; may "
        "be given again",
    )
    parser.add_argument(
        "--negative-weight",
        type=float,
        metavar="W",
        help="weight of what it is to be unlike, 0 to 1 [0.5]",
    )


def _add_answer_flags(parser):
    """Adds how long is waited, and how the answer is shown."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds for each request [%(default)s]",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="S",
        help="wait at most this many seconds for the server, and for the version where "
        "one is named, to be there [%(default)s]",
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
    parser.add_argument(
        "--json", action="store_true", help="print all as JSON, for programs"
    )


if __name__ == "__main__":
    sys.exit(main())
