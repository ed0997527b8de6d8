"""`python -m tfembed.dedup`: near-duplicate pictures, by exact search.

    python -m tfembed.dedup SOURCE --encoder ENCODER --output OUTPUT
    python -m tfembed.dedup OUTPUT --ask new.jpg

embeds the pictures of a source, unless SOURCE is embeddings, compares all with all,
groups those whose cosine is at or above a threshold, and writes a page on which each
group's pictures stand side by side, and a CSV of what to keep. Nothing is removed.

With --ask it tells which pictures of a gallery new ones are near duplicates of. Its
exit status is then 0 if there are some, 1 if there are none, as grep's. An error is 2.
"""

import os
import sys

from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.dedup.gallery import check_encoder_of
from tfembed.dedup.lines import histogram_lines, table_lines
from tfembed.embed import add_image_flags, name_left_out
from tfembed.quiet_imports import quiet_start

_ENCODER = ("weights", "pool", "image_size", "channels", "resize")
_EMBEDDING = ("split", "limit", "batch_size", "data_dir", "strict")
_BATCH_SIZE = 32


def _find(options, say):
    """Finds, writes, and prints what was found; returns the exit status."""
    # Before TensorFlow starts.
    check_encoder_of(options.source, options.encoder, options.weights, options.pool)
    from tfembed.dedup.command import CSV, PAGE, dedup_source

    done = dedup_source(
        options.source,
        options.output,
        options.encoder,
        options.threshold,
        options.images,
        options.groups_on_page,
        say,
        **{name: getattr(options, name) for name in (*_ENCODER, *_EMBEDDING)},
    )
    for line in name_left_out(done.skipped):
        print(line, file=sys.stderr)
    threshold = done.found.threshold
    print("each picture's cosine to its nearest other picture:")
    for line in histogram_lines(done.summary["nearest_by_degree"], threshold.value):
        print(line)
    print(f"threshold {threshold.value:.4f}: {threshold.reason}")
    for line in table_lines(done.table, threshold.value):
        print(line)
    print(
        f"{done.summary['groups']:,} groups of near duplicates among "
        f"{done.rows.size:,} pictures: {done.summary['beside_the_kept']:,} beside the "
        "kept ones"
    )
    print(os.path.join(done.output, PAGE))
    print(os.path.join(done.output, CSV))
    return 0


def _ask(options, say):
    """Answers for new pictures; returns the exit status."""
    from tfembed.dedup.ask import ask_gallery, open_asking
    from tfembed.dedup.duplicates import check_threshold
    from tfembed.dedup.gallery import find_gallery
    from tfembed.dedup.kept import csv_line
    from tfembed.dedup.threshold import DEFAULT

    check_threshold(options.threshold)
    missing = [path for path in options.ask if not os.path.isfile(path)]
    if missing:
        raise ValueError(
            f"--ask must name picture files. Received: {missing[0]!r}, which is not a "
            "file."
        )
    gallery = find_gallery(options.source, options.images)
    threshold = options.threshold or gallery.threshold
    if threshold is None:
        threshold = DEFAULT
        say(
            f"the threshold is the default, {DEFAULT}: give one with --threshold, or "
            "an output of this command, which has one"
        )
    named = {name: getattr(options, name) for name in _ENCODER}
    embed = open_asking(gallery.encoder, options.encoder, named)
    found = ask_gallery(options.ask, gallery, threshold, embed)
    print(csv_line(("asked", "path", "score")))
    for path, hits in zip(options.ask, found):
        for name, score in hits or ():
            print(csv_line((path, name, f"{score:.6f}")))
    unread = [path for path, hits in zip(options.ask, found) if hits is None]
    for path in unread:
        print(f"error: {path}: no picture that can be read", file=sys.stderr)
    if unread:
        return 2
    return 0 if any(found) else 1


@stopped_by_hand("the same command goes on from here")
def main(argv=None):
    """Runs the command; returns the exit status."""
    options = _parser().parse_args(argv)
    quiet_start()

    def say(line):
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    try:
        return (_ask if options.ask else _find)(options, say)
    except (ValueError, TypeError, OSError, ImportError) as error:
        say_error(error)
        return 2
    except MemoryError:
        print("error: there is not enough memory", file=sys.stderr)
        return 2


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.dedup",
        description="Finds near-duplicate pictures: a page with the groups side by "
        "side, and a CSV of what to keep. Nothing is removed. Started again after it "
        "was stopped, it goes on where it was.",
        epilog="Exit status: 0; with --ask, 0 if there is a near duplicate and 1 if "
        "there is none; 2 after an error.",
    )
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="pictures, with --encoder: folder:PATH, csv:FILE, npz:PATH, tfds:NAME, "
        "fashion_mnist, ...; or embeddings: what this command or tfembed.embed wrote, "
        "an .npz (npz:FILE), a .parquet, a run directory, an export",
    )
    add(
        "--encoder",
        metavar="ENCODER",
        help="a run directory, a saved encoder (.keras), or a backbone's name, such as "
        "applications:MobileNetV2, with --weights, or your own, module:function",
    )
    add(
        "--output",
        metavar="OUTPUT",
        default="duplicates",
        help="folder for index.html, duplicates.csv and dedup.json (default: "
        "%(default)s)",
    )
    add(
        "--threshold",
        type=float,
        metavar="T",
        help="lowest cosine of near duplicates (default: from the scores of the "
        "nearest pictures)",
    )
    add(
        "--images",
        metavar="FOLDER",
        help="of embeddings: the folder in which an id is the path of a picture "
        "(default: the one that was embedded, where that is known)",
    )
    add(
        "--groups-on-page",
        type=int,
        default=500,
        metavar="N",
        help="most groups on the page; of more, the least certain (default: "
        "%(default)s)",
    )
    add(
        "--ask",
        nargs="+",
        metavar="FILE",
        help="pictures to look up in SOURCE, which is embeddings",
    )
    add("--quiet", action="store_true", help="without progress")
    add_image_flags(
        parser.add_argument_group("pictures and how the encoder sees them"), _BATCH_SIZE
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
