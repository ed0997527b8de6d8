"""`python -m tfembed.evaluate`: how good an embedding is, with intervals.

    python -m tfembed.evaluate RUN_DIR
    python -m tfembed.evaluate encoder.keras --dataset folder:photos
    python -m tfembed.evaluate applications:MobileNetV2 --weights imagenet --dataset ...
    python -m tfembed.evaluate queries.npz --gallery gallery.npz --compare other.npz

measures a finished run by what it left behind, a saved encoder or a pretrained backbone
on a source of images, or embeddings that are there already. Prints a table in which
each mean over the queries has its bootstrap interval, and writes it as JSON; with
`--compare`, how far apart two are on the same queries. Nothing that was measured is
changed.
"""

import os
import sys

from tfembed.backbones import POOLS, is_backbone
from tfembed.command_line import CommandLine, say_error, stopped_by_hand
from tfembed.data import check_source, source_names
from tfembed.ops.image_formats import RESIZES
from tfembed.quiet_imports import quiet_start


def _check(options):
    if options.dataset is not None:
        check_source(options.dataset)
    for flag, path in (("output", options.output), ("per-query", options.per_query)):
        folder = os.path.dirname(os.path.abspath(path)) if path else None
        if path and (os.path.isdir(path) or not os.path.isdir(folder)):
            raise ValueError(
                f"--{flag} must be a file in a folder that is there. "
                f"Received: {path!r}."
            )
    if options.temperature is not None and not options.temperature > 0:
        raise ValueError(
            f"--temperature must be positive. Received: {options.temperature}."
        )
    if min(options.ks + options.knn, default=1) < 1:
        raise ValueError(
            f"--ks and --knn must be 1 or more. Received: {options.ks}, {options.knn}."
        )
    if options.compare_gallery and not options.compare:
        raise ValueError(
            "--compare-gallery goes with --compare. Received: --compare-gallery alone."
        )
    known = [name for name in (options.target, options.compare) if name is not None]
    if not any(
        is_backbone(name, options.weights) or not os.path.exists(name) for name in known
    ):
        for flag, value in (("weights", options.weights), ("pool", options.pool)):
            if value is not None:
                raise ValueError(
                    f"--{flag} goes with a backbone's name, such as "
                    f"applications:MobileNetV2. Received: --{flag} {value} with "
                    f"{options.target!r}, which brings its own. Leave it out."
                )


def _of_backbone(name, options):
    """Returns what only a backbone is told, of the two that are compared."""
    if not is_backbone(name, options.weights):
        return {}
    return {"weights": options.weights, "pool": options.pool}


def _run(options):
    _check(options)
    from tfembed.evaluate.measured import compare_subjects, evaluate
    from tfembed.evaluate.results import as_json, report, write, write_per_query
    from tfembed.evaluate.subject import find_subject
    from tfembed.metrics import check_confidence

    check_confidence(options.confidence, options.resamples)
    say = None if options.quiet else lambda line: print(line, file=sys.stderr)
    source = {
        name: getattr(options, name)
        for name in (
            "dataset",
            "split",
            "data_dir",
            "limit",
            "test_limit",
            "image_size",
            "channels",
            "resize",
            "seed",
            "batch_size",
            "strict",
        )
    }
    how = {
        "knn": options.knn,
        "temperature": options.temperature,
        "ks": options.ks,
        "linear_probe": options.linear_probe,
        "similarity": options.similarity,
        "confidence": options.confidence,
        "resamples": options.resamples,
        "seed": options.seed,
        "say": say,
    }
    if options.clustering:
        how["cluster"] = {
            "average": options.average,
            "restarts": options.restarts,
            "seed": options.seed,
        }
    own = _of_backbone(options.target, options)
    subject = find_subject(options.target, options.gallery, say=say, **source, **own)
    other = comparison = None
    if options.compare:
        own = _of_backbone(options.compare, options)
        other = find_subject(
            options.compare, options.compare_gallery, say=say, **source, **own
        )
    measured = evaluate(subject, **how)
    if other:
        others = evaluate(other, **{**how, "cluster": None})
        comparison = compare_subjects(
            subject,
            measured,
            other,
            others,
            confidence=options.confidence,
            resamples=options.resamples,
            seed=options.seed,
        )
    print(report(subject, measured, comparison, other, options.confidence))
    if options.output:
        text = as_json(subject, measured, comparison, other, options)
        write(options.output, lambda file: file.write(text.encode()))
    if options.per_query:
        write_per_query(options.per_query, subject, measured)


