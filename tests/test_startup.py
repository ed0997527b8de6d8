"""What starts without TensorFlow, and what without the optional packages."""

import ast
import pathlib
import resource
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPTIONAL = {
    "PIL",
    "apache_beam",
    "faiss",
    "grpc",
    "keras_cv",
    "matplotlib",
    "nmslib",
    "pandas",
    "prometheus_client",
    "requests",
    "sklearn",
    "tensorflow_addons",
    "tensorflow_datasets",
    "tensorflow_serving",
    "tensorflow_similarity",
    "waitress",
    "werkzeug",
}
# Keras' own image and callback modules import these where they are there.
KERAS_TRIES = {"PIL", "pandas", "requests", "matplotlib", "sklearn"}
# What another command starts, with arguments of its own.
FOR_MACHINES = {"tfembed.export.replay"}
PRINT_IMPORTED = "import sys; print(*{name.split('.')[0] for name in sys.modules})"


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


def imported_by(statement):
    done = run(f"{statement}; {PRINT_IMPORTED}")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def commands():
    """Returns every module of tfembed that a person runs with -m."""
    found = []
    for path in sorted((ROOT / "tfembed").rglob("*.py")):
        main = [
            node
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.If) and "__main__" in ast.dump(node.test)
        ]
        if main:
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            found.append(name[: -len(".__main__")] if "__main__" in name else name)
    return sorted(set(found) - FOR_MACHINES)


def test_the_package_does_not_import_tensorflow():
    there = imported_by("import tfembed; tfembed.__version__")
    assert "tfembed" in there
    assert not there & {"tensorflow", "keras", "numpy", *OPTIONAL}


def test_the_version_is_the_one_of_setup():
    done = run("import tfembed; print(tfembed.__version__)")
    assert f'__version__ = "{done.stdout.strip()}"' in (
        (ROOT / "tfembed" / "version.py").read_text(encoding="utf-8")
    )


def test_the_rooms_do_not_import_optional_packages():
    rooms = sorted(
        path.parent.name
        for path in (ROOT / "tfembed").glob("*/__init__.py")
        if path.parent.name != "report"
    )
    assert "layers" in rooms
    statement = "; ".join(f"import tfembed.{room}" for room in rooms)
    alone = imported_by("import tensorflow as tf; tf.keras.layers.Layer")
    assert not (imported_by(statement) - alone - KERAS_TRIES) & OPTIONAL


HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
code = 0
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
print("ended with", code)
print("imported", *{name.split(".")[0] for name in sys.modules})
"""


def test_every_command_ends_with_the_status_that_its_main_returns():
    # That of a recipe ends the process itself.
    own = [name for name in commands() if not name.startswith("tfembed.recipes")]
    assert len(own) > 5
    for command in own:
        place = ROOT / command.replace(".", "/")
        path = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
        said = [ast.unparse(line) for line in last.body]
        assert said[-1].startswith("sys.exit("), (command, said)


def test_there_are_commands():
    assert {"tfembed.export", "tfembed.serving"} <= set(commands())


@pytest.mark.parametrize("command", [*commands(), "run"])
def test_help_is_quick_and_does_without_tensorflow(command):
    seconds = []
    for _ in range(3):  # processor time, the least of three: load makes it only longer
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(HELP, command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime)
        seconds[-1] -= before.ru_utime + before.ru_stime
        if seconds[-1] < 1:
            break
    words, _, imported = done.stdout.rpartition("imported ")
    assert "ended with 0" in words, done.stdout + done.stderr
    assert command.rpartition(".")[-1] in words
    assert not {"tensorflow", "keras"} & set(imported.split())
    assert min(seconds) < 1
