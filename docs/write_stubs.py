"""Writes tfembed/losses/__init__.pyi, the constructors of the losses spelled out.

python docs/write_stubs.py

Type checkers and editors do not run the code that derives a loss's constructor from
its function. They read this file in place of `tfembed/losses/__init__.py`, so that it
has all names of that.
"""

import inspect
import sys
from pathlib import Path

STUB = Path(__file__).resolve().parent.parent / "tfembed" / "losses" / "__init__.pyi"

HEAD = '''\
"""Losses, as type checkers and editors see them: by `python docs/write_stubs.py`."""

from typing import Any, TypeAlias

import tensorflow as tf
'''
TYPE_NAMES = """\
_Number: TypeAlias = float | tf.Tensor | tf.Variable
_Label: TypeAlias = int | str | None
"""
# Of a default, the type that the argument has. Numbers may be trained or driven.
TYPES = {bool: "bool", int: "int", float: "_Number", str: "str"}
WIDTH = 88


def argument(loss, parameter):
    """Returns one argument as the stub has it, such as `margin: _Number = 0.4`."""
    kind = TYPES.get(type(parameter.default), "Any")
    if parameter.default is parameter.empty:
        return f"{parameter.name}: {kind}"
    if kind in ("_Number", "str") and takes_none(loss, parameter.name):
        kind += " | None"
    default = repr(parameter.default).replace("'", '"')
    return f"{parameter.name}: {kind} = {default}"


def takes_none(loss, name):
    """Tries whether a loss can be made with None for an argument."""
    try:
        loss(**{name: None})
    except (TypeError, ValueError):
        return False
    return True


def constructor(loss):
    """Returns the lines of a class: its function and its constructor."""
    parameters = inspect.signature(loss).parameters.values()
    arguments = [argument(loss, each) for each in parameters]
    arguments = ["self", *arguments, "*", "ignore_label: _Label = None"]
    return [
        f"class {loss.__name__}(FunctionalLoss):",
        f"    function = staticmethod({loss.function.__name__})",
        "    def __init__(",
        *(f"        {each}," for each in arguments),
        "    ) -> None: ...",
    ]


def is_derived(symbol):
    """Tells a class that does not write its constructor itself."""
    return isinstance(symbol, type) and hasattr(symbol.__init__, "derived_for")


def imported(symbol):
    """Returns the line that imports what needs no stub."""
    name = symbol.__name__
    line = f"from {symbol.__module__} import {name} as {name}"  # so, it is public
    if len(line) > WIDTH:
        line = line.replace("import ", "import (\n    ") + ",\n)"
    return line


def stub():
    """Returns the text of the stub."""
    from tfembed import losses

    public = [getattr(losses, name) for name in losses.__all__]
    written = [each for each in public if not is_derived(each)]
    lines = [imported(each) for each in (losses.FunctionalLoss, *written)]
    parts = [HEAD, *sorted(lines), "", TYPE_NAMES, "__all__ = ["]
    parts += [f'    "{name}",' for name in losses.__all__]
    parts += ["]"]
    for each in filter(is_derived, public):
        parts += ["", *constructor(each)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(STUB.parents[2]))
    STUB.write_text(stub(), encoding="utf-8")
