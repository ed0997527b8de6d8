"""What type checkers and editors read in place of a room's `__init__`."""

import ast
import importlib
import inspect

import pytest
from shared import ROOT, loaded

PACKAGE = ROOT / "tfembed"


STUBS = loaded("docs/write_stubs.py").stubs()
each_stub = pytest.mark.parametrize("path", STUBS, ids=lambda path: path.parent.name)


@each_stub
def test_it_is_up_to_date(path):
    written = path.read_text(encoding="utf-8")
    assert written == STUBS[path], "run python docs/write_stubs.py"


def test_there_are_no_others():
    assert set(PACKAGE.rglob("*.pyi")) == set(STUBS)


@each_stub
def test_it_has_what_is_public_from_where_it_is(path):
    room = importlib.import_module(f"tfembed.{path.parent.name}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {each.name for each in tree.body if isinstance(each, ast.ClassDef)}
    for each in tree.body:
        if isinstance(each, ast.ImportFrom) and each.module.startswith("tfembed."):
            names = {x.name for x in each.names if x.asname == x.name}
            if each.module != "tfembed.interop.beam":  # needs Apache Beam
                home = importlib.import_module(each.module)
                assert all(getattr(home, x) is getattr(room, x) for x in names)
            found |= names
    assert set(room.__all__) <= found


@pytest.mark.parametrize("room", ["losses", "miners", "weighting"])
def test_constructors_take_ignore_label(room):
    """It is in no constructor's text, and every loss and miner takes it."""
    module = importlib.import_module(f"tfembed.{room}")
    tree = ast.parse((PACKAGE / room / "__init__.pyi").read_text(encoding="utf-8"))
    classes = [each for each in tree.body if isinstance(each, ast.ClassDef)]
    for each in classes:
        (written,) = (x for x in each.body if isinstance(x, ast.FunctionDef))
        names = [x.arg for x in written.args.args + written.args.kwonlyargs]
        known = inspect.signature(getattr(module, each.name).__init__).parameters
        assert names == [*(x for x in known if x != "ignore_label"), "ignore_label"]
    assert classes
