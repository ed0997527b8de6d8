"""What a run's `config.json` says of its format, and of how pictures are resized."""

import json
import os

from tfembed.formats.format_version import RUN, check_format
from tfembed.ops.arguments import check_choice
from tfembed.ops.image_formats import RESIZES

__all__ = ["agreed_resize", "check_run", "resize_of_config", "run_resize"]


def check_run(folder):
    """Refuses a run directory of a newer format; any other folder passes.

    Args:
        folder: Its path.

    Raises:
        ValueError: If it is, or its `config.json` cannot be read.
    """
    run_resize(folder)


def run_resize(path):
    """Returns how a run's encoder has pictures brought to its size.

    Args:
        path: A run directory, or the file of its encoder, `model.keras`.

    Returns:
        One of `RESIZES`, `"squash"` for a run of before there was a choice; `None`
        where there is no run.

    Raises:
        ValueError: If its config says something else, or is of a newer format.
    """
    folder, name = os.path.split(os.path.abspath(os.fspath(path)))
    if os.path.isdir(path):
        folder = os.fspath(path)
    elif name != "model.keras":
        return None
    file = os.path.join(folder, "config.json")
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
    except OSError:
        return None
    return resize_of_config(text, file)


def resize_of_config(text, name):
    """Returns what the text of a `config.json` says, as `run_resize`.

    Args:
        text: The text.
        name: What to call the file in an error.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name!r} must be JSON. Reading it says: {error}.") from error
    check_format(config, RUN, name)
    if not isinstance(config, dict) or "recipe" not in config:
        return None
    resize = config.get("resize", "squash")
    if resize not in RESIZES:
        raise ValueError(
            f"{name!r} must have a `resize` of {', '.join(map(repr, RESIZES))}. "
            f"Received: {resize!r}. Use the version of tfembed that wrote it."
        )
    return resize


def agreed_resize(asked, own=None, whose=""):
    """Returns how pictures are resized, which must be as the encoder is used to.

    Args:
        asked: What the user said: one of `RESIZES`, or `None`.
        own: What is known already, or `None`.
        whose: Of what `own` is told, such as "the run 'runs/one'".

    Returns:
        What either says; `None` where neither does.

    Raises:
        ValueError: If it is no resize, or they differ.
    """
    if asked is not None:
        check_choice(RESIZES, resize=asked)
    if None not in (asked, own) and asked != own:
        raise ValueError(
            f"`resize` must be that of {whose}, {own!r}: its embeddings are of "
            f"pictures resized so. Received: resize={asked!r}. Leave it out."
        )
    return asked or own
