"""What commands print: what they have to say, not what libraries say of themselves."""

import ast
import os
import subprocess
import sys

import pytest
from small_runs import ROOT
from test_startup import commands

from tfembed.quiet_imports import _without_noise, audible, import_keras_cv

NOISE = (
    "Unable to register",
    "Using TensorFlow backend",
    "shuffle=True",
    "oneDNN custom operations",
    "Could not find cuda drivers",
    "InitializeLog",
    "cuInit",
    "TF-TRT",
)
# Commands that import no TensorFlow.
WITHOUT = {
    "tfembed.data.fashion_mnist",
    "tfembed.data.tuxpaint_stamps",
    "tfembed.recipes",
}


def run(code, *arguments, **environ):
    environ = {
        **{k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"},
        **environ,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


# A run of a recipe, between two warnings of a user's own.
RUN = """
import sys, warnings
warnings.warn("of my own")
from tfembed.recipes import instdisc
sys.argv[0] = "instdisc"
instdisc.main()
import tensorflow as tf
tf.get_logger().warning("of TensorFlow's own")
warnings.warn("of my own, again")
"""


def test_a_run_of_a_recipe_says_nothing_of_its_libraries(tmp_path):
    small = {"limit": 16, "test-limit": 8, "epochs": 1, "batch-size": 8, "dim": 4}
    small.update(
        {"image-size": 16, "dataset": "synthetic", "run-dir": tmp_path / "run"}
    )
    words = [word for name, value in small.items() for word in (f"--{name}", value)]
    said = "".join(run(RUN, *words, "--no-linear-probe"))
    for words in NOISE:
        assert words not in said
    for words in ("of my own\n", "of my own, again", "of TensorFlow's own", "finished"):
        assert words in said


def test_a_level_that_was_set_is_kept():
    code = """
from tfembed.quiet_imports import quiet_start
import sys
quiet_start()
assert len([each for each in sys.meta_path if "Quiet" in repr(each)]) == 0
"""
    run(code, TF_CPP_MIN_LOG_LEVEL="0")


def test_every_command_starts_quietly():
    for command in sorted(set(commands()) - WITHOUT):
        folder = ROOT / command.replace(".", "/")
        path = folder / "__main__.py"
        path = path if path.is_file() else folder.with_suffix(".py")
        text = path.read_text(encoding="utf-8")
        if command.startswith("tfembed.recipes."):  # which all begin there
            assert "run_recipe(" in text
            text = (ROOT / "tfembed/recipes/training.py").read_text(encoding="utf-8")
        called = {
            node.func.id
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "quiet_start" in called, command


REGISTER = (
    b"2026-01-01 00:00:00.1: E external/local_xla/xla/stream_executor/cuda/cuda_dnn.cc:"
    b"9261] Unable to register cuDNN factory: Attempting to register factory\n"
)
HEAD = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to "
    b"STDERR\n"
)
DRIVER = b"E0000 00:00:1795924268.698747   1 a.cc:52] failed call to cuInit: INTERNAL\n"
INFORMATION = b"I0000 00:00:1795924756.953962   27845 port.cc:153] oneDNN is on.\n"
OTHER = b"E0000 00:00:1795924268.698747   1 other.cc:52] no room\n"


@pytest.mark.parametrize(
    ("text", "driver", "kept"),
    [
        (b"", False, b""),
        (REGISTER, True, b""),
        (b"a\n" + REGISTER + b"b", True, b"a\nb"),
        (HEAD + DRIVER, False, b""),
        (HEAD + INFORMATION + HEAD + INFORMATION, True, b""),
        (HEAD + DRIVER, True, HEAD + DRIVER),
        (HEAD + DRIVER + OTHER, False, HEAD + OTHER),
        (b"not \xff text\n", False, b"not \xff text\n"),
    ],
)
def test_only_noise_is_left_out(text, driver, kept):
    assert audible(text, driver) == kept


def test_what_is_not_noise_is_written_afterwards(capfd):
    with _without_noise():
        os.write(2, b"first\n" + REGISTER + b"last\n")
    assert capfd.readouterr().err == "first\nlast\n"


def test_keras_cv_prints_all_but_its_backend(tmp_path, monkeypatch, capsys):
    """Another module of that name stands in: the real one prints only once."""
    text = (
        "print('of its own')\nprint('Using TensorFlow backend')\nNAME = 'stands in'\n"
    )
    (tmp_path / "keras_cv.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras_cv", raising=False)
    assert import_keras_cv().NAME == "stands in"
    assert capsys.readouterr().out == "of its own\n"
    monkeypatch.delitem(sys.modules, "keras_cv")