@stopped_by_hand()
def main(argv=None):
    """Runs the command; returns the exit status."""
    options = _parser().parse_args(argv)
    quiet_start()
    try:
        _run(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        say_error(error)
        return 1
    except MemoryError:
        print(
            "error: there is not enough memory. Evaluate fewer images with --limit and "
            "--test-limit.",
            file=sys.stderr,
        )
        return 1
    return 0


def _parser():
    parser = CommandLine(
        prog="python -m tfembed.evaluate",
        description="Measures an embedding: neighbours' votes and retrieval, each mean "
        "over the queries with its bootstrap interval.",
    )
    add = parser.add_argument
    add(
        "target",
        metavar="TARGET",
        help="a run directory; with --dataset, a saved encoder (.keras) or a "
        "backbone's name, such as applications:MobileNetV2, or your own, "
        "module:function; or embeddings: an .npz "
        "with embeddings, labels and, if there are any, ids, a .parquet, or what "
        "tfembed.embed wrote",
    )
    add("--gallery", metavar="FILE", help="embeddings that those of TARGET search")
    add(
        "--compare",
        metavar="OTHER",
        help="a second target, compared on the same queries (by id, or in order)",
    )
    add("--compare-gallery", metavar="FILE", help="the gallery of OTHER")
    add("--output", metavar="FILE", help="write the table as JSON")
    add("--per-query", metavar="FILE", help="write every query's values as .npz")
    add("--quiet", action="store_true", help="without progress")
    _add_image_flags(parser.add_argument_group("images, for an encoder"))
    _add_measure_flags(parser.add_argument_group("what is measured"))
    return parser


def _add_image_flags(group):
    images = group.add_argument
    images(
        "--dataset",
        metavar="NAME",
        help=source_names(),
    )
    images(
        "--split",
        choices=("seen", "unseen", "given", "whole"),
        help="seen (default): test images search the training images; unseen, given: "
        "images of the test classes search each other; whole: all images do",
    )
    images("--data-dir", metavar="DIR", help="folder to look for the data in first")
    images("--limit", type=int, metavar="N", help="number of training images (all)")
    images("--test-limit", type=int, metavar="N", help="number of test images (all)")
    images(
        "--weights",
        metavar="none|imagenet|FILE",
        help="weights of a backbone, which needs one of these",
    )
    images(
        "--pool",
        choices=POOLS,
        help="how a backbone's last feature map is pooled (avg)",
    )
    images(
        "--image-size",
        type=int,
        metavar="N",
        help="height and width, of a backbone (224), and where the encoder takes any",
    )
    images(
        "--resize",
        choices=RESIZES,
        help="how pictures are brought to that size (crop for a backbone, squash else; "
        "of a run, as it was trained)",
    )
    images(
        "--channels",
        type=int,
        choices=(1, 3),
        help="gray or RGB, of a backbone (3), and where the encoder takes any",
    )
    images("--batch-size", type=int, default=256, metavar="N", help="(256)")
    images(
        "--strict",
        action="store_true",
        help="stop at an image that does not decode, instead of leaving it out",
    )


def _add_measure_flags(group):
    numbers = group.add_argument
    numbers(
        "--ks",
        type=int,
        nargs="+",
        default=[1, 2, 4, 8],
        metavar="K",
        help="ranks of recall and precision (1 2 4 8); SOP: 1 10 100 1000",
    )
    numbers(
        "--knn",
        type=int,
        nargs="*",
        default=[10, 200],
        metavar="K",
        help="neighbours that vote, where there is a gallery (10 200)",
    )
    numbers(
        "--temperature",
        type=float,
        metavar="T",
        help="of the vote (what the run was set to, or 0.07)",
    )
    numbers(
        "--linear-probe",
        action="store_true",
        help="also train a linear classifier on the gallery's embeddings",
    )
    numbers(
        "--clustering",
        action="store_true",
        help="NMI and AMI, too, where there is no gallery; long for many classes",
    )
    numbers("--restarts", type=int, default=10, metavar="N", help="of k-means (10)")
    numbers(
        "--average",
        choices=("geometric", "arithmetic", "min", "max"),
        default="arithmetic",
        help="of the entropies in NMI (arithmetic)",
    )
    numbers(
        "--similarity",
        choices=("cosine", "inner_product"),
        default="cosine",
        help="(cosine)",
    )
    numbers("--confidence", type=float, default=0.95, metavar="P", help="(0.95)")
    numbers("--resamples", type=int, default=2000, metavar="N", help="(2000)")
    numbers("--seed", type=int, default=0, metavar="N", help="of all draws (0)")


if __name__ == "__main__":
    sys.exit(main())
