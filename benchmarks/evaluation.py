"""Retrieval metrics at the size of SOP's test set, beside pytorch-metric-learning.

    python3 -m venv /tmp/torch
    /tmp/torch/bin/pip install torch==2.13.0 pytorch-metric-learning==2.9.0 \
        faiss-cpu==1.15.1 numpy
    python benchmarks/evaluation.py --torch-python /tmp/torch/bin/python

R@1 and MAP@R of 60,000 embeddings of 512 numbers, each searching all others: with
12,000 classes of 5, where a few neighbours count, and with ten classes, where thousands
do. `tfembed.metrics.retrieval` beside `evaluation_torch.py`, which is
`AccuracyCalculator(k="max_bin_count")` with its default search, faiss.

Claim: at least as fast, within 1.5 GB.

Both sides read the same arrays, in fresh processes that take turns, with as many
threads as there are processors (`--threads` for fewer). Seconds are of the one call;
processor seconds are of all its threads, the better measure on a busy machine; the peak
is of the whole process, with its libraries. How far apart the two sides' numbers are is
printed below.

With ten classes at 60,000 the other side needs more than 20 GB: that case has
`--few-size` rows for both, and `--memory` measures ours alone at full size.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
TORCH = Path(__file__).resolve().with_name("evaluation_torch.py")
OURS, THEIRS = "tfembed", "pytorch-metric-learning, faiss"
FEW = 10


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch-python",
        metavar="PATH",
        help="the interpreter of an environment with torch, pytorch-metric-learning "
        "and faiss-cpu; without it ours alone is measured",
    )
    parser.add_argument("--size", type=int, default=60000, help="rows (60000)")
    parser.add_argument(
        "--few-size", type=int, default=30000, help="rows with ten classes (30000)"
    )
    parser.add_argument(
        "--queries", type=int, help="only the first so many rows search (all)"
    )
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--per-class", type=int, default=5, help="rows a class (5)")
    parser.add_argument("--threads", type=int, help="(as many as processors)")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument(
        "--memory", action="store_true", help="ten classes at --size, ours alone"
    )
    parser.add_argument("--arrays", metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def write_arrays(folder, size, dim, classes, queries):
    """Writes unit rows about a centre a class, and their labels."""
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(size) % classes)
    centres = rng.standard_normal((classes, dim), dtype=np.float32)
    embeddings = rng.standard_normal((size, dim), dtype=np.float32)
    # Such that about half of what is near is right, in either case.
    pull = 0.25 if classes <= FEW else 0.45
    for start in range(0, size, 4096):
        part = slice(start, start + 4096)
        embeddings[part] += pull * centres[labels[part]]
        embeddings[part] /= np.linalg.norm(embeddings[part], axis=1, keepdims=True)
    np.save(folder / "embeddings.npy", embeddings)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "queries.npy", queries or size)


def ours(folder):
    """Measures this side in this process; prints a line of JSON."""
    import json

    import numpy as np

    sys.path.insert(0, str(ROOT))
    from tfembed.metrics import retrieval

    embeddings, labels, queries = (
        np.load(Path(folder) / f"{name}.npy")
        for name in ("embeddings", "labels", "queries")
    )
    start, processors = time.perf_counter(), time.process_time()
    if queries == len(labels):
        found = retrieval(embeddings, labels, ks=(1,))
    else:
        rows = np.arange(len(labels))
        found = retrieval(
            embeddings[:queries],
            labels[:queries],
            embeddings,
            labels,
            rows[:queries],
            rows,
            ks=(1,),
        )
    means = found.means()
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "processors": time.process_time() - processors,
                "peak": measure.peak_mb(),
                "R@1": means["R@1"],
                "MAP@R": means["MAP@R"],
            }
        )
    )


def compare(options, size, classes):
    """Returns `{side: results of its runs}`, the sides taking turns."""
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder), size, options.dim, classes, options.queries)
        sides = {OURS: [sys.executable, __file__, f"--arrays={folder}"]}
        if options.torch_python and not options.memory:
            sides[THEIRS] = [options.torch_python, str(TORCH), folder]
        environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        found = {side: [] for side in sides}
        for _ in range(options.repetitions):
            for side, command in sides.items():
                found[side].append(measure.child(command, env=environ))
    return found


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    if options.arrays:
        ours(options.arrays)
        return
    if options.threads:  # the processes that are started inherit it
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: options.threads])
    cases = {}
    if not options.memory:
        classes = max(2, options.size // options.per_class)
        cases[f"{options.size:,} rows, {classes:,} classes"] = options.size, classes
    few = options.size if options.memory else options.few_size
    cases[f"{few:,} rows, {FEW} classes"] = few, FEW
    rows, notes = [], []
    for case, (size, classes) in cases.items():
        found = compare(options, size, classes)
        least = {
            (side, key): min(run[key] for run in runs)
            for side, runs in found.items()
            for key in ("seconds", "processors")
        }
        for side, runs in found.items():
            ratios = [
                least[THEIRS, key] / least[side, key] if THEIRS in found else None
                for key in ("seconds", "processors")
            ]
            rows.append(
                [
                    case,
                    side,
                    least[side, "seconds"],
                    least[side, "processors"],
                    max(run["peak"] for run in runs),
                    *ratios,
                    runs[0]["R@1"],
                    runs[0]["MAP@R"],
                ]
            )
        if THEIRS in found:
            apart = (
                abs(found[OURS][0][key] - found[THEIRS][0][key])
                for key in ("R@1", "MAP@R")
            )
            notes.append(f"{case}: the numbers differ by at most {max(apart):.1e}.")
    if not options.torch_python:
        notes.append("No --torch-python: nothing to compare with.")
    searching = f"{options.queries:,}" if options.queries else "all"
    measure.print_table(
        f"d = {options.dim}, {searching} rows search, "
        f"{len(os.sched_getaffinity(0))} threads",
        [
            "case",
            "side",
            "s",
            "processor s",
            "peak MB",
            "times as fast",
            "by processor s",
            "R@1",
            "MAP@R",
        ],
        rows,
        notes,
    )


if __name__ == "__main__":
    main()
