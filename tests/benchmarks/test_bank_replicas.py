"""At a tiny size, in a process of its own: it has its own strategy."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_table(folder, table):
    done = subprocess.run(
        [
            sys.executable,
            folder / "bank_replicas.py",
            *("--size=70", "--batch-size=4", "--steps=1", "--repetitions=1"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = table(done.stdout)
    names = [row["on all replicas"] for row in rows]
    assert names == ["whole training step", "rows read", "rows updated", "empty step"]
    assert all(float(row["median ms"]) > 0 for row in rows)
    assert rows[-1]["share"] == "0.0%"
