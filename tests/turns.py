"""Which of the slow tests, and of the many combinations, run at which commit.

All are run in time: those left out of one commit have their turn at a later one.
"""

import collections
import math
import pathlib
import subprocess
import zlib

import pytest

# Of a kind of slow tests, each run takes every twelfth, or fewer, so that they are no
# more than so many; of twelve or fewer, one.
SLOW_STRIDE, SLOW_MOST = 12, 20
# Where two stacks share the tests, each runs all of these, for they are where Keras
# differs, but for slow ones, and of a test's combinations, if they are so many, a part.
OF_BOTH = (
    "backbones",
    "callbacks",
    "layers",
    "losses",
    "recipes",
    "test_contracts.py",
    "training",
    "weighting",
)
MANY = 4


def choose(items, everything=False, each_kind=False, turn=None, share=None):
    """Marks the tests that do not run now as skipped, and says why.

    Args:
        items: The tests; those of one function are a kind.
        everything: Whether all run.
        each_kind: Whether some of each kind of slow tests run; none otherwise.
        turn: Which of the combinations, any integer; the number of commits by
            default.
        share: 0 or 1 for one of two stacks that share the tests: what one leaves out,
            files and combinations drawn anew at each commit, the other runs.
    """
    if everything:
        return
    turn = number_of_commits() if turn is None else turn
    slow, thin = (
        [item for item in items if _mark(item) == name] for name in ("slow", "thin")
    )
    if not each_kind:
        for item in slow:
            item.add_marker(pytest.mark.skip(reason="slow: needs --runslow"))
        slow = []
    left_out = [*_left_out(slow, turn), *_left_out(thin, turn)]
    for item in left_out:
        _skip(item, "another commit's turn")
    if share is not None:
        waiting = {item.nodeid for item in left_out}
        there = [item for item in items if item.nodeid not in waiting]
        for item in _of_other_share(there, share, turn):
            _skip(item, "the other stack's, or another commit's turn")


def _skip(item, why):
    kind = _mark(item) or "shared"
    item.add_marker(pytest.mark.skip(reason=f"{kind}: {why}, or --runslow"))


def _mark(item):
    return next((n for n in ("slow", "thin") if item.get_closest_marker(n)), None)


def _of_functions(items):
    functions = collections.defaultdict(list)
    for item in items:
        functions[item.nodeid.split("[")[0]].append(item)
    return functions.values()


def _left_out(items, turn):
    for own in _of_functions(items):
        if _mark(own[0]) == "slow":
            stride = max(SLOW_STRIDE, math.ceil(len(own) / SLOW_MOST))
        else:
            stride = own[0].get_closest_marker("thin").args[0]
        stride = min(stride, len(own))
        for number, item in enumerate(own):
            if (number - turn) % stride:
                yield item


def _of_other_share(items, share, turn):
    for own in _of_functions(items):
        file = own[0].nodeid.split("::")[0]
        of_both = bool(set(file.split("/")) & set(OF_BOTH))
        if of_both and len(own) < MANY and _mark(own[0]) != "slow":
            continue
        for item in own:
            drawn = item.nodeid if of_both else file
            if zlib.crc32(f"{turn} {drawn}".encode()) % 2 != share:
                yield item


def number_of_commits():
    """Returns how many commits led here; 0 where git does not say."""
    command = ["git", "rev-list", "--count", "HEAD"]
    folder = pathlib.Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        return int(done.stdout or 0)
    except (OSError, ValueError):
        return 0
