"""A new gallery takes about twice the gallery's memory, and no new export.

    python benchmarks/gallery_update.py

A model with a small encoder and a gallery of 1,000,000 rows of 128 numbers, on disk.
Then each of these in a process of its own, from start to end:

- `update`: `tfembed.export.update_gallery` adds 1,000 rows and deletes 1,000;
- `replace`: the same with all rows replaced, from an `.npz`;
- `export`: the alternative, `tfembed.export.export_model` of a run whose gallery has
  those rows changed already.

Memory is what the process and its children hold of their own at most (proportional set
size, sampled), above what a process holds that has imported TensorFlow alone, as a
multiple of the embeddings' bytes. `check` is the process that asks the new version,
which loads it; it runs while the first waits.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import measure
import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--changed", type=int, default=1_000)
    parser.add_argument("--folder", help="where to write (default: a temporary one)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=("update", "replace", "export"))
    return parser.parse_args(argv)


def unit_rows(count, dim, seed):
    """Rows of length 1, float32."""
    rows = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows


def ids_of(first, count):
    """Ids as a catalogue has them."""
    return np.array([f"catalogue/{row:08d}.jpg" for row in range(first, first + count)])


def write_run(folder, rows, dim, first=0):
    """Writes a run directory: a small encoder, and a gallery."""
    import tensorflow as tf

    keras = tf.keras
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(16, 3, strides=4, activation="relu")(inputs)
    x = keras.layers.Dense(dim)(keras.layers.Flatten()(x))
    outputs = keras.layers.UnitNormalization()(x)
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    keras.Model(inputs, outputs).save(folder / "model.keras")
    write_gallery(folder / "gallery.npz", rows, dim, first)


def write_gallery(path, rows, dim, first=0, seed=0):
    """Writes an `.npz` of rows of 100 classes."""
    np.savez(
        path,
        embeddings=unit_rows(rows, dim, seed),
        labels=np.arange(rows) % 100,
        ids=ids_of(first, rows),
        class_names=np.array([f"class {number}" for number in range(100)]),
    )


def prepare(options, folder):
    """Writes the model, and what changes it."""
    from tfembed.export import export_model

    write_run(folder / "run", options.rows, options.dim)
    export_model(folder / "run", folder / "model", report=None)
    write_gallery(folder / "new.npz", options.changed, options.dim, options.rows, 1)
    write_gallery(folder / "all.npz", options.rows, options.dim, 0, 2)


def update(options, folder):
    """Adds and deletes rows."""
    from tfembed.export import update_gallery

    gone = ids_of(0, options.changed).tolist()
    update_gallery(folder / "base", add=folder / "new.npz", delete=gone, report=say)


def replace(options, folder):
    """Replaces all rows."""
    from tfembed.export import update_gallery

    update_gallery(folder / "base", replace_all=folder / "all.npz", report=say)


def export(options, folder):
    """Exports encoder and gallery again."""
    from tfembed.export import export_model

    export_model(folder / "run", folder / "base", report=say)


def say(line):
    """Progress, where it does not stand in the way of the result."""
    print(line, file=sys.stderr, flush=True)


def idle(options, folder):
    """Does nothing, with TensorFlow imported: what memory is counted from."""
    import tensorflow as tf

    tf.constant(0)
    time.sleep(2)


PARTS = {
    "prepare": prepare,
    "update": update,
    "replace": replace,
    "export": export,
    "idle": idle,
}


def pss_of(pid):
    """Bytes that a process holds, shared ones divided by their holders."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in text.splitlines()]
    # Pages of files (maps of the input) are the disk's cache, not the process' own.
    return sum(int(line[1]) for line in lines if line[0] == "Pss_Anon:") * 1024


def children_of(pid):
    """Processes below one, all of them."""
    found = []
    for task in Path("/proc").glob(f"{pid}/task/*/children"):
        for child in task.read_text().split():
            found += [int(child), *children_of(int(child))]
    return found


def measured(part, options, folder):
    """Runs a part; returns seconds, and peaks of its own and of its children."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
    for name in ("rows", "dim", "changed"):
        command += [f"--{name}", str(getattr(options, name))]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    peaks = {"own": 0, "check": 0, "both": 0}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environ, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    said = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr))
    reader.start()
    while process.poll() is None:
        own = pss_of(process.pid)
        try:
            below = sum(map(pss_of, children_of(process.pid)))
        except OSError:
            below = 0
        for name, value in (("own", own), ("check", below), ("both", own + below)):
            peaks[name] = max(peaks[name], value)
        time.sleep(0.05)
    reader.join()
    if process.returncode:
        raise RuntimeError(f"{part} ended with {process.returncode}:\n{''.join(said)}")
    return time.perf_counter() - start, peaks, said


def fresh_base(folder):
    """Makes `base` the first version alone again."""
    shutil.rmtree(folder / "base", ignore_errors=True)
    shutil.copytree(folder / "model", folder / "base", copy_function=os.link)


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    if options.part:
        PARTS[options.part](options, Path(options.folder))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        measured("prepare", options, folder)
        gallery = 4 * options.rows * options.dim
        floor = measured("idle", options, folder)[1]["own"]
        runs = {}
        parts = options.only or ("update", "replace", "export")
        for _ in range(options.repetitions):
            for part in parts:
                fresh_base(folder)
                runs.setdefault(part, []).append(measured(part, options, folder))
        rows = []
        for part, results in runs.items():
            seconds = [result[0] for result in results]
            peaks = {
                name: max(result[1][name] for result in results)
                for name in ("own", "check", "both")
            }
            rows.append(
                [
                    part,
                    measure.median(seconds),
                    min(seconds),
                    (peaks["own"] - floor) / gallery,
                    peaks["check"] / gallery,
                    (peaks["both"] - floor) / gallery,
                ]
            )
    measure.print_table(
        f"{options.rows:,} rows of {options.dim} numbers ({gallery / 1e6:.0f} MB), "
        f"{options.changed:,} added and as many deleted, {options.repetitions} runs",
        ["what", "median s", "min s", "x memory", "x of its check", "x both at once"],
        rows,
        [f"TensorFlow alone holds {floor / 1e6:.0f} MB, which are not counted."],
    )
    print(json.dumps({part: runs[part][-1][2] for part in runs}), file=sys.stderr)


if __name__ == "__main__":
    main()
