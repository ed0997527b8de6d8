"""What the rooms list for everyone has hints: every parameter, every value returned.

Found by inspection, without a type checker, which `.ci/run` runs.
"""

import ast
import functools
import importlib
import inspect
import pathlib
import sys
import typing

import pytest
import tensorflow as tf
from setuptools import distutils
from tensorflow import keras

from tfembed import backbones, data

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The rooms whose public names all have hints.
ROOMS = [
    "backbones",
    "callbacks",
    "data",
    "dedup",
    "embed",
    "evaluate",
    "export",
    "layers",
    "losses",
    "metrics",
    "miners",
    "publish",
    "training",
    "weighting",
]


def plain(member):
    """Returns the function that was written, of a method, a property or a wrapper."""
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    if isinstance(member, functools.cached_property):
        member = member.func
    if isinstance(member, property):
        member = member.fget
    return inspect.unwrap(member) if callable(member) else member


def is_ours(function):
    """Tells a function of the package's, to be called by others."""
    private = function.__name__.startswith("_") and not function.__name__.endswith("__")
    written = not function.__code__.co_filename.startswith("<")  # as dataclasses do
    ours = function.__module__.split(".")[0] == "tfembed"
    return ours and written and not private and function.__name__ != "<lambda>"


def methods(cls):
    """Yields the public functions of a class, its parents' that are ours included."""
    for parent in cls.__mro__:
        for name, member in vars(parent).items():
            special = name.startswith("__") and name.endswith("__")
            if name == "__init_subclass__" or name.startswith("_") and not special:
                continue
            function = plain(member)
            if inspect.isfunction(function) and is_ours(function):
                yield function


def functions(names):
    """Yields all public functions of what a room lists, `{name: object}`."""
    for each in names.values():
        if inspect.isclass(each):
            yield from methods(each)
        elif inspect.isfunction(plain(each)) and is_ours(plain(each)):
            yield plain(each)


def listed(room):
    """Returns what a room lists, `{name: object}`, but what needs Apache Beam."""
    module, found = importlib.import_module(f"tfembed.{room}"), {}
    for name in module.__all__:
        try:
            found[name] = getattr(module, name)
        except ImportError as error:
            assert "Apache Beam" in str(error), error
    return found


def without_hints(function):
    """Returns what of a function has no hint: parameters by name, `return`."""
    signature = inspect.signature(function)
    names = list(signature.parameters)
    if "." in function.__qualname__ and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    nothing = inspect.Parameter.empty
    found = [x for x in names if signature.parameters[x].annotation is nothing]
    derived = hasattr(function, "derived_for")  # a loss's constructor
    if signature.return_annotation is nothing and not derived:
        found.append("return")
    return found


def complaints(names):
    """Returns what has no hint, as lines."""
    found = {}
    for function in functions(names):
        missing = without_hints(function)
        if missing:
            where = f"{function.__module__}.{function.__qualname__}"
            found[where] = f"{where}: {', '.join(missing)}"
    return sorted(found.values())


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_has_hints(room):
    names = listed(room)
    assert any(True for _ in functions(names))
    found = complaints(names)
    assert not found, "\n".join(found)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="`X | None` is of Python 3.10")
@pytest.mark.parametrize("room", ROOMS)
def test_hints_can_be_read_at_run_time(room):
    """What a module does not import to start quickly is of TensorFlow or a room."""
    late = {"tf": tf, "keras": keras}
    late |= {name: getattr(backbones, name) for name in ("Encoder", "Weights")}
    late |= {name: getattr(data, name) for name in ("EmbeddingFiles", "SourceImages")}
    for function in functions(listed(room)):
        typing.get_type_hints(function, localns=late)


def annotated_locals(source):
    """Yields the lines of assignments with a hint to a local name."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.AnnAssign) and isinstance(
                    node.target, ast.Name
                ):
                    yield node.lineno


@pytest.mark.parametrize(
    "room", ["callbacks", "layers", "losses", "miners", "ops", "training", "weighting"]
)
def test_what_graphs_are_made_of_annotates_no_local(room):
    """AutoGraph does not see such an assignment; `# type:` says it to mypy alone."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "tfembed" / room).rglob("*.py"))
        for line in annotated_locals(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)
    assert list(annotated_locals("def f():\n    x: int = 0\n    self.y: int = 1")) == [
        2
    ]


def test_finds_what_has_none():
    def planted(written):
        written.__module__ = "tfembed.planted"
        return written

    class Part:
        @planted
        def __init__(self, size: int, *rest, **more: int): ...

        @property
        @planted
        def width(self): ...

        @classmethod
        @planted
        def of(cls, size) -> None: ...

        @planted
        def _private(self, size): ...

        @planted
        def good(self, size: int) -> int: ...

    class Child(Part):
        pass

    @functools.lru_cache
    @planted
    def load(path: str, limit=None) -> None: ...

    found = [x.rpartition(".")[2] for x in complaints({"Child": Child, "load": load})]
    assert found == [
        "__init__: rest, return",
        "of: size",
        "width: return",
        "load: limit",
    ]


def test_the_wheel_says_that_there_are_hints(monkeypatch):
    """Type checkers read a package's hints where there is a `py.typed` alone."""
    monkeypatch.chdir(ROOT)
    package = distutils.core.run_setup("setup.py", stop_after="init")
    command = package.get_command_obj("build_py")
    command.ensure_finalized()
    files = {
        pathlib.PurePath(folder, name).relative_to(ROOT / "").as_posix()
        if pathlib.PurePath(folder).is_absolute()
        else pathlib.PurePath(folder, name).as_posix()
        for _, folder, _, names in command.data_files
        for name in names
    }
    stubs = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("tfembed/**/*.pyi")
    }
    assert stubs and {"tfembed/py.typed", *stubs} <= files
