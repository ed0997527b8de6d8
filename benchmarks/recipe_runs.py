"""Runs of recipes, each as a command of its own: started, found again, read."""

import argparse
import concurrent.futures
import csv
import json
import os
import platform
import queue
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build_parser(description, runs):
    """Returns a parser of the options that all benchmarks of recipes take.

    Args:
        description: The script's docstring.
        runs: Name of the folder below `runs/` where they are by default.
    """
    built = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = built.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--jobs", type=_jobs, default=1, help="runs at the same time")
    add("--pin", action="store_true", help="one core, and one thread, for each job")
    add("--table", action="store_true", help="train nothing")
    add("--runs", type=Path, default=ROOT / "runs" / runs)
    add("--dataset", default="fashion_mnist")
    add("--data-dir")
    add("--limit", type=int, default=20000)
    add("--test-limit", type=int)
    return built


def check_rows(parser, rows, known):
    """Ends the program where `--rows` names a row that there is not."""
    unknown = set(rows or ()) - set(known)
    if unknown:
        parser.error(f"--rows must be among {list(known)}. Received: {unknown}.")


def _jobs(text):
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}.")
    return int(text)


def data_settings(options):
    """Returns the flags of a run that say which images."""
    return {
        "dataset": options.dataset,
        "data_dir": options.data_dir,
        "limit": options.limit,
        "test_limit": options.test_limit,
    }


def slug(text):
    """Returns a text as part of a folder's name."""
    for old, new in ((",", ""), ("+ ", ""), (" ", "-"), (":", "-"), ("/", "-")):
        text = text.replace(old, new)
    return text


def finished(options, runs):
    """Trains what is missing, unless it is not to.

    Args:
        options: What a `build_parser` parser read.
        runs: `{key: (run directory, command)}`.

    Returns:
        `{key: result.json}` of the finished runs, and the number of failed ones.
    """
    failed = 0 if options.table else train(runs, options.jobs, options.pin)
    return gather(runs), failed


def command(recipe, settings):
    """Returns the command of a run, its settings as flags; `None` is left out."""
    words = [sys.executable, "-m", f"tfembed.recipes.{recipe}"]
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words.append(f"--{flag}={value}")
    return words


def train(runs, jobs, pin):
    """Runs what is not finished, `jobs` at a time.

    Args:
        runs: `{key: (run directory, command)}`.
        jobs: Runs at the same time.
        pin: Whether each has a core, and one thread, to itself.

    Returns:
        Number of runs that failed.
    """
    cores = queue.SimpleQueue()
    usable = sorted(os.sched_getaffinity(0))
    for number in range(jobs):
        cores.put(usable[number % len(usable)])

    def run(key):
        folder, command = runs[key]
        core = cores.get()
        try:
            print(f"start {folder.name}", file=sys.stderr, flush=True)
            return key, start(command, folder, core if pin else None)
        finally:
            cores.put(core)

    waiting = [key for key in runs if not (runs[key][0] / "result.json").exists()]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for key, code in pool.map(run, waiting):
            folder = runs[key][0]
            if code:
                failed += 1
                log = log_of(folder)
                print(f"FAILED ({code}), see {log}", file=sys.stderr, flush=True)
            else:
                print(f"done  {folder.name}", file=sys.stderr, flush=True)
    return failed


def log_of(folder):
    """Returns where a run's words go: beside its directory."""
    return folder.with_name(f"{folder.name}.txt")


def start(command, folder, core):
    """Runs one command to its end; returns its exit code."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "PYTHONPATH": path_with(ROOT)}
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
        for name in (
            "OMP_NUM_THREADS",
            "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS",
        ):
            environ[name] = "1"
    with open(log_of(folder), "a") as log:
        return subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
        ).returncode


def path_with(folder):
    """Returns `PYTHONPATH` with a folder in front."""
    return os.pathsep.join([str(folder), *filter(None, [os.getenv("PYTHONPATH")])])


def gather(runs):
    """Returns `{key: result.json}` of the finished runs."""
    return {
        key: json.loads((folder / "result.json").read_text())
        for key, (folder, _) in runs.items()
        if (folder / "result.json").exists()
    }


class Record:
    """What finished runs came to, in a file that the repository keeps.

    A table of several seeds takes longer than one sitting on a small machine; its rows
    may come from several days and machines, each with the machine that made it.

    Args:
        path: JSON file; one that is not there holds nothing.
    """

    def __init__(self, path):
        self.path = Path(path)
        text = self.path.read_text() if self.path.exists() else "{}"
        self.rows = json.loads(text)

    @staticmethod
    def name(folder):
        """Returns what a run is called here, from its directory."""
        return f"{folder.parent.name}/{folder.name}"

    def missing(self, runs):
        """Returns those of `{key: (run directory, command)}` that are not here."""
        return {
            key: run for key, run in runs.items() if self.name(run[0]) not in self.rows
        }

    def write(self, rows):
        """Adds `{name: row}`, with what made them; sorted, so that changes are read."""
        made = made_by()
        for name, row in rows.items():
            self.rows.setdefault(name, {**row, "made": made})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.rows, indent=1, sort_keys=True) + "\n")
        os.replace(part, self.path)


def made_by():
    """Returns what a figure depends on beside its command: processor, TensorFlow."""
    import tensorflow as tf

    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if "model name" in line]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
    }


def log(folder):
    """Returns the rows of a run's `log.csv`, numbers as floats."""
    with open(folder / "log.csv") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def minutes(result):
    """Returns how long a run took; of one that was interrupted, its last part."""
    text = f"{result['seconds'] / 60:.1f}"
    whole = f"epochs 1 to {result['epochs']}"
    return text if result["seconds_are_of"] == whole else f"{text} (last part)"


def points(share):
    """Formats an accuracy in percent."""
    return "-" if share is None else f"{100 * share:.1f}"
