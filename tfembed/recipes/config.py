"""A dataclass is a recipe's schema, its defaults, its flags and its config file."""

import argparse
import dataclasses
import json
import re
import runpy
import typing
from pathlib import Path

from tfembed.command_line import CommandLine, suggestion
from tfembed.formats.format_version import FORMAT, RUN, check_format


def option(default, help, choices=None):
    """A field of a recipe's `Config`: default, help text, allowed values."""
    return dataclasses.field(
        default=default, metadata={"help": help, "choices": choices}
    )


def default(config_class, name, value):
    """The field of another config with a default of one's own."""
    field = config_class.__dataclass_fields__[name]
    return option(value, field.metadata["help"], field.metadata["choices"])


def parse(config_class, module, description, argv=None):
    """Reads a recipe's command line, and the config file that it names.

    Args:
        config_class: A frozen dataclass of `option` fields.
        module: What is run with `-m`, e.g. `"tfembed.recipes.instdisc"`.
        description: First paragraph of `--help`.
        argv: The arguments; `sys.argv` by default.

    Returns:
        The config, and the value of `--run-dir` or `None`. A wrong command line
        exits with status 2 and a sentence.
    """
    parser = build_parser(config_class, module, description)
    given = vars(parser.parse_args(argv))
    run_dir, path = given.pop("run_dir"), given.pop("config")
    preset = presets_of(config_class).get(given.pop("preset", None), {})
    try:
        config = config_class() if path is None else load(config_class, path)
        return dataclasses.replace(config, **{**preset, **given}), run_dir
    except (ValueError, TypeError) as error:
        parser.error(str(error))


def presets_of(config_class):
    """Returns `{name: {setting: value}}`, the presets that `--preset` names.

    They are the class attribute `PRESETS` of a recipe's `Config`, if it has one.
    """
    return getattr(config_class, "PRESETS", {})


def build_parser(config_class, module, description):
    """Returns the `argparse` parser of a recipe."""
    parser = CommandLine(
        prog=f"python -m {module}",
        usage="%(prog)s [--run-dir DIR] [--config FILE] [--SETTING VALUE ...]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--run-dir",
        default=None,
        help="the run directory; a run that was stopped goes on in it. By default a "
        "new one below runs/, or the newest unfinished one of the same settings",
    )
    parser.add_argument(
        "--config",
        default=None,
        help="a Python file that defines `config`, or a run's config.json; flags "
        "override it",
    )
    presets = presets_of(config_class)
    if presets:
        parser.add_argument(
            "--preset",
            choices=tuple(presets),
            help="several settings, over those of --config; flags override them",
        )
    types = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        flag = "--" + field.name.replace("_", "-")
        text = field.metadata["help"].replace("%", "%%")
        if field.default is not None:
            text += f" (default: {field.default})"
        if types[field.name] in (bool, typing.Optional[bool]):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            choices = field.metadata["choices"]
            parser.add_argument(
                flag,
                type=_reader(types[field.name]),
                choices=choices,
                metavar=None if choices else field.name.upper(),
                help=text,
            )
    return parser


def load(config_class, path):
    """Loads a config from a Python file or a `config.json`.

    Raises:
        ValueError: If the file is missing, is not a config of this recipe, or has
            unknown keys or values.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            "--config must name a Python file that defines `config`, or a run's "
            f"config.json. Received: {str(path)!r}, which is not a file."
        )
    if path.suffix == ".json":
        try:
            values = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
        check_format(values, RUN, str(path))
        for known in (FORMAT, "recipe", "backbone_weights"):  # which are not settings
            values.pop(known, None)
        return from_dict(config_class, values)
    try:
        config = runpy.run_path(str(path)).get("config")
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None:
            raise
        raise ValueError(
            f"{str(path)!r}: {_unknown([unknown[1]], _names(config_class))}"
        ) from error
    if not isinstance(config, config_class):
        raise ValueError(
            f"{str(path)!r} must define `config`, a "
            f"{config_class.__module__}.Config. Received: {config!r}."
        )
    return config


def from_dict(config_class, values):
    """Builds a config from a dictionary, refusing unknown keys by name."""
    known = _names(config_class)
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(_unknown(unknown, known))
    return config_class(**values)


def _names(config_class):
    return [field.name for field in dataclasses.fields(config_class)]


def _unknown(keys, known):
    guesses = [suggestion(key, known) for key in keys]
    return " ".join(
        [
            f"Unknown keys: {', '.join(keys)}.",
            *filter(None, guesses),
            f"Known ones: {', '.join(known)}.",
        ]
    )


def check_choices(config):
    """Raises a ValueError for a field whose value is not one of its choices."""
    for field in dataclasses.fields(config):
        choices = field.metadata["choices"]
        value = getattr(config, field.name)
        if choices and value not in choices:
            raise ValueError(
                f"`{field.name}` must be one of {', '.join(map(str, choices))}. "
                f"Received: {field.name}={value!r}. "
                + suggestion(str(value), map(str, choices))
            )


def check_range(config, names, low, high=float("inf"), open_low=False):
    """Raises a ValueError unless the fields' numbers lie in `[low, high]`."""
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if not low <= value <= high or (open_low and value == low):
            bound = f"above {low}" if open_low else f"at least {low}"
            if high < float("inf"):
                bound += f" and at most {high}"
            raise ValueError(f"`{name}` must be {bound}. Received: {name}={value!r}.")


def _reader(kind):
    """Returns what turns a word of the command line into a field's value."""
    arguments = [each for each in typing.get_args(kind) if each is not type(None)]
    if not arguments:
        return kind
    optional = len(arguments) < len(typing.get_args(kind))

    def read(text):
        if optional and text.lower() == "none":
            return None
        for each in arguments:
            try:
                return each(text)
            except ValueError:
                continue
        names = " or ".join(each.__name__ for each in arguments)
        raise argparse.ArgumentTypeError(f"must be {names}. Received: {text!r}")

    return read
