"""What a round of instance similarity learning is worth, and its positives.

    python benchmarks/isl.py --jobs 2 --pin
    python benchmarks/isl.py --table --positives

All variants train alike for the first half of the epochs: instance discrimination, the
same network, augmentation, seed and learning rates. Then they part:

    instance discrimination    goes on as it was
    isl                        mines positives, and goes on with them
    isl, hard as in the code   the hard positive is the most similar member of a set
    isl, no hard positive      without hard positive enhancement
    isl, best of 5 proxies     as the paper says, by the discriminator
    plain neighbours           the closest pairs of the bank as positives, without a GAN

Claim (Wang et al., 2021): the second half with positives ends above the second half
without, in every seed. The table says what neighbours' votes on the test images reach
after the first half and at the end, and the difference to instance discrimination, seed
by seed; the time includes GAN and mining.

`--positives` prints what was mined instead: how many positives an image has, and how
many of them are of its class, beside as many nearest neighbours of each image by plain
distance, and beside as many closest pairs of all. Labels only measure.

Runs that are finished are not run again; `--table` trains nothing.
"""

import csv
import statistics

import measure
from recipe_runs import (
    build_parser,
    check_rows,
    command,
    data_settings,
    finished,
    log,
    minutes,
    points,
    slug,
)

BASE = "instance discrimination"
VARIANTS = {
    BASE: {"rounds": 1},
    "isl": {"rounds": 2},
    "isl, hard as in the code": {"rounds": 2, "hard": "most_similar"},
    "isl, no hard positive": {"rounds": 2, "hard_weight": 0.0},
    "isl, best of 5 proxies": {"rounds": 2, "proxies": 5},
    "plain neighbours": {"rounds": 2, "positives": "nearest"},
}
TRAINED = "trained encoder"
KS = (10, 200)


def parse(argv=None):
    """Reads the command line."""
    parser = build_parser(__doc__, "benchmark")
    parser.add_argument("--rows", nargs="+", help="some variants, by their names")
    parser.add_argument("--positives", action="store_true", help="print what was mined")
    parser.add_argument("--epochs", type=int, default=12, help="of both halves; even")
    parser.add_argument("--gan-epochs", type=int, help="at most; the recipe's default")
    options = parser.parse_args(argv)
    check_rows(parser, options.rows, VARIANTS)
    if options.epochs < 2 or options.epochs % 2:
        parser.error(f"--epochs must be even. Received: {options.epochs}.")
    return options


def plan(options):
    """Returns `{(variant, seed): (run directory, command)}`."""
    data = slug(options.dataset)
    parent = options.runs / f"isl-{data}-{options.limit}x{options.epochs}"
    runs = {}
    for variant in options.rows or VARIANTS:
        for seed in options.seeds:
            folder = parent / f"{slug(variant)}-seed{seed}"
            settings = {
                **data_settings(options),
                "epochs": options.epochs,
                "linear_probe": False,
                "seed": seed,
                "run_dir": folder,
                **VARIANTS[variant],
            }
            if options.gan_epochs:
                settings["gan_epochs"] = options.gan_epochs
                settings["gan_least_epochs"] = min(10, options.gan_epochs)
            runs[variant, seed] = folder, command("isl", settings)
    return runs


def accuracies(runs, results):
    """Returns `{(variant, seed): {"half": {k: share}, "end": {k: share}}}`."""
    found = {}
    for key, result in results.items():
        rows = log(runs[key][0])
        half = rows[result["epochs"] // 2 - 1]
        end = {row["representation"]: row for row in result["table"]}[TRAINED]
        found[key] = {
            "half": {k: half.get(f"knn_{k}") for k in KS},
            "end": {k: end[f"knn_{k}"] for k in KS},
        }
    return found


def accuracy_rows(runs, results):
    """Returns the table of the accuracies, and the claim as sentences."""
    found = accuracies(runs, results)
    rows, notes = [], []
    for variant in VARIANTS:
        seeds = [seed for name, seed in found if name == variant]
        if not seeds:
            continue
        cells = [variant, str(len(seeds))]
        for moment in ("half", "end"):
            for k in KS:
                cells.append(mean([found[variant, seed][moment][k] for seed in seeds]))
        for k in KS:
            gains = [
                100 * (found[variant, seed]["end"][k] - found[BASE, seed]["end"][k])
                for seed in seeds
                if (BASE, seed) in found and found[variant, seed]["end"][k] is not None
            ]
            told = " ".join(f"{gain:+.1f}" for gain in gains)
            cells.append(told if variant != BASE and gains else "-")
            if variant == "isl" and gains:
                above = sum(gain > 0 for gain in gains)
                notes.append(
                    f"isl above instance discrimination at equal epochs, k = {k}: "
                    f"{statistics.mean(gains):+.1f} points, in {above} of {len(gains)} "
                    "seeds."
                )
        cells.append(max((minutes(results[variant, seed]) for seed in seeds), key=len))
        rows.append(cells)
    return rows, notes


def mean(shares):
    """Formats the mean of shares, `-` where one is missing."""
    if any(share is None for share in shares):
        return "-"
    return points(statistics.mean(shares))


def positive_rows(runs, results):
    """Returns the table of what was mined."""
    rows = []
    for variant, seed in results:
        path = runs[variant, seed][0] / "rounds.csv"
        if not path.exists():
            continue
        with open(path) as file:
            for row in csv.DictReader(file):
                rows.append(
                    [
                        f"{variant}, seed {seed}",
                        f"{float(row['positives_per_image']):.2f}",
                        points(float(row["images_with_positives"])),
                        *(
                            points(float(row[f"{name}precision"]))
                            for name in ("", "neighbor_", "closest_")
                        ),
                    ]
                )
    return rows


def main(argv=None):
    """Trains what is missing, and prints the table."""
    options = parse(argv)
    runs = plan(options)
    results, failed = finished(options, runs)
    title = (
        f"{options.dataset}, {options.limit:,} images, {options.epochs} epochs, "
        f"{len(results)} of {len(runs)} runs finished"
    )
    if options.positives:
        columns = [
            "run",
            "positives an image",
            "images with some",
            "of its class",
            "as many nearest",
            "as many closest pairs",
        ]
        measure.print_table(title, columns, positive_rows(runs, results), ["Percent."])
    else:
        columns = ["variant", "seeds"]
        columns += [f"knn {k}, {moment}" for moment in ("half", "end") for k in KS]
        columns += [f"gain, k = {k}" for k in KS]
        rows, notes = accuracy_rows(runs, results)
        notes.append("Percent of the test images; means, and the gain of each seed.")
        measure.print_table(title, [*columns, "minutes"], rows, notes)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
