"""The migration page: what it names exists, and a test holds each of its rows."""

import ast
import importlib
import pathlib
import re

import pytest
from peers.recorded import classes

from tfembed import compat, layers, losses, miners, weighting

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "migration.md"
# The tests of each section of the page, and its shorthand for the library.
FILES = {
    "TensorFlow Addons": "test_tensorflow_addons.py",
    "TensorFlow Similarity": "test_tensorflow_similarity.py",
    "pytorch-metric-learning": "test_pytorch_metric_learning.py",
}
ROOMS = {
    "layers": layers,
    "losses": losses,
    "miners": miners,
    "weighting": weighting,
}
LIBRARIES = {"tfa": "tensorflow_addons", "tfsim": "tensorflow_similarity"}


def rows():
    """Yields the section, and the four cells of each row."""
    for section in re.split(r"(?m)^## ", PAGE.read_text(encoding="utf-8"))[1:]:
        title = section.splitlines()[0].strip()
        table = [line for line in section.splitlines() if line.startswith("|")]
        for line in table[2:]:
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            yield pytest.param(title, cells, id=f"{title} {cells[0]}")


def comparisons_of(section):
    """Returns the names of the tests of a section's file."""
    path = pathlib.Path(__file__).with_name(FILES[section])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def code(cell):
    """Returns what a cell has in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("section, cells", rows())
def test_what_a_row_names_exists(section, cells):
    theirs, ours, differs, held_by = cells
    assert differs
    for expression in code(ours):
        eval(expression, ROOMS)
    held = code(held_by)
    assert held and set(held) <= comparisons_of(section)
    for name in code(theirs):
        library, *path = name.split(".")
        if library == "pml":
            assert path[-1] in classes()
        elif not compat.KERAS_3:
            value = pytest.importorskip(LIBRARIES[library])
            for index, part in enumerate(path):
                if not hasattr(value, part):
                    stem = ".".join([LIBRARIES[library], *path[: index + 1]])
                    importlib.import_module(stem)
                value = getattr(value, part)


@pytest.mark.parametrize("section", FILES)
def test_every_comparison_stands_in_a_row(section):
    held = {
        name
        for param in rows()
        if param.values[0] == section
        for name in code(param.values[1][3])
    }
    assert comparisons_of(section) == held


def test_every_recorded_loss_stands_in_a_row():
    named = {
        name.split(".")[-1]
        for param in rows()
        if param.values[0] == "pytorch-metric-learning"
        for name in code(param.values[1][0])
    }
    assert classes() <= named
