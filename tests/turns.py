"""Which of the slow tests, and of the many combinations, run at which commit.

All are run in time: those left out of one commit have their turn at a later one.
"""

import collections
import math
import pathlib
import subprocess

import pytest

# Of a kind of slow tests, each run takes every twelfth, or fewer, so that they are no
# more than so many; of twelve or fewer, one.
SLOW_STRIDE, SLOW_MOST = 12, 20


def choose(items, everything=False, each_kind=False, turn=None):
    """Marks the tests that do not run now as skipped, and says why.

    Args:
        items: The tests; those of one function are a kind.
        everything: Whether all run.
        each_kind: Whether some of each kind of slow tests run; none otherwise.
        turn: Which of the combinations, any integer; the number of commits by
            default.
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
    # Each stack has the slow tests at every second commit: all of them in time.
    for item in [*_left_out(slow, turn // 2), *_left_out(thin, turn)]:
        reason = f"{_mark(item)}: another commit's turn, or --runslow"
        item.add_marker(pytest.mark.skip(reason=reason))


def _mark(item):
    return next((n for n in ("slow", "thin") if item.get_closest_marker(n)), None)


def _left_out(items, turn):
    functions = collections.defaultdict(list)
    for item in items:
        functions[item.nodeid.split("[")[0]].append(item)
    for own in functions.values():
        if _mark(own[0]) == "slow":
            stride = max(SLOW_STRIDE, math.ceil(len(own) / SLOW_MOST))
        else:
            stride = own[0].get_closest_marker("thin").args[0]
        stride = min(stride, len(own))
        for number, item in enumerate(own):
            if (number - turn) % stride:
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
