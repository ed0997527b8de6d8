"""What instance discrimination learns on Fashion-MNIST, and what each part is worth.

    python benchmarks/instdisc.py --jobs 2 --pin
    python benchmarks/instdisc.py --jobs 2 --pin --ablation

The first command runs the CPU demo (20,000 images, 12 epochs) once for each seed and
prints, per seed and representation, the accuracy of weighted nearest neighbours at
k = 10 and k = 200 and of a linear probe, on the test images, and the time that each
run took. Claim: the trained encoder beats raw pixels, centred raw pixels and the
untrained network at k = 10 and k = 200 in every seed.

The second trains on the same data, network and number of steps with the paper's own
settings, and then with one thing after the other as in the demo:

    full   softmax over all images, T = 0.07, a random bank, no head norm
    nce    the same with 4,096 negatives, and Z from the first batch

`+ forward bank`: the bank is filled from a forward pass before training. `+ head norm`:
a batch normalisation before the unit norm. `+ moving-average Z`: Z is measured in every
step. The demo's row, and the demo by InfoNCE, are there for comparison. Neighbours vote
at temperature 0.1 in all rows (the paper's code for small images; the demo: 0.07).

A run that was interrupted goes on when the command is started again; a finished one is
not run again, so that the same command prints its table again. `--table` prints what is
finished, and trains nothing.
"""

import statistics
from pathlib import Path

import measure
from recipe_runs import (
    build_parser,
    check_rows,
    command,
    data_settings,
    finished,
    minutes,
    points,
    slug,
)

ROOT = Path(__file__).resolve().parent.parent
TRAINED = "trained encoder"
UNTRAINED = "untrained network"
# The paper's settings, as far as they are not data, network or number of steps.
PAPER_FULL = {
    "objective": "full",
    "temperature": 0.07,
    "bank_init": "unit",
    "head_norm": False,
}
PAPER_NCE = {
    **PAPER_FULL,
    "objective": "nce",
    "num_negatives": 4096,
    "normalizer": "first_batch",
}
FORWARD = {"bank_init": "forward"}
NORM = {"head_norm": True}
MOVING = {"normalizer": "moving_average"}
ABLATION = {
    "full, as in the paper": PAPER_FULL,
    "full + forward bank": {**PAPER_FULL, **FORWARD},
    "full + head norm": {**PAPER_FULL, **NORM},
    "full + forward bank + head norm": {**PAPER_FULL, **FORWARD, **NORM},
    "nce, as in the paper": PAPER_NCE,
    "nce + forward bank": {**PAPER_NCE, **FORWARD},
    "nce + head norm": {**PAPER_NCE, **NORM},
    "nce + moving-average Z": {**PAPER_NCE, **MOVING},
    "nce + forward bank + head norm": {**PAPER_NCE, **FORWARD, **NORM},
    "nce + all three": {**PAPER_NCE, **FORWARD, **NORM, **MOVING},
    "infonce, else as the demo": {"objective": "infonce", "num_negatives": 4096},
    "the demo": {},
}


def parse(argv=None):
    """Reads the command line."""
    parser = build_parser(__doc__, "benchmark")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument(
        "--rows", nargs="+", help="of the ablation: some of them, by their names"
    )
    parser.add_argument(
        "--holdout", type=int, default=0, help="evaluate on left-out training images"
    )
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args(argv)
    check_rows(parser, options.rows, ABLATION)
    return options


def plan(options):
    """Returns `{(variant, seed): (run directory, command)}`."""
    variants = ABLATION if options.ablation else {"the demo": {}}
    if options.ablation and options.rows:
        variants = {row: ABLATION[row] for row in options.rows}
    runs = {}
    for variant, settings in variants.items():
        for seed in options.seeds:
            settings = dict(settings)
            if options.ablation:
                settings.update(
                    knn_every=options.epochs, linear_probe=False, knn_temperature=0.1
                )
            folder = folder_of(options, variant, seed)
            runs[variant, seed] = folder, command_of(options, settings, seed, folder)
    return runs


def folder_of(options, variant, seed):
    """Returns a run's directory, a name for each setting of the benchmark."""
    words = slug(variant)
    kind = "ablation" if options.ablation else "demo"
    data = slug(options.dataset)
    name = f"{data}-{options.limit}x{options.epochs}"
    if options.holdout:
        name += f"-holdout{options.holdout}"
    if options.test_limit:
        name += f"-test{options.test_limit}"
    return options.runs / f"{kind}-{name}" / f"{words}-seed{seed}"


def command_of(options, settings, seed, folder):
    """Returns the command of a run."""
    settings = {
        **data_settings(options),
        "epochs": options.epochs,
        "holdout": options.holdout,
        **settings,
        "seed": seed,
        "run_dir": folder,
    }
    return command("instdisc", settings)


def demo_rows(results):
    """Returns the table of the demo, and what it claims, as a sentence."""
    rows, smallest = [], {10: 1.0, 200: 1.0}
    for (_, seed), result in results.items():
        table = {row["representation"]: row for row in result["table"]}
        for name, row in table.items():
            rows.append(
                [
                    f"seed {seed}: {name}",
                    *(points(row[f"knn_{k}"]) for k in (10, 200)),
                    points(row["linear_probe"]),
                    minutes(result) if name == TRAINED else "",
                ]
            )
        for k in smallest:
            accuracies = {name: row[f"knn_{k}"] for name, row in table.items()}
            best = accuracies.pop(TRAINED, None)
            if best is None or None in accuracies.values():
                continue  # no labels, or fewer images than neighbours
            margin = best - max(accuracies.values())
            smallest[k] = min(smallest[k], margin)
    notes = [
        f"Smallest margin of the trained encoder above its best baseline, k = {k}: "
        f"{100 * margin:+.1f} points."
        for k, margin in smallest.items()
        if margin < 1
    ]
    return rows, notes


def ablation_rows(results):
    """Returns the table of the ablation: means over the seeds, and their range."""
    rows = []
    for variant in ABLATION:
        found = [result for (name, _), result in results.items() if name == variant]
        trained = [
            row
            for result in found
            for row in result["table"]
            if row["representation"] == TRAINED
        ]
        if not trained:
            continue
        cells = [variant, str(len(trained))]
        for k in (10, 200):
            values = [row[f"knn_{k}"] for row in trained if row[f"knn_{k}"] is not None]
            cells += [points(statistics.mean(values)) if values else "-"]
            cells += [points(max(values) - min(values)) if values else "-"]
        cells.append(max((minutes(result) for result in found), key=len))
        rows.append(cells)
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
    if options.pin:
        title += ", a core each"
    if options.ablation:
        measure.print_table(
            title,
            ["setting", "seeds", "knn 10", "range", "knn 200", "range", "minutes"],
            ablation_rows(results),
            ["Percent of the test images; means over the seeds, and their range."],
        )
    else:
        rows, notes = demo_rows(results)
        columns = ["representation", "knn 10", "knn 200", "linear probe", "minutes"]
        measure.print_table(title, columns, rows, notes)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
