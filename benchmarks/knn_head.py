"""The heads that search a served gallery, beside others' indexes, in one run.

    python3 -m venv /tmp/scann
    /tmp/scann/bin/pip install scann==1.4.2 numpy
    python benchmarks/knn_head.py --scann-python /tmp/scann/bin/python
    python benchmarks/knn_head.py --data uniform
    python benchmarks/knn_head.py --data run:runs/instdisc

Our heads (`tfembed.export.heads`), plain `matmul` and `top_k`, faiss' flat and IVF
indexes, ScaNN and NMSLib's HNSW: each in a process of its own, with the same float32
rows and as many threads, in turns: a turn is as many searches as fill
`--seconds`. Milliseconds are the median of the turns; a ratio is the median of the
turns' ratios to exact. Recall is that of 1,000 queries that are in no gallery, against
all products in NumPy. What has a recall to choose (ivf, faiss IVF, ScaNN, HNSW) takes
the least work that reaches `--recall` at 10 neighbours on 1,000 other queries; faiss
IVF and ScaNN have as many cells as ivf.

`held MB`: memory that is still taken after the build (anonymous pages, so not the file
that all read from). `search MB`: what the largest batch needs beside it, at its peak.

Data: `mixture`, 5,000 directions with noise around them (`--noise`, the length of the
noise; 1 gives rows of one direction a cosine of 0.5); `uniform`, unit rows in all
directions, the worst case; `run:DIR`, the embeddings of a trained encoder, from a run's
`gallery.npz`. Of these, 2,000 rows are taken out to be the queries, and where more rows
are needed the others are repeated with noise of length 0.1: the table says so.

Claims, at 1,000,000 rows of 128: exact takes at most half of plain `top_k`'s time at
batch 8 and 32, and less than faiss' flat index from batch 8; ivf finds 0.95 of the
nearest 10 in at most a third of exact's time at batch 1. Wanted of int8, and not yet
shown: at most 1.5 times exact's time at batch 1, and 1.2 times at 8 and 32. A run
says of each whether it was MISSED.
"""

import argparse
import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
QUERIES = 1000  # to measure with, and as many others to choose settings with
MOST = 200  # neighbours of the truth
CENTRES = 5000
CLAIMED = 1_000_000  # rows from which the claims are made
REPEATED = 0.1  # length of the noise of repeated rows


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=128, help="(128; not of run:DIR)")
    parser.add_argument("--data", default="mixture", metavar="mixture|uniform|run:DIR")
    parser.add_argument("--noise", type=float, default=1.0, help="of mixture (1)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--k", type=int, nargs="+", default=[10, 200])
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=9, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help=f"of {', '.join(SEARCHES)}"
    )
    parser.add_argument(
        "--scann-python",
        metavar="PATH",
        help="the interpreter of an environment with scann and numpy; else this one",
    )
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    for name in options.only or []:
        if name not in SEARCHES:
            parser.error(f"--only knows {', '.join(SEARCHES)}. Received: {name}")
    if not all(1 <= k <= MOST for k in options.k):
        parser.error(f"--k takes numbers from 1 to {MOST}. Received: {options.k}")
    if options.data not in ("mixture", "uniform") and options.data[:4] != "run:":
        parser.error(
            f"--data takes mixture, uniform or run:DIR. Received: {options.data}"
        )
    return options


class Plain:
    """`tf.math.top_k` of the scores of all rows."""

    package = "tensorflow"

    def __init__(self, rows, tuning, options):
        import tensorflow as tf

        gallery = tf.Variable(rows, shape=[None, rows.shape[1]])
        self.keep(
            lambda queries, k: tf.math.top_k(
                tf.matmul(queries, gallery, transpose_b=True), k
            ),
            rows.shape[1],
        )

    def keep(self, search, dim):
        """Makes the graph, as an export has it: any batch, any k."""
        import tensorflow as tf

        self.graph = tf.function(
            lambda queries, k: search(queries, k)[1],
            input_signature=[tf.TensorSpec([None, dim]), tf.TensorSpec([], tf.int32)],
        )

    def search(self, queries, k):
        """Returns the rows that are found, `(batch, k)`."""
        return self.graph(queries, k).numpy()

    note = None


