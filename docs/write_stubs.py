"""Writes the `__init__.pyi` of rooms whose names or constructors no type checker finds.

python docs/write_stubs.py

Type checkers and editors do not run the code that imports a room's names when they are
first used, derives a loss's constructor from its function, or lets every loss and miner
take `ignore_label`. They read these files in place of the `.py` beside them, so that a
stub has all names of that. The types are those of the code's own hints.
"""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "tfembed"
WIDTH = 88
# What a hint may name -> the line that imports it.
IMPORTS = {
    "Any": "from typing import Any",
    "AsyncIterator": "from collections.abc import AsyncIterator",
    "Callable": "from collections.abc import Callable",
    "Iterable": "from collections.abc import Iterable",
    "Mapping": "from collections.abc import Mapping",
    "Sequence": "from collections.abc import Sequence",
    "keras": "from tensorflow import keras",
    "np": "import numpy as np",
    "tf": "import tensorflow as tf",
}
IMPORTS |= {
    name: f"from tfembed.hints import {name}"
    for name in ("Array", "Label", "Labels", "Number", "PathLike", "Rows")
}
# What a hint may name of our own -> the module that has it.
PRIVATE = {"Miner": "tfembed.miners.base", "Pairs": "tfembed.ops.pairs"}
# What is written out -> the base that a stub's class needs.
BASES = {
    "losses": ("FunctionalLoss", "tfembed.losses.base"),
    "miners": ("Miner", "tfembed.miners.base"),
    "weighting": ("FunctionalLoss", "tfembed.losses.base"),
}


def argument(parameter):
    """Returns one argument as a stub has it, such as `margin: Number = 0.4`."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    text = stars.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {parameter.annotation}"
    if parameter.default is not parameter.empty:
        text += " = " + repr(parameter.default).replace("'", '"')
    return text


def function(name, signature, indent="", word="def"):
    """Returns the lines of a function without its body, an argument a line."""
    parameters = list(signature.parameters.values())
    lines, starred = [], False
    for each in parameters:
        if each.kind is each.VAR_POSITIONAL:
            starred = True
        if each.kind is each.KEYWORD_ONLY and not starred:
            lines.append("*")
            starred = True
        lines.append(argument(each))
    end = f") -> {signature.return_annotation}: ..."
    whole = f"{indent}{word} {name}({', '.join(lines)}{end}"
    if len(whole) <= WIDTH:
        return [whole]
    inner = ", ".join(lines)
    if len(indent) + 4 + len(inner) <= WIDTH:
        body = [f"{indent}    {inner}"]
    else:
        body = [f"{indent}    {line}," for line in lines]
    return [f"{indent}{word} {name}(", *body, indent + end]


def constructor(cls):
    """Returns the signature of a class's constructor, `ignore_label` included."""
    signature = inspect.signature(cls.__init__)
    ignored = inspect.Parameter(
        "ignore_label",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation="Label | None",
    )
    parameters = {**signature.parameters, ignored.name: ignored}
    return signature.replace(
        parameters=list(parameters.values()), return_annotation="None"
    )


def spelled_out(cls, base):
    """Returns the lines of a loss or a miner: its function, if any, and constructor."""
    lines = [f"class {cls.__name__}({base}):"]
    if base == "FunctionalLoss":
        lines.append(f"    function = staticmethod({cls.function.__name__})")
    return [*lines, *function("__init__", constructor(cls), "    ")]


def imported(name, module):
    """Returns the line that imports what needs no stub."""
    line = f"from {module} import {name} as {name}"  # so, it is public
    if len(line) > WIDTH:
        line = line.replace("import ", "import (\n    ") + ",\n)"
    return line


def homes(room):
    """Returns `{name: module}` of a room's public names, as its `__init__` has them."""
    text = (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tfembed."):
            found |= {each.asname or each.name: node.module for each in node.names}
        elif isinstance(node, ast.Dict):
            table = {key.value: each.value for key, each in zip(node.keys, node.values)}
            for name, home in table.items():
                inside = not home.startswith("tfembed.")
                found[name] = f"tfembed.{room}.{home}" if inside else home
    found.pop("lazy_names", None)
    return found


def needed(text):
    """Returns the lines that import what hints name, standard library first."""
    names = set(re.findall(r"[A-Za-z_]\w*", text))
    lines = {line for name, line in IMPORTS.items() if name in names}
    blocks = [[], [], []]
    for line in sorted(lines):
        package = line.split()[1].partition(".")[0]
        blocks[{"tensorflow": 1, "numpy": 1, "tfembed": 2}.get(package, 0)].append(line)
    ours = sorted(re.findall(r"import (\w+)", "\n".join(blocks[2])))
    if ours:
        blocks[2] = [f"from tfembed.hints import {', '.join(ours)}"]
    plain = sorted(blocks[1], key=lambda line: (line.startswith("from"), line))
    return ["\n".join(each) for each in (blocks[0], plain) if each], blocks[2]


def stub(room):
    """Returns the text of a room's stub."""
    module = importlib.import_module(f"tfembed.{room}")
    known, classes = homes(room), []
    base, base_module = BASES.get(room, (None, None))
    for name in module.__all__ if base else ():
        each = getattr(module, name)
        parents = [x.__name__ for x in getattr(each, "__mro__", ())]
        if base in parents and "__init__" in vars(each):
            classes.append(["", *spelled_out(each, base)])
            del known[name]
    body = "\n".join("\n".join(lines) for lines in classes)
    if base in body.split("(") or f"({base})" in body:
        known[base] = base_module
    for name, home in PRIVATE.items():
        if name != base and name in re.findall(r"\w+", body):
            known[name] = home
    others, hints = needed(body)
    lines = []
    for name, home in known.items():
        private = name not in module.__all__ and name not in vars(module)
        lines.append(f"from {home} import {name}" if private else imported(name, home))
    ours = sorted([*hints, *lines], key=lambda line: re.findall(r"[\w.]+", line)[1::2])
    head = f'"""`tfembed.{room}` as type checkers see it: by docs/write_stubs.py."""'
    listed = ["__all__ = [", *(f'    "{name}",' for name in module.__all__), "]"]
    parts = [head, *others, "\n".join(ours), "\n".join(listed)]
    return "\n\n".join(parts) + "\n" + (body + "\n" if body else "")


def rooms():
    """Returns the rooms that need a stub."""
    lazy = {
        path.parent.name
        for path in PACKAGE.glob("*/__init__.py")
        if "= lazy_names(" in path.read_text(encoding="utf-8")
    }
    return sorted(lazy | set(BASES))


def stubs():
    """Returns `{path: text}` of all stubs."""
    return {PACKAGE / room / "__init__.pyi": stub(room) for room in rooms()}


if __name__ == "__main__":
    sys.path.insert(0, str(PACKAGE.parent))
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
