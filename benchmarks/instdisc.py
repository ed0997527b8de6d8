"""Claim: the demo's encoder beats pixels, centred pixels and its untrained self.

    python benchmarks/instdisc.py --data-dir DIR                 three seeds
    python benchmarks/instdisc.py --data-dir DIR --ablation      the paper's settings

The first runs the recipe's defaults (20,000 images of Fashion-MNIST, 12 epochs) once
a seed and prints every row of every run's table, with the time each took. Settings
were chosen on training images held out (`--holdout`); the test images are used here.

The second trains the same network on the same data for as many steps with the paper's
own settings, full softmax and NCE, then with one factor more at a time, so that the
table shows what each is worth.

Runs are kept below --runs: started again, finished ones are only printed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PAPER = ["--bank-init", "unit", "--no-head-norm", "--temperature", "0.07"]
NCE = ["--objective", "nce", "--num-negatives", "4096"]
ABLATION = {
    "full, the paper's settings": PAPER,
    "full + forward bank": ["--no-head-norm", "--temperature", "0.07"],
    "full + forward bank + norm": ["--temperature", "0.07"],
    "full, the demo's settings": [],
    "nce, the paper's settings": [*PAPER, *NCE, "--normalizer", "first_batch"],
    "nce + moving-average Z": [*PAPER, *NCE],
    "nce + forward bank + norm, first Z": [
        *NCE,
        "--temperature",
        "0.07",
        "--normalizer",
        "first_batch",
    ],
    "nce + forward bank + norm + moving-average Z": [*NCE, "--temperature", "0.07"],
    "infonce, the demo's settings": ["--objective", "infonce"],
}


def build_parser():
    """Returns the command's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="where Fashion-MNIST is")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--runs", default="runs/benchmark", help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--limit", type=int, help="train on fewer images")
    parser.add_argument("--epochs", type=int, help="train for fewer epochs")
    parser.add_argument("--dataset", help="another data set")
    return parser


def plan(options):
    """Returns `[(name, seed, flags)]` of the runs."""
    shared = []
    for name in ("data_dir", "limit", "epochs", "dataset"):
        value = getattr(options, name)
        if value is not None:
            shared += ["--" + name.replace("_", "-"), str(value)]
    if not options.ablation:
        return [
            (f"demo-seed{seed}", seed, [*shared, "--seed", str(seed)])
            for seed in options.seeds
        ]
    last = str(options.epochs or 12)
    shared += ["--no-linear-probe", "--knn-every", last, "--seed"]
    return [
        (name, options.seeds[0], [*shared, str(options.seeds[0]), *flags])
        for name, flags in ABLATION.items()
    ]


def train(name, flags, options):
    """Runs the recipe, or finds it finished; returns its result and its log."""
    folder = Path(options.runs) / "".join(c if c.isalnum() else "-" for c in name)
    environment = dict(os.environ)
    if options.jobs > 1:  # a core each
        environment.update(
            TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="2", OMP_NUM_THREADS="1"
        )
    began = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tfembed.recipes.instdisc",
            "--run-dir",
            str(folder),
            *flags,
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    took = time.perf_counter() - began
    print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
    return json.loads((folder / "result.json").read_text())


def main(argv=None):
    """Runs what is missing and prints the table."""
    options = build_parser().parse_args(argv)
    runs = plan(options)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda run: train(run[0], run[2], options), runs))
    width = 46
    print(
        f"{'':{width}}{'seed':>5}{'knn 10':>9}{'knn 200':>9}{'probe':>9}{'seconds':>9}"
    )
    for (name, seed, _), result in zip(runs, results):
        rows = result["table"]
        if options.ablation:
            rows = [{**rows[-1], "representation": name}]
        for row in rows:
            cells = "".join(
                f"{'-' if row[key] is None else format(row[key], '.4f'):>9}"
                for key in ("knn_10", "knn_200", "linear_probe")
            )
            seconds = f"{result['seconds']:>9.0f}" if row is rows[-1] else ""
            print(f"{row['representation']:{width}}{seed:>5}{cells}{seconds}")


if __name__ == "__main__":
    main()