class Head(Plain):
    """One of `tfembed.export.heads`."""

    name = None

    def __init__(self, rows, tuning, options):
        import tensorflow as tf

        sys.path.insert(0, str(ROOT))
        from tfembed.export.heads import load_head

        head = load_head(self.name)
        queries, _ = tuning
        state = head.build(rows, recall=options.recall, queries=queries, k=10)
        variables = {}
        for name in list(state.arrays):
            array = state.arrays.pop(name)
            shape = [None, *array.shape[1:]] if array.ndim else []
            variables[name] = tf.Variable(array, shape=shape)
        self.keep(lambda queries, k: head.search(variables, queries, k), rows.shape[1])
        shown = ("numbers", "candidates", "cells", "probes", "all_cells", "recall_at_k")
        said = [f"{key} {state.card[key]}" for key in shown if key in state.card]
        self.note = ", ".join(said) if self.name != "exact" else None


class Exact(Head):
    """`tfembed.export.heads.exact`."""

    name = "exact"


class Bfloat16(Head):
    """`tfembed.export.heads.bfloat16`."""

    name = "bfloat16"


class Int8(Head):
    """`tfembed.export.heads.int8`."""

    name = "int8"


class Int8Bfloat16(Head):
    """`tfembed.export.heads.int8_bfloat16`."""

    name = "int8_bfloat16"


class Prefix(Head):
    """`tfembed.export.heads.prefix`."""

    name = "prefix"


class Ivf(Head):
    """`tfembed.export.heads.ivf`."""

    name = "ivf"


class FaissFlat:
    """`faiss.IndexFlatIP`."""

    package = "faiss"
    note = None

    def __init__(self, rows, tuning, options):
        import faiss

        faiss.omp_set_num_threads(options.threads)
        self.index = faiss.IndexFlatIP(rows.shape[1])
        add_in_parts(self.index, rows)

    def search(self, queries, k):
        """Returns the rows that are found, `(batch, k)`."""
        return self.index.search(queries, k)[1]


class FaissIvf(FaissFlat):
    """`faiss.IndexIVFFlat`."""

    def __init__(self, rows, tuning, options):
        import faiss

        faiss.omp_set_num_threads(options.threads)
        size, dim = rows.shape
        cells = cells_of(size)
        self.quantizer = faiss.IndexFlatIP(dim)
        self.index = faiss.IndexIVFFlat(
            self.quantizer, dim, cells, faiss.METRIC_INNER_PRODUCT
        )
        self.index.train(sample(rows, 64 * cells))
        add_in_parts(self.index, rows)

        def probe(count):
            self.index.nprobe = count

        probes = least(probe, cells, self.search, tuning, options.recall)
        self.note = f"cells {cells}, probes {probes}"


class Scann:
    """ScaNN: a tree, quantised scores, and exact ones for the best of them."""

    package = "scann"

    def __init__(self, rows, tuning, options):
        from scann.scann_ops.py import scann_ops_pybind as scann

        size, self.threads = len(rows), options.threads
        cells = cells_of(size)
        builder = scann.builder(rows, 10, "dot_product").set_n_training_threads(
            options.threads
        )
        learned_on = min(size, 64 * cells)
        builder = builder.tree(cells, 1, training_sample_size=learned_on)
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        self.searcher = builder.reorder(100).build()
        self.searcher.set_num_threads(options.threads)

        def probe(count):
            self.leaves = count

        leaves = least(probe, cells, self.search, tuning, options.recall)
        self.note = f"leaves {cells}, searched {leaves}, reordered max(100, 2 k)"

    def search(self, queries, k):
        """Returns the rows that are found, `(batch, k)`."""
        settings = {
            "final_num_neighbors": k,
            "pre_reorder_num_neighbors": max(100, 2 * k),
            "leaves_to_search": self.leaves,
        }
        if len(queries) == 1:
            rows, _ = self.searcher.search(queries[0], **settings)
            return rows[None]
        part = math.ceil(len(queries) / self.threads)
        return self.searcher.search_batched_parallel(
            queries, batch_size=part, **settings
        )[0]


