"""What tests of several rooms share: folders written once, older exports, processes."""

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def loaded(path):
    """Returns a script as a module, made anew and known to no import.

    Args:
        path: Of the file, from the repository's root.
    """
    path = ROOT / path
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_a_fresh_process(words, folder):
    """Runs Python with a folder's modules and packages beside tfembed's."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def table_of(document, heading):
    """Returns the rows of the first table below a heading, `[[cell, ...], ...]`.

    Args:
        document: Path of a Markdown file, from the repository's root.
        heading: Text of the heading, or any other line that begins so.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    _, found, below = text.partition(f"\n{heading}")
    assert found, f"{document} has no line that begins with {heading!r}"
    rows = re.search(r"(?m)^\|.*\n\|[-|: ]+\|\n((?:\|.*\n)+)", below).group(1)
    return [
        [cell.strip() for cell in row.strip("|").split(" |")]
        for row in rows.splitlines()
    ]


def written_once(tmp_path_factory, name, write):
    """Returns a folder that `write(folder)` filled, in this process or another.

    Tests that run side by side share it, so none may change what is in it.
    """
    root = tmp_path_factory.getbasetemp()
    if root.name.startswith("popen-"):  # of one of several workers
        root = root.parent
    folder = root / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        if not done.exists():
            folder.mkdir()  # fails where `write` failed before
            write(folder)
            done.touch()
    return folder


def without_lines(saved_model_dir):
    """Takes `query` and the signatures `..._lines` away: as older tfembeds exported."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = saved_model_dir / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signatures = model.meta_graphs[0].signature_def
    for name in list(signatures):
        if name.endswith("_lines") or name == "query":
            del signatures[name]
    path.write_bytes(model.SerializeToString())
