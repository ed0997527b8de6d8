"""Does the suite notice? Changes one line of the package at a time and runs its tests.

    python tests/mutants.py --work mutants

A *mutant* is the package with one small fault: a comparison turned (`<` to `<=`, `==`
to `!=`, `in` to `not in`), a number or a truth value changed, a call dropped, two
neighbouring statements swapped. They are drawn by `--seed` from all that can be
changed, at least `--per-room` of each room, by ranks that come from their text alone. A
mutant is *killed* when a test fails, and *survives* when all tests chosen for it pass.
The tests chosen for a file are those that name it or what it defines, then those of its
room, within `--seconds` each.

What has been run is not run again: results stand in `--work` by the text of the
mutant and of the file, and a second start goes on with the rest. Mutants that change
nothing that could be seen stand in `tests/equivalent_mutants.json`, each with its
reason, and are not drawn.

Run it in one of the environments of the project; it needs no network, and writes below
`--work` only. What is of the other stack alone survives there, so what has survived is
tried again in the other environment, with `--survivors-of` and a `--work` of its own.
"""

import argparse
import ast
import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "tfembed"
EQUIVALENT = pathlib.Path(__file__).with_name("equivalent_mutants.json")
COPIED = ("benchmarks", "constraints", "docs", "export", "recipes", "tests", PACKAGE)
TURNED = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "is": "is not",
    "is not": "is",
    "in": "not in",
    "not in": "in",
}
_OPERATOR = re.compile(r"<=|>=|==|!=|<|>|is\s+not|is|not\s+in|in")
_SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete, ast.Raise)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: Relative to the root, with slashes.
        kind: "comparison", "constant", "dropped call" or "swapped statements".
        line: Line number, from 1.
        start: Offset of the text that is replaced.
        end: Offset behind it.
        new: What stands there instead.
        shown: The line, or lines, before and after, for people and for the list of
            those that change nothing.
    """

    path: str
    kind: str
    line: int
    start: int
    end: int
    new: str
    shown: tuple

    @property
    def room(self):
        """The folder below the package, or the file."""
        return self.path.split("/")[1].removesuffix(".py")

    def apply(self, source):
        """Returns the file's text with the change in it."""
        return source[: self.start] + self.new + source[self.end :]


def mutants_of(path, source):
    """Returns all mutants of a file, in their order in it.

    Args:
        path: Relative path, for the record.
        source: The file's text.
    """
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(line, column):  # columns count bytes of UTF-8
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    def span(node):
        return (
            offset(node.lineno, node.col_offset),
            offset(node.end_lineno, node.end_col_offset),
        )

    found = []

    def add(kind, line, start, end, new):
        first = source.rfind("\n", 0, start) + 1
        last = source.find("\n", end)
        last = len(source) if last < 0 else last
        before = source[first:last]
        after = source[first:start] + new + source[end:last]
        shown = (" ".join(before.split()), " ".join(after.split()))
        found.append(Mutant(path, kind, line, start, end, new, shown))

    skipped = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets
        ):
            skipped.update(id(each) for each in ast.walk(node))
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, right in zip(sides, sides[1:]):
                start, end = span(left)[1], span(right)[0]
                operator = _OPERATOR.search(source[start:end].replace("(", " "))
                if operator:
                    name = " ".join(operator[0].split())
                    place = start + operator.start()
                    new = TURNED[name]
                    add(
                        "comparison",
                        left.end_lineno,
                        place,
                        place + len(operator[0]),
                        new,
                    )
        elif isinstance(node, ast.Constant):
            new = _other_constant(node.value)
            if new is not None:
                add("constant", node.lineno, *span(node), new)
        for body in (
            getattr(node, name, None) for name in ("body", "orelse", "finalbody")
        ):
            if isinstance(body, list):
                _statements(body, source, span, add)
    return sorted(set(found), key=lambda mutant: (mutant.start, mutant.kind))


def _other_constant(value):
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int):
        return str(value + 1)
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return repr(value * 2 if value else 1.0)
    return None


