"""How fast invariant spreading learns, beside instance discrimination.

    python benchmarks/fast_learning.py --jobs 2 --pin
    python benchmarks/fast_learning.py --jobs 2 --pin --ablation

The paper's claim (Ye et al., 2019, figure 4): two views of a batch teach faster than a
memory bank. Here, on Fashion-MNIST, with the same network and augmentation:

    instdisc, random bank    as in its paper: random bank, no head norm
    instdisc, forward bank   as in the demo
    invaspread               two views of each image, no bank
    invaspread, as in its paper    the same without head norm

Each has as many views of images: an epoch of invariant spreading has two of each, so
it has half the epochs. The table says what neighbours (k = 10) reach after a sixth, a
third and all of the views, and the time that training took (evaluation not counted);
the picture has all curves, over views and over time.

`--ablation` leaves one augmentation out at a time: crop, jitter; adds a flip; and takes
the most similar half of the other images alone.

Runs that are finished are not run again; `--table` trains nothing.
"""

import json
import statistics
from pathlib import Path

import measure
from recipe_runs import (
    build_parser,
    check_rows,
    command,
    data_settings,
    finished,
    log,
    points,
    slug,
)

PAPER = {"head_norm": False}
METHODS = {
    "instdisc, random bank": ("instdisc", {**PAPER, "bank_init": "unit"}),
    "instdisc, forward bank": ("instdisc", {}),
    "invaspread, as in its paper": ("invaspread", PAPER),
    "invaspread": ("invaspread", {}),
}
ABLATION = {
    "invaspread": {},
    "without crop": {"crop_min": 1.0},
    "without jitter": {"brightness": 0.0, "contrast": 0.0},
    "without either": {"crop_min": 1.0, "brightness": 0.0, "contrast": 0.0},
    "with flip": {"flip": 0.5},
    "hardest half of the negatives": {"negative_share": 0.5},
}
VIEWS = {"instdisc": 1, "invaspread": 2}


def parse(argv=None):
    """Reads the command line."""
    parser = build_parser(__doc__, "fast_learning")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--rows", nargs="+", help="some settings, by their names")
    parser.add_argument("--views", type=int, default=12, help="of each image; even")
    parser.add_argument("--picture", type=Path, help="write the curves to this file")
    options = parser.parse_args(argv)
    if options.views < 2 or options.views % 2:
        parser.error(f"--views must be even. Received: {options.views}.")
    check_rows(parser, options.rows, ABLATION if options.ablation else METHODS)
    return options


def plan(options):
    """Returns `{(variant, seed): (run directory, command)}`."""
    variants = METHODS
    if options.ablation:
        variants = {name: ("invaspread", more) for name, more in ABLATION.items()}
    runs = {}
    for variant in options.rows or variants:
        recipe, more = variants[variant]
        words = slug(variant)
        for seed in options.seeds:
            data = slug(options.dataset)
            folder = f"{data}-{options.limit}x{options.views}"
            folder = options.runs / folder / f"{words}-seed{seed}"
            settings = {
                **data_settings(options),
                "epochs": options.views // VIEWS[recipe],
                "linear_probe": False,
                **more,
                "seed": seed,
                "run_dir": folder,
            }
            runs[variant, seed] = folder, command(recipe, settings)
    return runs


def curve(folder):
    """Returns views of each image, seconds of training and accuracy, by epoch."""
    recipe = json.loads((folder / "config.json").read_text())["recipe"]
    images = json.loads((folder / "result.json").read_text())["training_images"]
    views, seconds, accuracy = [], [], []
    for row in log(folder):
        views.append((row["epoch"] + 1) * VIEWS[recipe])
        seconds.append(images / row["images_per_second"] + sum(seconds[-1:]))
        accuracy.append(row["knn_10"])
    return views, seconds, accuracy


def rows_of(runs, results, views):
    """Returns the table: means over the seeds."""
    rows = []
    for variant in dict.fromkeys(name for name, _ in runs):
        curves = [curve(runs[key][0]) for key in results if key[0] == variant]
        if not curves:
            continue
        cells = [variant, str(len(curves))]
        for share in (6, 3, 1):
            at = [
                accuracy[max(i for i, seen in enumerate(v) if seen <= views / share)]
                for v, _, accuracy in curves
                if v[0] <= views / share
            ]
            cells.append(points(statistics.mean(at)) if at else "-")
        last = [accuracy[-1] for _, _, accuracy in curves]
        cells.append(points(max(last) - min(last)))
        cells.append(f"{statistics.mean(s[-1] for _, s, _ in curves):.0f}")
        rows.append(cells)
    return rows


def draw(runs, results, path):
    """Draws accuracy over views and over time, a line a run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    variants = list(dict.fromkeys(name for name, _ in runs))
    for (variant, seed), (folder, _) in runs.items():
        if (variant, seed) not in results:
            continue
        views, seconds, accuracy = curve(folder)
        colour = f"C{variants.index(variant)}"
        first = seed == min(s for name, s in results if name == variant)
        for axis, x in zip(axes, (views, seconds)):
            axis.plot(
                x,
                [100 * each for each in accuracy],
                color=colour,
                marker=".",
                linewidth=1,
                label=variant if first else None,
            )
    axes[0].set(xlabel="views of each image", ylabel="neighbours' accuracy, k = 10, %")
    axes[1].set(xlabel="seconds of training")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(argv=None):
    """Trains what is missing, prints the table and draws the curves."""
    options = parse(argv)
    runs = plan(options)
    results, failed = finished(options, runs)
    title = (
        f"{options.dataset}, {options.limit:,} images, {options.views} views of each, "
        f"{len(results)} of {len(runs)} runs finished"
    )
    columns = ["setting", "seeds", "1/6", "1/3", "all", "range", "seconds"]
    notes = ["Percent of the test images right, k = 10, after that part of the views."]
    measure.print_table(title, columns, rows_of(runs, results, options.views), notes)
    if options.picture and results:
        draw(runs, results, options.picture)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
