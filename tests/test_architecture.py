"""Who may import whom: reads every import in tfembed, and holds `docs/architecture.md`.

The page's table of rooms is compared with `MAY_IMPORT`: it is the same.
"""

import ast
import functools
import os
import pathlib
import re
import sys

from shared import table_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tfembed"

BASE = {"command_line", "compat", "formats", "hints", "lazy_names", "ops"}
BASE |= {"progress", "quiet_imports", "registry"}
PARTS = {
    "backbones",
    "callbacks",
    "data",
    "layers",
    "losses",
    "metrics",
    "miners",
    "training",
    "weighting",
}
# Room (or module of the package's root) -> what of tfembed it may import besides
# itself. "tfembed" is the root's own names, such as `load_model`. A room need not be
# there yet; one that is there has to be in this list.
MAY_IMPORT = {
    "tfembed": {"hints", "registration", "registry", "version"},
    "version": set(),
    "registration": set(),  # imports rooms by name, when Keras asks for a class
    "command_line": set(),
    "hints": set(),
    "lazy_names": set(),
    "progress": set(),
    "quiet_imports": set(),
    "compat": set(),
    "ops": set(),
    "formats": {"hints", "ops"},
    "backbones": BASE | {"layers", "tfembed"},
    "data": BASE,
    "layers": BASE,
    "metrics": BASE,
    "miners": BASE,
    "training": BASE,
    "losses": BASE | {"miners"},
    "weighting": BASE | {"losses"},
    "callbacks": BASE | {"metrics", "layers"},
    "registry": {"command_line"},
    "recipes": BASE | PARTS | {"tfembed", "version"},
    "evaluate": BASE | PARTS | {"tfembed", "version"},
    "embed": BASE | PARTS | {"tfembed", "version"},
    "dedup": BASE | PARTS | {"embed", "export", "tfembed", "version"},
    "publish": BASE
    | {"backbones", "data", "embed", "export", "metrics", "tfembed", "version"},
    "export": BASE | {"layers", "losses", "tfembed", "version"},
    "serving": BASE | {"tfembed", "version"},
    "report": BASE | {"data", "metrics", "tfembed", "version"},
    "interop": BASE | PARTS - {"callbacks"} | {"tfembed", "version"},
}
# Rooms that are the package's own: other rooms may import their files, and nobody else
# is promised anything of them. Of all others, what `__init__` lists is public: other
# rooms import that alone.
INNER = {"compat", "formats", "ops"}
LIBRARY = pathlib.Path(os.__file__).parent
STANDARD = {path.stem.partition(".")[0] for path in LIBRARY.iterdir()}
STANDARD |= {path.name.partition(".")[0] for path in LIBRARY.glob("lib-dynload/*")}
STANDARD |= set(sys.builtin_module_names)
# What plain `pip install tfembed` brings (protobuf, `google`, by way of TensorFlow).
ALWAYS_THERE = STANDARD | {"google", "numpy", "tensorflow", "tfembed"}
# Modules whose whole subject is an optional package. They may import it at the top;
# then only each other may import them at the top.
SERVES = {
    "grpc",
    "prometheus_client",
    "requests",
    "tensorflow_serving",
    "waitress",
    "werkzeug",
}
SPEAKS = {
    "tfembed/serving/examples.py": SERVES,
    "tfembed/serving/grpc_messages.py": SERVES,
    "tfembed/serving/grpc_service.py": SERVES,
    "tfembed/serving/grpc_transport.py": SERVES,
    "tfembed/serving/metrics.py": SERVES,
    "tfembed/serving/page.py": SERVES,
    "tfembed/serving/raw_status.py": SERVES,
    "tfembed/serving/rest.py": SERVES,
    "tfembed/serving/rest_server.py": SERVES,
    "tfembed/serving/rest_transport.py": SERVES,
    "tfembed/serving/server.py": SERVES,
    "tfembed/serving/warmup.py": SERVES,
    "tfembed/interop/beam.py": {"apache_beam"},
}