def _statements(body, source, span, add):
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            add("dropped call", statement.lineno, *span(statement), "pass")
    for first, second in zip(body, body[1:]):
        both = (first, second)
        if not all(isinstance(each, _SIMPLE) for each in both):
            continue
        if not any(_has_effect(each) for each in both):
            continue
        if any(isinstance(each, ast.Expr) and _is_text(each.value) for each in both):
            continue  # a docstring
        (start, middle), (behind, end) = span(first), span(second)
        between = source[middle:behind]
        new = source[behind:end] + between + source[start:middle]
        add("swapped statements", first.lineno, start, end, new)


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _has_effect(node):
    """Tells a call for its effect, and a change of what other code sees."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return any(not isinstance(target, ast.Name) for target in node.targets)
    return True


def all_mutants(root=ROOT):
    """Returns the mutants of every file of the package, by room."""
    rooms = {}
    known = known_equivalents()
    for file in sorted((root / PACKAGE).rglob("*.py")):
        path = file.relative_to(root).as_posix()
        if file.name in ("version.py", "__init__.py"):
            continue
        for mutant in mutants_of(path, file.read_text(encoding="utf-8")):
            if (mutant.path, *mutant.shown) not in known:
                rooms.setdefault(mutant.room, []).append(mutant)
    return rooms


def known_equivalents():
    """Returns `(path, before, after)` of the mutants that change nothing."""
    if not EQUIVALENT.exists():
        return set()
    listed = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {(each["path"], each["before"], each["after"]) for each in listed}


def draw(rooms, seed, count, per_room):
    """Draws mutants: some of each room first, then of all alike.

    Each mutant has a random rank of its own, from the seed and its text, and those of
    the lowest ranks are drawn: a change elsewhere in the package leaves the draw as it
    was, so that what one commit's run has shown still holds for the next.

    Args:
        rooms: `{room: [Mutant, ...]}`.
        seed: Integer.
        count: How many in all, at least.
        per_room: How many of each room, at least.
    """
    ranks = {}
    for room in sorted(rooms):
        seen = collections.Counter()
        for mutant in rooms[room]:
            text = (mutant.path, mutant.kind, mutant.shown)
            seen[text] += 1
            ranked = repr((seed, *text, seen[text])).encode()
            ranks[mutant] = hashlib.sha256(ranked).hexdigest()
    drawn = []
    for room in sorted(rooms):
        drawn += sorted(rooms[room], key=ranks.get)[:per_room]
    rest = sorted(ranks.keys() - set(drawn), key=ranks.get)
    return drawn + rest[: max(0, count - len(drawn))]


# --- which tests --------------------------------------------------------------------


def tests_for(mutant, root=ROOT):
    """Returns test files for a mutant, those first that look closest to it.

    A test file counts by how often it names the file's module, or what the file
    defines; one in the folder of the same room, and one of the same name, count more.
    """
    source = (root / mutant.path).read_text(encoding="utf-8")
    stem = pathlib.PurePosixPath(mutant.path).stem
    names = {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    }
    scores = {}
    for path, words in _test_files(root):
        found = [words[name] for name in {*names, stem} if name in words]
        score = len(found) + min(sum(found), 20) / 20
        *folders, name = path.split("/")
        if stem in name:
            score += 10
        if mutant.room in folders or name == f"test_{mutant.room}.py":
            score += 3
        if name in ("test_contracts.py", "test_loss_contracts.py"):
            score += 1 if mutant.room in ("ops", "losses", "layers", "metrics") else 0
        if score >= 1:
            scores[path] = score
    return sorted(scores, key=lambda path: (-scores[path], path))


@functools.cache
def _test_files(root):
    """Returns each test file's path, and how often it has each word."""
    return [
        (
            file.relative_to(root).as_posix(),
            collections.Counter(re.findall(r"\w+", file.read_text(encoding="utf-8"))),
        )
        for file in sorted((root / "tests").rglob("test_*.py"))
    ]


# --- running ------------------------------------------------------------------------


