"""Names the tests that ran nowhere, and why; fails where the reason is no good one.

    python tests/skipped.py outcomes.jsonl

Every run of pytest adds its outcomes to the file that TFEMBED_OUTCOMES names. A test
that one run skipped and another ran has run. Those that wait for their turn, and what
the other stack runs, are counted only. What remains is printed by name; it is a failure
unless the reason is one of `ALLOWED`: that Chromium or Beam is missing is none.
"""

import collections
import json
import os
import pathlib
import re
import sys

TURNS = re.compile(r"^(slow|thin|shared): ")
# Why a test may run nowhere on a machine that has all that it should have.
ALLOWED = {
    "no such case": r"^it draws rows to a single proxy|^every label comes twice",
    "packages that cannot be had with this Keras": r" on the addons stack$"
    r"|(are|is) of the other stack$|cannot be (made|imported) with Keras 3$",
    "rights": r"^root may write anywhere",
    "no TF Serving here": r"^tensorflow_model_server is not on the PATH"
    r"|^TFSERVING_ADDRESS is not set",
    "another processor": r"^not tried: .* has no ",
    "the machine's own set-up": r"is not to be had on this machine$"
    r"|^virtualenv is installed here|^no IPv6 here",
}


def note(report):
    """Adds the outcome of a test to the file that TFEMBED_OUTCOMES names, if it does.

    Of a file that is skipped as a whole, its name stands for its tests.

    Args:
        report: pytest's.
    """
    path = os.environ.get("TFEMBED_OUTCOMES")
    if not path or os.environ.get("PYTEST_XDIST_WORKER"):  # told to the first process
        return
    record = {"test": report.nodeid, "outcome": report.outcome}
    if report.skipped and isinstance(report.longrepr, tuple):
        record["reason"] = report.longrepr[2].removeprefix("Skipped: ")
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(paths):
    """Returns `{test: reason}` of what was skipped and never ran, and counts.

    Args:
        paths: Files of outcomes, a JSON object a line.
    """
    ran, skipped = set(), {}
    for path in paths:
        for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["outcome"] == "skipped":
                skipped.setdefault(record["test"], record.get("reason", ""))
            else:
                ran.add(record["test"])
    files = {test.split("::")[0] for test in ran}
    never = {
        test: reason
        for test, reason in skipped.items()
        if test not in ran and ("::" in test or test not in files)
    }
    turns = collections.Counter()
    for test in [test for test, reason in never.items() if TURNS.match(reason)]:
        turns[TURNS.match(never.pop(test))[1]] += 1
    return never, turns


def main(paths):
    """Prints what ran nowhere; returns 1 if a reason is no good one."""
    if not paths:
        sys.exit(__doc__)
    never, turns = read(paths)
    for name, number in sorted(turns.items()):
        print(f"{number} {name} tests wait for their turn")
    reasons = collections.defaultdict(list)
    for test, reason in never.items():
        reasons[reason].append(test)
    bad = 0
    for reason, tests in sorted(reasons.items()):
        allowed = any(re.search(pattern, reason) for pattern in ALLOWED.values())
        bad += 0 if allowed else len(tests)
        print(f"{'skipped' if allowed else 'NOT RUN'}: {reason}")
        functions = collections.Counter(test.split("[")[0] for test in tests)
        for name, number in sorted(functions.items()):
            print(f"    {name}" + (f", {number} times" if number > 1 else ""))
    if bad:
        print(f"{bad} tests ran nowhere for want of something that CI must have")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
