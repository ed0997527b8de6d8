"""At tiny sizes, beside a stand-in for PyTorch that takes a constant time."""

import inspect
import subprocess
import sys

import pytest

TINY = ["--dim=8", "--batch-sizes", "16", "--repetitions=1", "--seconds=0"]
STAND_IN = """#!{python}
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    refused = message.get("make", {{}}).get("class") == "CircleLoss"
    answer = {{"refused": True}} if refused else {{"seconds": [1000.0, 2000.0]}}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "python"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_the_table(script, table, stand_in):
    script("losses").main(
        [
            *(*TINY, f"--torch-python={stand_in}"),
            *("--only", "Circle", "MultiSimilarity", "Triplet, hard", "ArcFace"),
        ]
    )
    rows = {row["loss"]: row for row in table()}
    assert list(rows) == ["Circle", "MultiSimilarity", "Triplet, hard", "ArcFace"]
    assert rows["Circle"]["x PML"] == "> 10 GB"
    for name in ("MultiSimilarity", "Triplet, hard", "ArcFace"):
        assert float(rows[name]["our ms"]) > 0
        assert float(rows[name]["x PML"]) > 1
    assert rows["MultiSimilarity"]["x Addons"] == "-"


def test_a_ratio_is_the_median_of_the_turns(script):
    theirs = [[2.0, 1.0], [9.0, 1.0], [6.0, 1.0]]
    ours = [[1.0, 1.0], [3.0, 0.5], [1.0, 0.1]]
    module = script("losses")
    assert module.ratio(theirs, ours, 0) == 3
    assert module.ratio(theirs, ours, 1) == 2


def test_every_loss_is_timed(script):
    from tfembed import losses
    from tfembed.losses.base import FunctionalLoss

    timed = " ".join(c.ours for c in script("losses").COMPARED.values())
    for name, value in vars(losses).items():
        if value is FunctionalLoss:
            continue  # what all of them are
        if inspect.isclass(value) and issubclass(value, FunctionalLoss):
            assert f"{name}(" in timed, name


@pytest.mark.slow
def test_the_memory_of_a_fresh_process(script, table):
    script("losses").main(
        [
            *("--memory", "--dim=8", "--memory-batch-size=64", "--row-chunk=16"),
            *("--only", "MultiSimilarity"),
        ]
    )
    (row,) = table()
    assert 0 <= float(row["row_chunk=16"]) < 500 and 0 <= float(row["at once"]) < 500


def test_unknown_losses_are_told(script, capsys):
    with pytest.raises(SystemExit):
        script("losses").parse(["--only", "Nothing"])
    assert "MultiSimilarity" in capsys.readouterr().err


def test_the_other_side_explains_itself_without_pytorch(folder):
    done = subprocess.run(
        [sys.executable, folder / "losses_torch.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pytorch-metric-learning" in done.stdout