class Bench:
    """A copy of the project in which one mutant at a time is tried."""

    def __init__(self, folder):
        """Copies the project, less what is not part of it."""
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        for file in ROOT.iterdir():
            if file.is_file():
                shutil.copy2(file, folder / file.name)

    def passes(self, tests, seconds):
        """Runs tests; returns "passed", "failed" or "time out", and the seconds."""
        start = time.monotonic()
        # Behind the mutant what the caller adds, such as an environment with Beam.
        path = [str(self.folder), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        environment.update(TF_CPP_MIN_LOG_LEVEL="3", PYTHONDONTWRITEBYTECODE="1")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-n", "0", "--no-header", "--durations=0", *tests]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return "time out", time.monotonic() - start, ""
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        outcome = {0: "passed", 5: "passed"}.get(process.returncode, "failed")
        failed = re.findall(r"^(?:FAILED|ERROR) (.*)$", said, re.MULTILINE)
        return outcome, time.monotonic() - start, (failed or [said[-300:]])[0]

    def attempt(self, mutant, seconds):
        """Tries one mutant; returns its record."""
        file = self.folder / mutant.path
        source = (ROOT / mutant.path).read_text(encoding="utf-8")
        record = {
            "path": mutant.path,
            "line": mutant.line,
            "kind": mutant.kind,
            "before": mutant.shown[0],
            "after": mutant.shown[1],
        }
        tests = tests_for(mutant)
        file.write_text(mutant.apply(source), encoding="utf-8")
        left = seconds
        try:
            # The closest alone, then the others together: most are killed at once.
            for group in (tests[:2], tests[2:8], tests[8:24]):
                if not group or left <= 0:
                    break
                outcome, took, word = self.passes(group, left)
                left -= took
                if outcome == "failed":
                    return {**record, "outcome": "killed", "by": word[:300]}
                if outcome == "time out":
                    # Tests that hang, where they did not before, have noticed; those
                    # that are only long have not.
                    break
            return {**record, "outcome": "survived", "tests": tests[:24]}
        finally:
            record["seconds"] = round(seconds - left, 1)
            file.write_text(source, encoding="utf-8")


def key_of(mutant):
    """Returns what tells a mutant, and the file that it is of, from others."""
    source = (ROOT / mutant.path).read_bytes()
    text = repr((mutant.path, mutant.start, mutant.end, mutant.new)).encode()
    return hashlib.sha256(text + source).hexdigest()[:16]


def read_results(work):
    """Returns the records of earlier runs in a folder, by their keys."""
    results = work / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def run(mutants, work, jobs, seconds):
    """Tries mutants, and yields their records; those of earlier runs at once.

    Args:
        mutants: List of `Mutant`.
        work: Folder for copies and results.
        jobs: How many at a time.
        seconds: For the tests of one mutant.
    """
    work.mkdir(parents=True, exist_ok=True)
    results = work / "results.jsonl"
    done = read_results(work)
    todo = []
    for mutant in mutants:
        if key_of(mutant) in done:
            yield done[key_of(mutant)]
        else:
            todo.append(mutant)
    benches = queue.Queue()
    for number in range(min(jobs, len(todo))):
        benches.put(Bench(work / f"copy-{number}"))

    def one(mutant):
        bench = benches.get()
        try:
            return {"key": key_of(mutant), **bench.attempt(mutant, seconds)}
        finally:
            benches.put(bench)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for future in concurrent.futures.as_completed(
            [pool.submit(one, mutant) for mutant in todo]
        ):
            record = future.result()
            with open(results, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            yield record


def main(argv=None):
    """Draws, runs and reports; the exit code is 1 if one survives."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=80, help="in all, at least [80]")
    parser.add_argument("--per-room", type=int, default=3, help="at least [3]")
    parser.add_argument("--jobs", type=int, default=2, help="at a time [2]")
    parser.add_argument(
        "--seconds", type=float, default=240, help="for one mutant's tests [240]"
    )
    parser.add_argument("--work", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--survivors-of",
        type=pathlib.Path,
        metavar="FOLDER",
        help="of these only what survived there: the other stack's --work",
    )
    parser.add_argument("--list", action="store_true", help="print them, run nothing")
    options = parser.parse_args(argv)
    rooms = all_mutants()
    drawn = draw(rooms, options.seed, options.count, options.per_room)
    print(
        f"{sum(map(len, rooms.values()))} mutants in {len(rooms)} rooms, "
        f"{len(drawn)} drawn with seed {options.seed}",
        flush=True,
    )
    if options.survivors_of:
        there = read_results(options.survivors_of)
        drawn = [
            mutant
            for mutant in drawn
            if there.get(key_of(mutant), {}).get("outcome") == "survived"
        ]
        print(f"{len(drawn)} of them survived in {options.survivors_of}", flush=True)
    if options.list:
        for mutant in drawn:
            print(f"{mutant.path}:{mutant.line}: {mutant.kind}\n  - {mutant.shown[0]}")
            print(f"  + {mutant.shown[1]}")
        return 0
    survivors, start = [], time.monotonic()
    for number, record in enumerate(
        run(drawn, options.work, options.jobs, options.seconds), 1
    ):
        spent = time.monotonic() - start
        print(
            f"{number}/{len(drawn)}, {spent / 60:.0f} of about "
            f"{spent / 60 * len(drawn) / number:.0f} min: {record['outcome']}, "
            f"{record['path']}:{record['line']}, {record['kind']}",
            flush=True,
        )
        if record["outcome"] == "survived":
            survivors.append(record)
    print(f"\n{len(drawn) - len(survivors)} of {len(drawn)} killed")
    for record in survivors:
        print(f"survived: {record['path']}:{record['line']}, {record['kind']}")
        print(f"  - {record['before']}\n  + {record['after']}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
