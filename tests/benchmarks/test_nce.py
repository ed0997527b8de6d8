"""At a tiny size, beside a stand-in for PyTorch that computes by numpy."""

import subprocess
import sys

import pytest

TINY = ["--size=40", "--dim=8", "--batch-size=4", "--num-negatives=6"]
STAND_IN = """#!{python}
import json, math, sys
import numpy as np
check = [word.split("=")[1] for word in sys.argv if word.startswith("--check=")]
if check:
    a = {{key: value.astype("float64") for key, value in np.load(check[0]).items()}}
    rows = np.concatenate([a["own"][:, None], a["noise"]], axis=1).astype(int)
    rows = a["bank"][rows]
    m, n = a["noise"].shape[1], len(a["bank"])
    p = np.exp(np.einsum("bmd,bd->bm", rows, a["embeddings"]) / 0.07 - a["log_z"])
    h = p / (p + m / n)
    loss = -np.log(h[:, 0]) - np.log(1 - h[:, 1:]).sum(1)
    pull = np.concatenate([h[:, :1] - 1, h[:, 1:]], axis=1) / 0.07 / len(rows)
    gradient = np.einsum("bm,bmd->bd", pull, rows)
    print(json.dumps({{"loss": loss.mean(), "gradient": gradient.tolist()}}))
else:
    print("ready", flush=True)
    for _ in sys.stdin:
        print(0.1, flush=True)
"""


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "python"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_the_table(script, table, stand_in):
    module = script("nce")
    module.main([*TINY, "--repetitions=1", f"--torch-python={stand_in}"])
    rows = table()
    assert [row["step"] for row in rows] == [
        module.BASE,
        "per_anchor",
        "per_anchor, rows updated",
        "shared",
        "shared, rows updated",
    ]
    assert float(rows[0]["times as fast"]) == 1.0
    assert all(float(row["times as fast"]) > 0 for row in rows)


def test_both_sides_compute_the_same(script, stand_in):
    loss, gradient = script("nce").largest_difference(stand_in)
    assert loss < 1e-5 and gradient < 1e-5


def test_without_pytorch_the_layer_alone(script, table):
    script("nce").main([*TINY, "--repetitions=1"])
    assert {row["times as fast"] for row in table()} == {"-"}


def test_an_interpreter_without_pytorch_is_told(script):
    with pytest.raises(SystemExit, match=r"could not run nce_torch\.py"):
        script("nce").Torch(script("nce").parse(["--torch-python=/bin/false"]))


def test_the_other_side_explains_itself_without_pytorch(folder):
    done = subprocess.run(
        [sys.executable, folder / "nce_torch.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "gather-and-bmm" in done.stdout