def imports(source, module):
    """Yields (dotted name, line, at module level) of each import of a file's source.

    `from a import b` counts as `a.b`: `b` may be a module. Relative imports are
    resolved from `module`, a dotted name.
    """
    tree = ast.parse(source)
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inside.update(id(child) for child in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            stem = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, node.lineno, id(node) not in inside


def room_of(path):
    """Returns the room of a file, given relative to the repository's root."""
    parts = pathlib.PurePosixPath(path).parts
    if len(parts) > 2:
        return parts[1]
    stem = pathlib.PurePosixPath(path).stem
    return "tfembed" if stem == "__init__" else stem


def target_of(name):
    """Returns the room that a dotted name of tfembed is in."""
    second = name.split(".")[1]
    return second if second in MAY_IMPORT else "tfembed"


def complaints(path, source):
    """Returns what a file imports and must not, as sentences."""
    module = path[: -len(".py")].replace("/", ".")
    room = room_of(path)
    if room not in MAY_IMPORT:
        return [f"{path}: {room} is no room of docs/architecture.md"]
    found = []
    for name, line, at_top in imports(source, module):
        where = f"{path}:{line}"
        package = name.split(".")[0]
        if package in ("keras", "tf_keras", "keras_core"):
            found.append(f"{where}: `from tensorflow import keras`, not {package}")
        elif package == "tfembed":
            target = target_of(name + ".")
            if target != room and target not in MAY_IMPORT[room]:
                found.append(f"{where}: {room} must not import {target}")
            elif target != room and not is_public(name):
                found.append(f"{where}: {name} is not listed by tfembed.{target}")
        elif room == "ops" and package not in STANDARD | {"tensorflow"}:
            found.append(f"{where}: ops imports TensorFlow only, not {package}")
        elif name.startswith("tensorflow.keras") and room == "ops":
            found.append(f"{where}: ops does without Keras")
        elif at_top and package not in ALWAYS_THERE | SPEAKS.get(path, set()):
            found.append(f"{where}: {package} is optional: import it inside a function")
        if at_top and path not in SPEAKS and imported_files(name) & SPEAKS.keys():
            found.append(f"{where}: {name} needs an optional package: import it late")
    return found


@functools.cache
def listed(room):
    """Returns the names that a room's `__init__` lists, in code or in a table."""
    source = (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Dict):
            names.update(key.value for key in node.keys)
    return names


def is_public(name):
    """Whether a dotted name of tfembed is one that other rooms may import."""
    rooms = name.split(".")[1:]
    if len(rooms) < 2 or rooms[0] in INNER or not (PACKAGE / rooms[0]).is_dir():
        return True
    return len(rooms) == 2 and rooms[1] in listed(rooms[0])


def circles(sources):
    """Returns the first circle of modules that import each other, or None.

    Args:
        sources: Dictionary of a file's path to its source.
    """
    modules = {
        path[: -len(".py")].replace("/", ".").removesuffix(".__init__"): path
        for path in sources
    }

    def imported(module):
        path = modules[module]
        for name, _, _ in imports(sources[path], path[: -len(".py")].replace("/", ".")):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name != module:
                yield name

    done, way = set(), []

    def walk(module):
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return None
        way.append(module)
        for each in imported(module):
            found = walk(each)
            if found:
                return found
        done.add(way.pop())
        return None

    return next(filter(None, map(walk, modules)), None)


def imported_files(name):
    """Returns the files that a dotted name could be, or be in."""
    parts = name.split(".")
    return {"/".join(parts[:end]) + ".py" for end in (len(parts), len(parts) - 1)}


def files():
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "__pycache__" not in path.parts
    )


def test_there_is_something_to_read():
    assert "tfembed/ops/neighbors.py" in files()
    source = (PACKAGE / "layers" / "memory_bank.py").read_text()
    assert any(name.startswith("tfembed.ops") for name, _, _ in imports(source, "m"))


