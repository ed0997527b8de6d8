"""The package starts quickly.

    python benchmarks/startup.py

`import tfembed.layers, tfembed.losses` beside what everything built on Keras pays,
`from tensorflow import keras; keras.layers`: at most 0.5 s more. `--help` of each
command of the package: under 1 s, because it does without TensorFlow.

Each number is a fresh process from start to end, on warm caches; the processes take
turns, and the table shows medians and the least, and how far above Keras each of the
two is: where other work runs on the machine, the least is the one to look at.
"""

import argparse
import ast
import os
import subprocess
import sys
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
KERAS = "from tensorflow import keras; keras.layers"
OURS = "import tfembed.layers, tfembed.losses"
# Started by other commands, with arguments of their own.
FOR_MACHINES = {"tfembed.export.replay"}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument(
        "--only-help", action="store_true", help="leave the imports of TensorFlow out"
    )
    return parser.parse_args(argv)


def commands():
    """Returns the modules of the package that are run with `python -m`."""
    found = set()
    for path in (ROOT / "tfembed").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If) and "__main__" in ast.dump(node.test):
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.add(".".join(part for part in parts if part != "__main__"))
    return sorted(found - FOR_MACHINES)


def process(*words):
    """Returns a function that runs a Python process to its end."""
    environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *words]
    return lambda: subprocess.run(
        command, check=True, capture_output=True, cwd=ROOT, env=environ
    )


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    variants = {"python -c pass": process("-c", "pass")}
    if not options.only_help:
        variants[KERAS] = process("-c", KERAS)
        variants[OURS] = process("-c", OURS)
    for command in commands():
        variants[f"{command} --help"] = process("-m", command, "--help")
    seconds = measure.in_turn(variants, options.repetitions)
    medians = {name: measure.median(values) for name, values in seconds.items()}
    rows = []
    for name in variants:
        row = [name, medians[name], min(seconds[name])]
        if name == OURS:
            least = min(seconds[name]) - min(seconds[KERAS])
            row += [medians[name] - medians[KERAS], least, "0.5 s above Keras"]
        elif name.endswith("--help"):
            row += [None, None, "1 s"]
        else:
            row += [None, None, None]
        rows.append(row)
    measure.print_table(
        f"Fresh processes, {options.repetitions} of each",
        ["process", "median s", "min s", "above Keras", "by the min", "at most"],
        rows,
    )


if __name__ == "__main__":
    main()