class Nmslib:
    """NMSLib's HNSW graph."""

    package = "nmslib"

    def __init__(self, rows, tuning, options):
        import nmslib

        self.threads = options.threads
        self.index = nmslib.init(method="hnsw", space="cosinesimil")
        self.index.addDataPointBatch(rows)
        settings = {"M": 16, "efConstruction": 40, "indexThreadQty": self.threads}
        self.index.createIndex(settings)

        def probe(count):
            self.index.setQueryTimeParams({"efSearch": count})

        wide = least(probe, 2000, self.search, tuning, options.recall)
        self.note = f"M 16, efConstruction 40, efSearch {wide}"

    def search(self, queries, k):
        """Returns the rows that are found, `(batch, k)`; -1 where there are fewer."""
        import numpy as np

        found = self.index.knnQueryBatch(queries, k=k, num_threads=self.threads)
        rows = np.full((len(queries), k), -1)
        for row, (names, _) in zip(rows, found):
            row[: len(names)] = names
        return rows


SEARCHES = {
    "exact": Exact,
    "bfloat16": Bfloat16,
    "int8": Int8,
    "int8_bfloat16": Int8Bfloat16,
    "prefix": Prefix,
    "ivf": Ivf,
    "matmul + top_k": Plain,
    "faiss flat": FaissFlat,
    "faiss IVF": FaissIvf,
    "ScaNN": Scann,
    "NMSLib HNSW": Nmslib,
}


