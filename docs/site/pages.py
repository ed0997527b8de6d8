"""The site's pages that are made of the package: the reference and the flags.

Needs none of the site's tools. `hooks.py` gives them to MkDocs, `tests/test_site.py`
reads them.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Mapping

REFERENCE = "reference"
FLAGS = f"{REFERENCE}/flags.md"


def rooms():
    """Returns the dotted names of the rooms that list public names, the package first.

    A room is a folder of the package or a module at its root; `__all__` lists.
    """
    package = importlib.import_module("tfembed")
    names = [f"tfembed.{each.name}" for each in pkgutil.iter_modules(package.__path__)]
    listing = [
        name for name in names if hasattr(importlib.import_module(name), "__all__")
    ]
    return ["tfembed", *sorted(listing)]


def symbols(room):
    """Returns what a room's `__all__` lists, but for modules, in the page's order.

    A class and the function that is named like it stand beside each other.
    """
    module = importlib.import_module(room)
    names = [
        name
        for name in module.__all__
        if room != "tfembed" or not isinstance(getattr(module, name), types.ModuleType)
    ]
    return sorted(names, key=lambda name: (name.replace("_", "").lower(), name))


def reference():
    """Returns `{path in the site: Markdown}` of the reference, a page a room."""
    return {room_path(room): room_page(room) for room in rooms()}


def room_path(room):
    """Returns the path in the site of a room's page."""
    return f"{REFERENCE}/{room.partition('.')[2] or 'index'}.md"


def room_page(room):
    """Returns the Markdown of a room's page; mkdocstrings fills in what it names.

    What is public stands in a table first, constants are written out here.
    """
    module = importlib.import_module(room)
    found = {name: getattr(module, name) for name in symbols(room)}
    anchors = {name: _anchor(room, name, value) for name, value in found.items()}
    lines = [f"# {room}", "", f"::: {room}"]
    lines += ["    options:", "      show_root_heading: false", "      members: false"]
    lines += ["      show_root_toc_entry: false"]
    if room == "tfembed":
        lines += ["", "| room | what it is |", "|---|---|"]
        for each in rooms()[1:]:
            path = room_path(each).rpartition("/")[2]
            lines.append(f"| [`{each}`]({path}) | {_first_line(each)} |")
    lines += ["", "| name | what it is |", "|---|---|"]
    for name, value in found.items():
        about = _about(value) if _is_documented(value) else "a constant"
        lines.append(f"| [`{name}`](#{anchors[name]}) | {about} |")
    for name, value in found.items():
        if _is_documented(value):
            lines += ["", f"::: {anchors[name]}"]
        else:
            title = name.replace("_", "\\_")
            lines += ["", f"## {title} {{ #{anchors[name]} }}", "", *_constant(value)]
    return "\n".join(lines) + "\n"


def _is_documented(value):
    """Tells whether something can have a docstring of its own."""
    return isinstance(value, type) or inspect.isroutine(value)


def _anchor(room, name, value):
    # Not through the room: its module `circle` would hide its function `circle`.
    if _is_documented(value):
        return f"{value.__module__}.{value.__qualname__}"
    return f"constant-{name.strip('_').lower()}"


def _about(value):
    return inspect.getdoc(value).splitlines()[0].replace("|", "\\|")


def _constant(value):
    """Returns the lines that say what a constant is."""
    if isinstance(value, Mapping):
        rows = [f"| `{name}` | {about} |" for name, about in value.items()]
        return ["| name | what it is |", "|---|---|", *rows]
    return [f"`{value!r}`"]


def _first_line(name):
    return inspect.getdoc(importlib.import_module(name)).splitlines()[0]


def recipes():
    """Returns `{name: its module}` of the recipes."""
    names = importlib.import_module("tfembed.recipes.__main__").recipes()
    return {name: importlib.import_module(f"tfembed.recipes.{name}") for name in names}


def flags_page():
    """Returns the Markdown of the page of all recipes' flags.

    What all of them share with the same default stands in one table, what a recipe adds
    or has another default for in its own.
    """
    settings = importlib.import_module("tfembed.recipes").Settings
    shared = {field.name: field for field in dataclasses.fields(settings)}
    lines = [
        "# Flags of the recipes",
        "",
        "Each recipe is a command, `python -m tfembed.recipes.NAME`, and each of its",
        "settings is a flag. With underscores these are the names in a run definition,",
        "`--config FILE`, and in the `config.json` of a run. How they are used is in",
        "[recipes/](../recipes/README.md).",
        "",
        "Every recipe has the flags of the first table, `--config FILE` and",
        "`--run-dir DIR`. Where it has another default, its own table has the flag",
        "again. An empty default is none.",
        "",
        "## Of every recipe",
        "",
        *_table(settings, shared.values()),
    ]
    for name, module in recipes().items():
        own = [
            field
            for field in dataclasses.fields(module.Config)
            if field.name not in shared or field.default != shared[field.name].default
        ]
        about = inspect.getdoc(module).splitlines()[0]
        lines += ["", f"## {name}", "", about, "", *_table(module.Config, own)]
        lines += _presets(getattr(module.Config, "PRESETS", {}))
    return "\n".join(lines) + "\n"


def _presets(presets):
    """Returns the lines on `--preset`, where a recipe has presets."""
    if not presets:
        return []
    settings = list(dict.fromkeys(name for each in presets.values() for name in each))
    lines = ["", "`--preset` sets several at once; flags beside it go before.", ""]
    lines += [f"| flag | {' | '.join(f'`{name}`' for name in presets)} |"]
    lines += ["|---" * (len(presets) + 1) + "|"]
    for name in settings:
        values = [_value(each.get(name)) for each in presets.values()]
        lines.append(f"| `{_flag(name)}` | {' | '.join(values)} |")
    return lines


def _flag(name):
    return f"--{name.replace('_', '-')}"


def _table(config, fields):
    """Returns the lines of a table of settings."""
    kinds = typing.get_type_hints(config)
    lines = ["| flag | default | what it is |", "|---|---|---|"]
    for field in fields:
        flag = _flag(field.name)
        text = field.metadata["help"]
        if field.metadata["choices"] is not None:
            choices = ", ".join(f"`{each}`" for each in field.metadata["choices"])
            text += f". One of {choices}"
        elif kinds[field.name] in (bool, typing.Optional[bool]):
            text += f"; or `--no-{flag[2:]}`"
        cells = [f"`{flag}`", _value(field.default), text.replace("|", "\\|")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _value(value):
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
