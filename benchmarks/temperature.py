"""Retrieval against the temperature of the normalised softmax, and why it matters.

    python benchmarks/temperature.py --jobs 2 --pin --picture docs/temperature.png

Table 1 of the deep-metric-learning survey, measured: the softmax over normalised
proxies (`NormSoftmax`) trained at eight temperatures, on five classes of Fashion-MNIST,
and retrieval among the images of the other five. Beside it, in the picture, the
survey's analysis of the gradient (equations 22 and 23): how strongly a row is drawn to
its own proxy, (1 - p) / T, and pushed from the others, q / T, as a function of how far
it is ahead of them. A low temperature gives all of the gradient to the boundary; a high
one spreads it over rows that are already right.

Runs that are finished are not run again; `--table` trains nothing.
"""

import statistics
from pathlib import Path

import measure
import numpy as np
from recipe_runs import build_parser, command, data_settings, finished, points, slug

TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SHOWN = ("R@1", "MAP@R", "NMI")
CLASSES = 100  # of the analysis
AS_MEASURED = {  # what was the recipe's default when the numbers in the docs were made
    "head_norm": False,
    "samples_per_class": 16,
    "crop_min": 0.5,
    "brightness": 0.3,
    "contrast": 0.4,
    "flip": 0.0,
}


def parse(argv=None):
    """Reads the command line."""
    parser = build_parser(__doc__, "temperature")
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=list(TEMPERATURES)
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--picture", type=Path)
    return parser.parse_args(argv)


def plan(options):
    """Returns `{(temperature, seed): (run directory, command)}`."""
    runs = {}
    for temperature in options.temperatures:
        for seed in options.seeds:
            data = slug(options.dataset)
            folder = options.runs / f"{data}-{options.limit}x{options.epochs}"
            folder = folder / f"temperature{temperature:g}-seed{seed}"
            settings = {
                **data_settings(options),
                "epochs": options.epochs,
                "loss": "norm_softmax",
                "loss_options": f"temperature={temperature:g}",
                "proxy_rate": 10.0,
                **AS_MEASURED,
                "knn_every": options.epochs,
                "softmax_baseline": False,
                "seed": seed,
                "run_dir": folder,
            }
            runs[temperature, seed] = folder, command("supervised", settings)
    return runs


def rows_of(results):
    """Returns the table: means over the seeds, and their range."""
    rows = []
    for temperature in dict.fromkeys(key[0] for key in results):
        trained = [
            result["table"][-1]
            for (own, _), result in results.items()
            if own == temperature
        ]
        cells = [f"{temperature:g}", str(len(trained))]
        for name in SHOWN:
            values = [row[name] for row in trained]
            cells += [
                points(statistics.mean(values)),
                points(max(values) - min(values)),
            ]
        rows.append(cells)
    return rows


def pulls(lead, temperature, classes=CLASSES):
    """Returns how strongly a row is drawn to its proxy, from the derivative.

    Args:
        lead: Its similarity to its own proxy less that to the others, all equal.
        temperature: T.
        classes: Number of classes.

    Returns:
        |d loss / d S[own]| = (1 - p) / T; as much pushes it from all others together.
    """
    with np.errstate(over="ignore"):
        wrong = 1 / (1 + np.exp(np.asarray(lead) / temperature) / (classes - 1))
    return wrong / temperature


def draw(results, path):
    """Draws retrieval over temperature, and the gradient over the lead."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    temperatures = sorted(dict.fromkeys(key[0] for key in results))
    for number, name in enumerate(SHOWN):
        found = [
            [r["table"][-1][name] for (t, _), r in results.items() if t == own]
            for own in temperatures
        ]
        means = [100 * statistics.mean(each) for each in found]
        left.plot(temperatures, means, marker="o", color=f"C{number}", label=name)
        for x, values in zip(temperatures, found):
            left.plot([x] * len(values), [100 * v for v in values], ".", c=f"C{number}")
    left.set(xscale="log", xlabel="temperature", ylabel="unseen classes, %")
    lead = np.linspace(-1, 2, 301)
    for number, temperature in enumerate((0.05, 0.1, 0.2, 0.5, 1.0)):
        pull = pulls(lead, temperature)
        right.plot(lead, pull, color=f"C{number + 3}", label=f"T = {temperature:g}")
    right.set(
        xlabel="similarity to the own proxy, less that to the others",
        ylabel="size of the gradient, (1 - p) / T",
        yscale="log",
        ylim=(1e-3, 40),
    )
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(argv=None):
    """Trains what is missing, prints the table and draws the picture."""
    options = parse(argv)
    runs = plan(options)
    results, failed = finished(options, runs)
    columns = ["temperature", "seeds"]
    for name in SHOWN:
        columns += [name, "range"]
    title = f"{options.dataset}, unseen classes, {len(results)} of {len(runs)} runs"
    notes = ["Percent; means over the seeds, and their range."]
    measure.print_table(title, columns, rows_of(results), notes)
    if options.picture and results:
        draw(results, options.picture)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
