"""The flags that say how an exported gallery is searched."""

from __future__ import annotations

import argparse
from typing import Any

from tfembed.export.heads import HEADS
from tfembed.registry import Registry

__all__ = ["add_search_flags", "search_options"]


def add_search_flags(
    parser: argparse.ArgumentParser,
    threshold: str = "what the gallery's file says, else calibrated",
    vote_k: str = "what the gallery's file says, else 200",
) -> None:
    """Adds the flags.

    >>> import argparse
    >>> from tfembed.export import add_search_flags
    >>> parser = argparse.ArgumentParser()
    >>> add_search_flags(parser)
    >>> parser.parse_args(["--k", "5", "--head", "ivf"]).head
    'ivf'

    Args:
        parser: An `argparse.ArgumentParser`.
        threshold: What the default of `--threshold` is, in words.
        vote_k: What the default of `--vote-k` is, in words.
    """
    parser.add_argument(
        "--k",
        type=int,
        default=10,
        help="neighbours in each answer, at most the gallery's size (default: 10)",
    )
    parser.add_argument(
        "--head",
        choices=Registry(HEADS.flag, HEADS.group, {"auto": None, **HEADS.parts}),
        default="auto",
        help="exact: all rows are looked at; bfloat16: in half the memory, its recall "
        "measured; int8: in a quarter; int8_bfloat16: both of these, the second for "
        "the final scores; prefix: the first numbers of each row find candidates; "
        "ivf: only the nearest cells; auto: by size (default); or your own, "
        "module:Class",
    )
    parser.add_argument(
        "--recall",
        type=float,
        default=0.95,
        metavar="R",
        help="share of the k nearest that ivf has to find (default: 0.95)",
    )
    parser.add_argument(
        "--head-option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what the head takes besides: of prefix, numbers (a quarter of the row's) "
        "and candidates (as many as --recall takes)",
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help=f"best score from which a query is known (default: {threshold})",
    )
    known.add_argument(
        "--false-rejection",
        type=float,
        metavar="SHARE",
        help="calibrate the threshold so that it rejects this share of genuine queries "
        "(0.05 where nothing else says it)",
    )
    parser.add_argument(
        "--vote-k",
        type=int,
        metavar="N",
        help=f"neighbours that vote (default: {vote_k})",
    )
    parser.add_argument(
        "--score-megabytes",
        type=int,
        default=128,
        help="larger batches are searched in chunks whose table of scores takes at "
        "most this much memory (default: 128)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=64,
        help="images that declare more count as bad and are not decoded (default: 64)",
    )


def _option(text):
    """A name and its value, a number if it looks like one."""
    name, sign, value = text.partition("=")
    if not (sign and name.isidentifier()):
        raise argparse.ArgumentTypeError(
            f"it must look like NAME=VALUE. Received: {text!r}."
        )
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            pass
    return name, value


def search_options(args: argparse.Namespace) -> dict[str, Any]:
    """Returns what the flags say, as arguments of `tfembed.export.export`.

    >>> import argparse
    >>> from tfembed.export import add_search_flags, search_options
    >>> parser = argparse.ArgumentParser()
    >>> add_search_flags(parser)
    >>> options = search_options(parser.parse_args(["--k", "5"]))  # of `export`
    >>> options["k"], options["head"]
    (5, 'auto')

    Args:
        args: What the parser returned.
    """
    return {
        "k": args.k,
        "head": args.head,
        "recall": args.recall,
        "head_options": dict(args.head_option),
        "threshold": args.threshold,
        "false_rejection": args.false_rejection,
        "vote_k": args.vote_k,
        "score_megabytes": args.score_megabytes,
        "max_pixels": round(args.max_megapixels * 1e6),
    }