def cells_of(size):
    """Returns the number of cells that ivf has."""
    return max(1, min(round(2 * size**0.5), size // 32))


def sample(rows, count):
    """Returns some rows, drawn without repetition."""
    import numpy as np

    rng = np.random.default_rng(1)
    return np.ascontiguousarray(rows[np.sort(rng.permutation(len(rows))[:count])])


def add_in_parts(index, rows):
    """Adds rows to an index of faiss."""
    for start in range(0, len(rows), 1 << 16):
        index.add(rows[start : start + (1 << 16)])


def least(choose, most, search, tuning, recall):
    """Chooses the least effort that reaches a recall at 10 neighbours.

    Args:
        choose: Function of an effort, from 1 to `most`.
        most: The largest effort.
        search: Function of queries and k.
        tuning: Queries and their nearest rows.
        recall: To reach.

    Returns:
        The effort, which is chosen.
    """
    queries, truth = tuning
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        choose(middle)
        if recall_of(search(queries, 10), truth) >= recall:
            high = middle
        else:
            low = middle + 1
    choose(low)
    return low


def recall_of(found, truth):
    """Returns the share of the nearest rows that were found."""
    import numpy as np

    k = found.shape[1]
    hits = [np.isin(want[:k], have).mean() for want, have in zip(truth, found)]
    return float(np.mean(hits))


def unit(rows):
    """Makes rows of unit length, in place, a part at a time."""
    import numpy as np

    for start in range(0, len(rows), 1 << 16):
        part = rows[start : start + (1 << 16)]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def drawn(options, size):
    """Returns a gallery of so many rows, queries that are not in it, and what it is."""
    import numpy as np

    rng = np.random.default_rng(0)
    total = size + 2 * QUERIES
    what = options.data
    if options.data.startswith("run:"):
        path = Path(options.data[4:]) / "gallery.npz"
        with np.load(path) as file:
            own = unit(file["embeddings"].astype(np.float32))
        if len(own) < 3 * QUERIES:
            raise SystemExit(
                f"{path} must have at least {3 * QUERIES} rows. Received: {len(own)}."
            )
        own = own[rng.permutation(len(own))]
        queries, own = own[: 2 * QUERIES], own[2 * QUERIES :]
        what = f"{len(own):,} rows of {options.data[4:]}"
        if size > len(own):
            what += f", repeated with noise of length {REPEATED:g}"
        rows = own[np.arange(size) % len(own)]
        again = rows[len(own) :]
        for start in range(0, len(again), 1 << 16):
            part = again[start : start + (1 << 16)]
            noise = rng.standard_normal(part.shape, dtype=np.float32)
            part += noise * np.float32(REPEATED / part.shape[1] ** 0.5)
        return unit(rows), queries, what
    rows = rng.standard_normal((total, options.dim), dtype=np.float32)
    if options.data == "mixture":
        what = f"mixture of {CENTRES:,} directions, noise {options.noise:g}"
        centres = rng.standard_normal((CENTRES, options.dim), dtype=np.float32)
        unit(centres)
        for start in range(0, total, 1 << 16):
            part = rows[start : start + (1 << 16)]
            part *= np.float32(options.noise / options.dim**0.5)
            part += centres[rng.integers(0, CENTRES, len(part))]
    unit(rows)
    return rows[:size], rows[size:], what


def nearest(queries, rows):
    """Returns the nearest rows by all products, `(count, MOST)`, in NumPy."""
    import numpy as np

    most = min(MOST, len(rows))
    scores = np.empty((len(queries), 0), np.float32)
    names = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(rows), 1 << 14):
        part = queries @ rows[start : start + (1 << 14)].T
        kept = np.argpartition(-part, min(most, part.shape[1]) - 1, axis=1)[:, :most]
        scores = np.concatenate([scores, np.take_along_axis(part, kept, 1)], axis=1)
        names = np.concatenate([names, start + kept], axis=1)
        best = np.argsort(-scores, axis=1)[:, :most]
        scores = np.take_along_axis(scores, best, 1)
        names = np.take_along_axis(names, best, 1)
    return names


def write_arrays(folder, options, size):
    """Writes what all processes read; returns what the data are."""
    import numpy as np

    rows, queries, what = drawn(options, size)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", nearest(queries, rows))
    return what


def held_mb():
    """Returns this process' resident memory that is of no file, in MB.

    What was freed and is kept for later allocations is given back first.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as file:
        found = [line.split()[1] for line in file if line.startswith("RssAnon:")]
    return int(found[0]) / 1024


def resident_mb():
    """Returns this process' resident memory, in MB."""
    with open("/proc/self/status") as file:
        found = [line.split()[1] for line in file if line.startswith("VmRSS:")]
    return int(found[0]) / 1024


def serve(options):
    """Builds one search, and answers a line of JSON by a line of JSON."""
    import numpy as np

    name, folder = options.serve[0], Path(options.serve[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(**values):
        print(json.dumps(values), file=answers, flush=True)

    rows = np.load(folder / "rows.npy", mmap_mode="r")
    rows.flags.writeable = False
    queries = np.load(folder / "queries.npy")
    truth = np.load(folder / "truth.npy")
    tuning = queries[QUERIES:], truth[QUERIES:]
    queries, truth = queries[:QUERIES], truth[:QUERIES]
    try:
        __import__(SEARCHES[name].package)
    except ImportError:
        answer(missing=True)
        return
    if SEARCHES[name].package == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    before, start = held_mb(), time.perf_counter()
    index = SEARCHES[name](np.asarray(rows), tuning, options)
    seconds = time.perf_counter() - start
    answer(build=seconds, held=held_mb() - before, note=index.note)
    for line in sys.stdin:
        asked = json.loads(line)
        k = asked["k"]
        if "batch" in asked:
            batch = asked["batch"]
            parts = [queries[i : i + batch] for i in range(0, QUERIES, batch)]
            parts = [part for part in parts if len(part) == batch]
            start = time.perf_counter()
            for number in range(asked["times"]):
                index.search(parts[number % len(parts)], k)
            answer(seconds=(time.perf_counter() - start) / asked["times"])
        else:
            parts = [queries[i : i + 8] for i in range(0, QUERIES, 8)]
            found = np.concatenate([index.search(part, k) for part in parts])
            largest = queries[: max(options.batch_sizes)]
            measure.reset_peak()
            now = resident_mb()
            index.search(largest, k)
            peak = max(measure.peak_mb() - now, 0.0)
            answer(recall=recall_of(found, truth[:, :k]), peak=peak)


class Contestant:
    """The process of one search.

    Args:
        name: A key of `SEARCHES`.
        folder: Where the arrays are.
        options: The benchmark's options.
    """

    def __init__(self, name, folder, options):
        python = sys.executable
        if name == "ScaNN" and options.scann_python:
            python = options.scann_python
        threads = str(options.threads)
        environ = {**os.environ, "OMP_NUM_THREADS": threads}
        environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [python, __file__, "--serve", name, str(folder)]
        command += [f"--threads={threads}", f"--recall={options.recall}"]
        command += ["--batch-sizes", *map(str, options.batch_sizes)]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environ,
        )
        self.name = name
        self.built = self.read()

    def read(self):
        """Returns the next answer."""
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} ended:\n{self.log.read()[-4000:]}")
        return json.loads(line)

    def ask(self, **message):
        """Sends a message, and returns the answer."""
        print(json.dumps(message), file=self.process.stdin, flush=True)
        return self.read()

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()


def timed(contestants, k, batch, options):
    """Returns `{name: seconds of a search, for each turn}`, the searches in turn."""
    times = {}
    for name, each in contestants.items():
        each.ask(k=k, batch=batch, times=1)
        one = each.ask(k=k, batch=batch, times=2)["seconds"]
        times[name] = max(1, math.ceil(options.seconds / one))
    found = {name: [] for name in contestants}
    for _ in range(options.repetitions):
        for name, each in contestants.items():
            answer = each.ask(k=k, batch=batch, times=times[name])
            found[name].append(answer["seconds"])
    return found


def ratios(theirs, ours):
    """Returns the median of the turns' ratios."""
    return measure.median([a / b for a, b in zip(theirs, ours)])


def claims(size, seconds, k):
    """Yields a line for each claim that this run has the numbers for."""
    wanted = [
        ("exact", "matmul + top_k", 8, 0.5),
        ("exact", "matmul + top_k", 32, 0.5),
        ("exact", "faiss flat", 8, 1.0),
        ("exact", "faiss flat", 32, 1.0),
        ("ivf", "exact", 1, 1 / 3),
        ("int8", "exact", 1, 1.5),
        ("int8", "exact", 8, 1.2),
        ("int8", "exact", 32, 1.2),
    ]
    for one, other, batch, most in wanted:
        turns = seconds.get(batch, {})
        if size >= CLAIMED and one in turns and other in turns:
            ratio = ratios(turns[one], turns[other])
            verdict = "" if ratio <= most else "; MISSED"
            yield (
                f"{size:,} rows, k {k}, batch {batch}: {one} takes {ratio:.2f} of "
                f"{other} (claim: at most {most:.2f}{verdict})."
            )


def compare(size, options):
    """Returns rows of the table for a gallery of so many rows, notes, and the data."""
    table, notes = [], []
    contestants = {}
    with tempfile.TemporaryDirectory() as folder:
        what = write_arrays(Path(folder), options, size)
        try:
            for name in options.only or SEARCHES:
                each = Contestant(name, folder, options)
                if each.built.get("missing"):
                    package = SEARCHES[name].package
                    notes.append(f"{name}: not installed ({package}).")
                    each.close()
                    continue
                contestants[name] = each
                print(f"{size:,} rows: {name} {each.built}", file=sys.stderr)
                if each.built["note"]:
                    notes.append(f"{size:,} rows, {name}: {each.built['note']}.")
            for k in options.k:
                some, more = measured(size, k, contestants, options)
                table += some
                notes += more
        finally:
            for each in contestants.values():
                each.close()
    return table, notes, what


def measured(size, k, contestants, options):
    """Returns the table's rows for one number of neighbours, and the claims' lines."""
    found = {name: each.ask(k=k) for name, each in contestants.items()}
    seconds = {
        batch: timed(contestants, k, batch, options) for batch in options.batch_sizes
    }
    rows = []
    for name, each in contestants.items():
        turns = [seconds[batch][name] for batch in options.batch_sizes]
        to_exact = [
            ratios(seconds[batch][name], seconds[batch]["exact"])
            if "exact" in contestants
            else None
            for batch in options.batch_sizes
        ]
        rows.append(
            [
                *(f"{size:,}", k, name),
                *(f"{1000 * measure.median(each):.2f}" for each in turns),
                *(each and f"{each:.2f}" for each in to_exact),
                found[name]["recall"],
                f"{each.built['held']:.0f}",
                f"{found[name]['peak']:.0f}",
                f"{each.built['build']:.0f}",
            ]
        )
    return rows, list(claims(size, seconds, k))


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    if options.serve:
        serve(options)
        return
    table, notes = [], []
    for size in options.rows:
        rows, more, what = compare(size, options)
        table += rows
        notes += more
    columns = ["rows", "k", "search"]
    columns += [f"ms, {batch}" for batch in options.batch_sizes]
    columns += [f"x exact, {batch}" for batch in options.batch_sizes]
    columns += ["recall@k", "held MB", "search MB", "build s"]
    measure.print_table(
        f"{what}; d = {options.dim}, batches of "
        f"{', '.join(map(str, options.batch_sizes))}, {options.threads} threads",
        columns,
        table,
        notes,
    )


if __name__ == "__main__":
    main()
