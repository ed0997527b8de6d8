"""What type checkers and editors read of the losses is what the code does."""

import ast
import inspect
import pathlib

import pytest

from tfembed import losses

ROOT = pathlib.Path(__file__).resolve().parents[2]
STUB = ROOT / "tfembed" / "losses" / "__init__.pyi"
TREE = ast.parse(STUB.read_text(encoding="utf-8"))


def defined():
    """Returns what the stub defines and imports from the room, by name."""
    names = {each.name: each for each in TREE.body if isinstance(each, ast.ClassDef)}
    for each in TREE.body:
        if isinstance(each, ast.ImportFrom) and each.module.startswith("tfembed"):
            # Only `import a as a` is public in a stub.
            names.update({x.name: each for x in each.names if x.name == x.asname})
    return names


def test_it_has_all_that_is_public():
    (public,) = (
        ast.literal_eval(each.value)
        for each in TREE.body
        if isinstance(each, ast.Assign) and each.targets[0].id == "__all__"
    )
    assert public == losses.__all__
    assert set(defined()) == {"FunctionalLoss", *losses.__all__}
    for name, each in defined().items():
        if isinstance(each, ast.ImportFrom):
            assert each.module == getattr(losses, name).__module__


@pytest.mark.parametrize(
    "name", [each.name for each in TREE.body if isinstance(each, ast.ClassDef)]
)
def test_constructors_take_what_the_stub_says(name):
    loss = getattr(losses, name)
    (constructor,) = (
        each for each in defined()[name].body if isinstance(each, ast.FunctionDef)
    )
    said = constructor.args
    arguments = [each.arg for each in said.args]
    defaults = [ast.literal_eval(each) for each in said.defaults]
    known = inspect.signature(loss.__init__).parameters
    assert constructor.name == "__init__" and arguments == list(known)
    assert defaults == [each.default for each in known.values()][-len(defaults) :]
    assert [each.arg for each in said.kwonlyargs] == ["ignore_label"]
    if len(defaults) == len(known) - 1:  # all but self
        assert loss(*defaults, ignore_label=0).ignore_label == 0


@pytest.mark.parametrize(
    "written", ["from tfembed.losses import Circle\nCircle(", "losses.Circle("]
)
def test_an_editor_shows_the_settings(written):
    jedi = pytest.importorskip("jedi")
    source = f"from tfembed import losses\n{written}"
    project = jedi.Project(ROOT, sys_path=[str(ROOT)], smart_sys_path=False)
    (shown,) = jedi.Script(source, project=project).get_signatures()
    names = [each.name for each in shown.params]
    assert names == [*inspect.signature(losses.Circle).parameters, "ignore_label"]
