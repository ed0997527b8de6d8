"""Zero rows to every public symbol, with TensorFlow's oneDNN ops and without them.

Each in a process of its own, which the fault ends on some processors.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("every_symbol.py")


def run(onednn, *arguments):
    """Returns what each case said, and the one that the process ended in, if any."""
    environment = {
        **os.environ,
        "TF_ENABLE_ONEDNN_OPTS": onednn,
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
    found, begun = {}, None
    for line in process.stdout.splitlines():
        if line.endswith(" ..."):
            begun = line[: -len(" ...")]
        elif begun and line.startswith(f"{begun}: "):
            found[begun] = line[len(begun) + 2 :]
            begun = None
    assert begun or process.returncode == 0, process.stderr[-2000:]
    if begun:
        said = " ".join(process.stderr.splitlines()[-3:])
        found[begun] = f"the process ended ({process.returncode}): {said}"
    return found, begun


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_no_product_and_no_network_runs_on_zero_rows(onednn):
    found, ended = run(onednn)
    while ended:  # go on behind it, to report the others too
        more, ended = run(onednn, "--after", ended)
        found.update(more)
    assert len(found) > 80, found
    wrong = [f"{name}: {said}" for name, said in found.items() if said != "held"]
    assert not wrong, "\n".join(wrong)
