"""The cells of the head ivf, by rows and rounds of k-means, beside those of faiss.

    python benchmarks/cells.py --rows 100000 300000
    python benchmarks/cells.py --data uniform
    python benchmarks/cells.py --data run:runs/instdisc --only "64 25"

Each line is k-means of so many rows a cell in so many rounds
(`tfembed.export.heads.cells`, and `faiss.Kmeans(spherical=True)` where faiss is
installed): how many of the nearest cells hold `--recall` of the 10 nearest rows of
1,000 queries that are in no gallery, and how many rows stand in these, the mean of the
queries. Both have as many cells, the gallery's rows are assigned alike, and a cell is
found or not: so no line depends on how the rows are searched. The seconds are those of
k-means alone, by the clock and of the processor; the assignment of all rows, which
each head needs once, is the same for all.

At each round faiss looks at the same rows, ours at the next ones, as many. Where a
gallery has no more rows than that, both look at all.

Data are those of `knn_head.py`: `mixture`, `uniform`, `run:DIR`.

Claim: as many rows in as many rounds, ours has at most faiss' rows to look at.
"""

import argparse
import sys
import time
from pathlib import Path

import knn_head
import measure

ROOT = Path(__file__).resolve().parent.parent
K = 10


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--dim", type=int, default=128, help="(128; not of run:DIR)")
    parser.add_argument("--data", default="mixture", metavar="mixture|uniform|run:DIR")
    parser.add_argument("--noise", type=float, default=1.0, help="of mixture (1)")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--rows-per-cell", type=int, nargs="+", default=[64, 100, 256])
    parser.add_argument("--rounds", type=int, nargs="+", default=[10, 25])
    parser.add_argument("--seeds", type=int, default=1, help="means of so many (1)")
    parser.add_argument("--no-faiss", action="store_true", help="leave faiss out")
    parser.add_argument(
        "--only", nargs="+", metavar='"ROWS ROUNDS"', help="pairs, in place of all"
    )
    options = parser.parse_args(argv)
    if options.data not in ("mixture", "uniform") and options.data[:4] != "run:":
        parser.error(
            f"--data takes mixture, uniform or run:DIR. Received: {options.data}"
        )
    options.pairs = [
        (per, rounds) for per in options.rows_per_cell for rounds in options.rounds
    ]
    if options.only:
        options.pairs = [tuple(map(int, each.split())) for each in options.only]
    return options


def ours(rows, cells, per, rounds, seed):
    """Returns the directions that the head ivf would have."""
    from tfembed.export.heads import cells as module

    module.ROWS_PER_CELL, module.ROUNDS = per, rounds
    return module.learn_cells(rows, cells, seed)


def theirs(rows, cells, per, rounds, seed):
    """Returns the directions of faiss."""
    import faiss

    found = faiss.Kmeans(
        rows.shape[1],
        cells,
        niter=rounds,
        spherical=True,
        max_points_per_centroid=per,
        min_points_per_centroid=1,
        seed=1 + seed,
    )
    found.train(rows)
    return found.centroids


def looked_at(rows, queries, truth, centroids, recall):
    """Returns the least probes for a recall, and the mean rows of these cells."""
    import numpy as np

    from tfembed.export.heads.cells import assign_cells

    of = assign_cells(rows, centroids)
    sizes = np.bincount(of, minlength=len(centroids))
    scores = np.where(sizes > 0, queries @ centroids.T, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    needed = np.sort(np.take_along_axis(ranks, of[truth], axis=1), axis=None)
    probes = int(needed[int(np.ceil(recall * needed.size)) - 1]) + 1
    return probes, float(sizes[order[:, :probes]].sum(axis=1).mean())


def measured(sides, rows, queries, truth, per, rounds, options):
    """Returns a cell of the table for each of the sides' numbers, and the rows."""
    cells, values, found = knn_head.cells_of(len(rows)), [], {}
    for name, learn in sides.items():
        runs = []
        for seed in range(options.seeds):
            clock, processor = time.perf_counter(), time.process_time()
            centroids = learn(rows, cells, per, rounds, seed)
            clock = time.perf_counter() - clock
            processor = time.process_time() - processor
            result = looked_at(rows, queries, truth, centroids, options.recall)
            runs.append((*result, clock, processor))
        means = [sum(each) / len(runs) for each in zip(*runs)]
        probes, found[name], clock, processor = means
        values += [f"{probes:.0f}", f"{found[name]:,.0f}"]
        values += [f"{clock:.1f}", f"{processor:.1f}"]
    return values, found


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    sys.path.insert(0, str(ROOT))
    sides, notes, table = {"ours": ours, "faiss": theirs}, [], []
    try:
        if options.no_faiss:
            raise ImportError
        import faiss  # noqa: F401
    except ImportError:
        del sides["faiss"]
        notes.append("faiss: left out, or not installed.")
    for size in options.rows:
        rows, queries, what = knn_head.drawn(options, size)
        queries = queries[: knn_head.QUERIES]
        truth = knn_head.nearest(queries, rows)[:, :K]
        for per, rounds in options.pairs:
            values, found = measured(sides, rows, queries, truth, per, rounds, options)
            table.append([f"{size:,}", per, rounds, *values])
            print(*table[-1], file=sys.stderr, flush=True)
            if "faiss" in found and found["ours"] > found["faiss"]:
                notes.append(
                    f"{size:,} rows, {per} a cell, {rounds} rounds: ours has "
                    f"{found['ours'] / found['faiss']:.2f} of faiss' rows to look at "
                    "(claim: at most 1; MISSED)."
                )
    columns = ["gallery", "rows a cell", "rounds"]
    for name in sides:
        columns += [f"{name}: probes", "rows", "s", "processor s"]
    measure.print_table(
        f"{what}; d = {rows.shape[1]}, recall {options.recall:g} of {K}, seeds "
        f"{options.seeds}",
        columns,
        table,
        notes,
    )


if __name__ == "__main__":
    main()