def test_every_file_imports_what_it_may():
    found = []
    for path in files():
        found += complaints(path, (ROOT / path).read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def rooms_of_the_page():
    """Returns `{room: what it may import}` as the page's table has it."""
    groups, rooms = {}, {}
    for name, _, cell in table_of("docs/architecture.md", "## The rooms"):
        listed, _, without = cell.partition(", not ")
        found = set(re.findall(r"`(\w+)`", listed))
        for group in re.findall(r"\*(\w+)\*", listed):
            found |= groups[group]
        left_out, *others = re.findall(r"`(\w+)`", without) or [None]
        found = found - {left_out} | set(others)
        if name.startswith("*"):
            groups[name.strip("*")] = found
        else:
            rooms[name.strip("`")] = found
    return groups, rooms


def test_the_page_says_the_same():
    groups, rooms = rooms_of_the_page()
    assert groups == {"base": BASE, "parts": PARTS}
    assert rooms == MAY_IMPORT
    assert set(map(room_of, files())) == set(rooms)


def test_no_modules_import_each_other_in_a_circle():
    """Functions' imports count: who depends on whom has an order."""
    found = circles({path: (ROOT / path).read_text("utf-8") for path in files()})
    assert found is None, " imports ".join(found)


def test_finds_a_planted_circle():
    circle = {
        "tfembed/a/__init__.py": "",
        "tfembed/a/b.py": "from tfembed.a import c",
        "tfembed/a/c.py": "def f():\n    from tfembed.a.d import x",
        "tfembed/a/d.py": "import tfembed.a.b",
        "tfembed/a/e.py": "from tfembed.a.b import y",
    }
    found = circles(circle)
    assert found == ["tfembed.a.b", "tfembed.a.c", "tfembed.a.d", "tfembed.a.b"]
    assert circles({**circle, "tfembed/a/d.py": "import tfembed.a"}) is None


VIOLATIONS = [
    ("tfembed/losses/a.py", "from tfembed.layers import UnitNorm", "layers"),
    ("tfembed/losses/a.py", "from tfembed import layers", "layers"),
    ("tfembed/losses/a.py", "import tfembed.layers.unit_norm", "layers"),
    ("tfembed/losses/a.py", "from ..layers import UnitNorm", "layers"),
    ("tfembed/losses/a.py", "def f():\n    import tfembed.layers", "layers"),
    ("tfembed/recipes/a.py", "from tfembed import export", "export"),
    ("tfembed/export/a.py", "import tfembed.recipes", "recipes"),
    ("tfembed/export/a.py", "from tfembed.metrics import x", "metrics"),
    ("tfembed/serving/a.py", "from tfembed.losses import x", "losses"),
    ("tfembed/compat.py", "from tfembed.ops import x", "ops"),
    ("tfembed/compat.py", "from tfembed import load_model", "tfembed"),
    ("tfembed/ops/a.py", "from tensorflow import keras", "Keras"),
    ("tfembed/ops/a.py", "from tensorflow.keras import x", "Keras"),
    ("tfembed/ops/a.py", "import numpy as np", "TensorFlow only"),
    ("tfembed/ops/a.py", "from tfembed import compat", "compat"),
    ("tfembed/layers/a.py", "import keras", "from tensorflow"),
    ("tfembed/layers/a.py", "from keras import ops", "from tensorflow"),
    ("tfembed/layers/a.py", "def f():\n    import tf_keras", "from tensorflow"),
    ("tfembed/data/a.py", "import keras_cv", "inside a function"),
    ("tfembed/data/a.py", "try:\n    import PIL\nexcept E: 0", "inside"),
    ("tfembed/serving/a.py", "import grpc", "inside a function"),
    ("tfembed/serving/a.py", "from tfembed.serving import grpc_service", "late"),
    (
        "tfembed/serving/a.py",
        "from tfembed.serving.rest import application",
        "late",
    ),
    ("tfembed/report/a.py", "from tfembed.metrics.nearest import x", "not listed"),
    ("tfembed/report/a.py", "from tfembed.metrics import labels", "not listed"),
    ("tfembed/embed.py", "import tfembed.data.sources", "not listed"),
    ("tfembed/dedup/a.py", "from tfembed.export.card import read_card", "not listed"),
    ("tfembed/utils/a.py", "", "no room"),
    ("tfembed/helpers.py", "", "no room"),
]
ALLOWED = [
    ("tfembed/losses/a.py", "from tfembed.ops.x import y\nimport tensorflow as tf"),
    ("tfembed/losses/a.py", "from tfembed.losses.base import FunctionalLoss"),
    ("tfembed/losses/a.py", "from tfembed.miners import SemiHardMiner"),
    ("tfembed/report/a.py", "from tfembed.metrics import nearest, retrieval"),
    ("tfembed/data/a.py", "from tfembed.formats.npz import x\nimport tfembed.ops.y"),
    ("tfembed/embed.py", "from tfembed.data import SourceImages, load_images"),
    ("tfembed/data/a.py", "def f():\n    import keras_cv"),
    ("tfembed/export/a.py", "from tfembed import __version__, load_model"),
    ("tfembed/recipes/a.py", "from tfembed import layers, load_model"),
    (
        "tfembed/serving/a.py",
        "def f():\n    from tfembed.serving import grpc_service",
    ),
    ("tfembed/ops/a.py", "import math\nfrom tfembed.ops import x"),
]


def test_catches_planted_violations():
    for path, source, words in VIOLATIONS:
        found = complaints(path, source)
        assert len(found) == 1 and words in found[0], (path, source, found)


def test_lets_pass_what_is_allowed():
    for path, source in ALLOWED:
        assert complaints(path, source) == []


def test_top_level_folders_are_no_packages():
    for folder in ("recipes", "export", "benchmarks", "tests", "constraints"):
        assert not (ROOT / folder / "__init__.py").exists()
