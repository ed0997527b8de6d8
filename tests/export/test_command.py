"""`python -m tfembed.export` from a shell."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tfembed.export"]


def start(*args):
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        *(
            [name, "--help"]
            for name in ("model", "gallery", "list", "rollback", "prune")
        ),
    ],
    ids=" ".join,
)
def test_help_without_tensorflow(args):
    code = (
        "import sys; sys.modules['tensorflow'] = None; import runpy; "
        f"sys.argv = ['tfembed.export', *{args}]; "
        "runpy.run_module('tfembed.export', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "usage: python -m tfembed.export" in process.stdout


def test_errors_are_sentences(tmp_path):
    process = start("model", tmp_path / "none", tmp_path / "base")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: `run_dir` must be a run directory" in said
    assert "Traceback" not in said
    assert not (tmp_path / "base").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_it_leaves_no_version(exported, tmp_path, number):
    base = tmp_path / "base"
    process = start("model", exported.run_dir, base)
    while not list(base.glob(".tfembed-staging-*/saved_model.pb")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode != 0
    if number != signal.SIGKILL:
        assert not base.exists()
    else:
        assert all(path.name.startswith(".") for path in base.iterdir())
    process = start("model", exported.run_dir, base)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert f"published version 1: {base / '1'}" in output
    left = [path.name for path in base.iterdir() if "staging" in path.name]
    assert not left


def test_versions_come_back_are_pruned_and_listed_without_tensorflow(tmp_path):
    for number in ("1", "2", "3"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "saved_model.pb").write_text(number)
        (tmp_path / number / "card.json").write_text("{}")
    code = (
        "import sys; sys.modules['tensorflow'] = None; "
        "from tfembed.export.__main__ import main; "
        "main(['prune', sys.argv[1], '--keep', '2']); "
        "main(['rollback', sys.argv[1]]); main(['list', sys.argv[1]])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == "removed 1"
    assert lines[2] == f"published version 4: {tmp_path / '4'}"
    assert [line.split()[0] for line in lines[3:]] == ["number", "2", "3", "4"]
    assert (tmp_path / "4" / "saved_model.pb").read_text() == "2"
