"""Every benchmark is listed, and says what it claims and how it is run."""

import ast
import pathlib

import pytest

SHARED = ("measure.py", "recipe_runs.py")


def scripts(folder):
    return sorted(
        path
        for path in folder.glob("*.py")
        if path.name not in SHARED and not path.stem.endswith("_torch")
    )


def test_every_script_is_listed(folder):
    readme = (folder / "README.md").read_text()
    for path in scripts(folder):
        assert f"`{path.name}`" in readme and f"benchmarks/{path.name}" in readme


def test_every_script_says_how_it_is_run(folder):
    for path in scripts(folder):
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert f"python benchmarks/{path.name}" in docstring


@pytest.mark.parametrize(
    "name",
    sorted(
        path.stem for path in scripts(pathlib.Path(__file__).parents[2] / "benchmarks")
    ),
)
def test_help(name, script, capsys):
    with pytest.raises(SystemExit) as end:
        script(name).parse(["--help"])
    assert end.value.code == 0
    assert f"benchmarks/{name}.py" in capsys.readouterr().out
