"""What the benchmarks share: runs in turn, peaks of memory, one table."""

import json
import os
import statistics
import subprocess
import sys
import time


def in_turn(variants, repetitions):
    """Times variants one after the other, again and again.

    What else the machine does meets all of them alike. The first run of each, which
    traces and allocates, does not count.

    Args:
        variants: `{name: function without arguments}`; a function returns when its
            work is done.
        repetitions: Timed runs of each.

    Returns:
        `{name: seconds of each run}`.
    """
    for run in variants.values():
        run()
    seconds = {name: [] for name in variants}
    for _ in range(repetitions):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values):
    """Returns the median of numbers."""
    return statistics.median(values)


def peak_mb():
    """Returns this process' peak of resident memory so far, in MB (Linux)."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM; this needs Linux.")


def reset_peak():
    """Makes the peak start from what is resident now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def child(arguments, **options):
    """Runs a Python process, and returns the JSON of its last line.

    Args:
        arguments: Command-line words, the interpreter first.
        **options: Of `subprocess.run`.

    Raises:
        RuntimeError: If the process fails; it holds what the process said.
    """
    done = subprocess.run(arguments, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, arguments))} ended with {done.returncode}:\n"
            f"{done.stderr[-4000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def print_table(title, columns, rows, notes=()):
    """Prints a table in Markdown, under one line that says what was run on.

    Args:
        title: What is compared, at which sizes.
        columns: Heads of the columns.
        rows: Lists of cells; numbers are printed with three digits.
        notes: Lines below the table.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells)]
    print(f"{title}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(_line(columns, widths))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in cells:
        print(_line(row, widths))
    if notes:
        print()
    for note in notes:
        print(note)
    sys.stdout.flush()


def _line(cells, widths):
    first, *others = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths))
    )
    return "| " + " | ".join([first, *others]) + " |"


def _cell(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return format(value, ".1e" if 0 < abs(value) < 1e-3 else ".3f")
    return str(value)
