"""At a tiny size, beside a stand-in for the other side that counts by numpy."""

import subprocess
import sys

import pytest

TINY = ["--size=60", "--few-size=60", "--dim=8", "--repetitions=1"]
STAND_IN = """#!{python}
import json, sys
import numpy as np
x, y, queries = (np.load(f"{{sys.argv[2]}}/{{n}}.npy")
                 for n in ("embeddings", "labels", "queries"))
s = x @ x.T
np.fill_diagonal(s, -9)
right = (y[np.argsort(-s, axis=1)] == y[:, None])[:queries]
ranks = np.arange(1, len(y) + 1)
total = right.sum(1) - 1  # itself comes last
inside = right & (ranks <= total[:, None])
found = (inside * np.cumsum(right, 1) / ranks).sum(1) / total
print(json.dumps({{"seconds": 1, "processors": 2, "peak": 3.0,
                   "R@1": right[:, 0].mean(), "MAP@R": found.mean()}}))
"""


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "python"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_the_table(script, table, stand_in, capsys, monkeypatch):
    module = script("evaluation")
    child = module.measure.child

    def in_this_process(command, **options):
        if "--arrays" not in command[-1]:
            return child(command, **options)
        module.main(command[2:])  # the other process would import TensorFlow anew
        return __import__("json").loads(capsys.readouterr().out)

    monkeypatch.setattr(module.measure, "child", in_this_process)
    module.main([*TINY, f"--torch-python={stand_in}", "--queries=45"])
    printed = capsys.readouterr().out
    rows = table(printed)
    assert [row["side"] for row in rows] == [module.OURS, module.THEIRS] * 2
    assert rows[1]["times as fast"] == "1.000"
    assert printed.count("differ by at most") == 2
    for ours, theirs in (rows[:2], rows[2:]):
        assert ours["R@1"] == theirs["R@1"] and ours["MAP@R"] == theirs["MAP@R"]
        assert float(ours["peak MB"]) > 50
    module.main([*TINY, "--memory"])
    (row,) = table(capsys.readouterr().out)
    assert row["case"] == "60 rows, 10 classes" and row["times as fast"] == "-"


def test_the_other_side_explains_itself_without_pytorch(folder):
    done = subprocess.run(
        [sys.executable, folder / "evaluation_torch.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "AccuracyCalculator" in done.stdout
