"""What the documents say is so: code runs, commands parse, links lead somewhere.

Python blocks of a document run in order, in one process, in an empty folder. Commands
of bash blocks are parsed, those of tfembed by their real parsers. A block that needs
more has a mark in the line before it, `<!-- needs: docker -->` or
`<!-- needs: minutes -->`, and is only parsed; the reader must be told in words, `needs
docker`, in the block or in the paragraph before it.
"""

import ast
import dataclasses
import doctest
import importlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from shared import loaded

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "recipes/*.md",
        "export/*.md",
        "benchmarks/*.md",
        "docs/*.md",
    )
    for path in ROOT.glob(pattern)
)
# Whose Python goes on from what their commands did: `test_tutorial.py` and
# `test_extend.py` run both.
RUN_WHOLE = {"docs/tutorial.md", "docs/extend.md"}
PROGRAMS = {"cat", "cd", "cp", "curl", "docker", "git", "ls", "mkdir", "pip", "source"}
PROGRAMS |= {
    "apt-get",
    "echo",
    "tensorboard",
    "kill",
    "ruff",
    "pytest",
    "export",
    "sed",
    "sudo",
    "xargs",
}


@dataclasses.dataclass
class Block:
    """A fenced block; what it needs, if marked; and the paragraph before it."""

    language: str
    text: str
    line: int
    needs: "str | None"
    before: str


def blocks(text):
    """Returns the fenced blocks of a Markdown text."""
    found, lines, start = [], text.splitlines(), None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        above = "\n".join(lines[:start]).rstrip()
        mark = re.search(r"<!-- needs: ([\w -]+?) -->$", above)
        body = "\n".join(lines[start + 1 : number])
        indent = len(lines[start]) - len(lines[start].lstrip())
        body = re.sub(rf"(?m)^ {{0,{indent}}}", "", body) if indent else body
        if mark:
            above = above[: mark.start()].rstrip()
        found.append(
            Block(
                lines[start].strip("` "),
                body + "\n",
                start + 2,
                mark and mark.group(1),
                above.rpartition("\n\n")[2],
            )
        )
        start = None
    return found


def commands(text):
    """Yields the commands of a bash block as lists of words.

    Continued lines are joined; `&&`, `||`, `|`, `;` and `&` part commands; comments,
    redirections and `NAME=value` before a command are left out.
    """
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.sub(r"\d*>&\d+", "", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words, skip = [], False
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;()"):
                if words:
                    yield words
                words = []
            elif set(word) <= set("<>"):
                skip = True
            elif skip:
                skip = False
            elif words or not re.match(r"\w+=", word):
                words.append(word)


PARSE = """
import argparse, json, runpy, sys

class Parsed(Exception):
    pass

whole = argparse.ArgumentParser.parse_args

def parse_args(self, *args, **kwargs):
    raise Parsed(whole(self, *args, **kwargs))

argparse.ArgumentParser.parse_args = parse_args
known = argparse.ArgumentParser.parse_known_args
depth = 0

def parse_known_args(self, *args, **kwargs):
    global depth
    depth += 1
    try:
        found, others = known(self, *args, **kwargs)
    finally:
        depth -= 1
    if depth == 0 and sys._getframe(1).f_code is not whole.__code__:
        if others and getattr(found, "command", "") != "embed":  # has Beam's flags too
            self.error(f"unrecognized arguments: {others}")
        raise Parsed(found)
    return found, others

argparse.ArgumentParser.parse_known_args = parse_known_args
mixed = argparse.ArgumentParser.parse_intermixed_args

def parse_intermixed_args(self, *args, **kwargs):
    global depth
    depth += 1  # it parses in two goes, of which each leaves something over
    try:
        found = mixed(self, *args, **kwargs)
    finally:
        depth -= 1
    raise Parsed(found)

argparse.ArgumentParser.parse_intermixed_args = parse_intermixed_args
for module, flags in json.load(sys.stdin):
    sys.argv = [module, *flags]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        print("ok")
    except Parsed:
        print("ok")
    except SystemExit as end:
        print("no" if end.code else "ok")
"""


def parse_by_module(pairs):
    """Lets each module's own parser read its flags; returns the complaints."""
    if not pairs:
        return []
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE],
        input=json.dumps(pairs),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    verdicts = [line for line in done.stdout.splitlines() if line in ("ok", "no")]
    assert len(verdicts) == len(pairs), done.stdout + done.stderr
    wrong = [pair for pair, verdict in zip(pairs, verdicts) if verdict == "no"]
    return [f"{' '.join([m, *flags])}: {done.stderr.strip()}" for m, flags in wrong]


def run_py():
    return loaded("run.py")


def complaints(text):
    """Returns what is wrong with the commands of a document."""
    found, pairs = [], []
    for block in blocks(text):
        if block.language not in ("bash", "sh", "shell", "console"):
            continue
        body = re.sub(r"(?m)^\$ ", "", block.text)
        for words in commands(body):
            program, rest = pathlib.PurePosixPath(words[0]), words[1:]
            if re.fullmatch(r"python(3(\.\d+)?)?", program.name):
                found += python_complaints(rest, pairs)
            elif program.is_absolute() or len(program.parts) == 1:
                if program.name not in PROGRAMS:
                    found.append(f"{program.name} is no known program")
            elif program.parts[0] != ".venv" and not (ROOT / program).exists():
                found.append(f"there is no {program}")
    return found + parse_by_module(pairs)


def python_complaints(words, pairs):
    """Looks at the words after `python`; leaves tfembed's commands in `pairs`."""
    if words[:1] == ["-m"]:
        if words[1].split(".")[0] == "tfembed":
            pairs.append((words[1], words[2:]))
        return []
    if words[:2] == ["run.py", "demo"]:
        _, flags = run_py().demo_parser().parse_known_args(words[2:])
        if flags:
            pairs.append(("tfembed.recipes.instdisc", flags))
        return []
    if words[:2] == ["run.py", "tests"]:
        return []
    if words[:2] == ["run.py", "photos"]:
        try:
            run_py().photos_parser().parse_args(words[2:])
        except SystemExit:
            return [f"wrong flags: {words}"]
        return []
    if words and words[0] != "-c" and not (ROOT / words[0]).is_file():
        return [f"there is no {words[0]}"]
    return []


def test_the_reader_reads():
    text = "a\n\n<!-- needs: docker -->\n```bash\ndocker run x \\\n  -p 1\n```\n"
    (block,) = blocks(text)
    assert (block.language, block.needs, block.before) == ("bash", "docker", "a")
    assert list(commands(block.text)) == [["docker", "run", "x", "-p", "1"]]
    line = "A=1 cd 'x y' && ls > z 2>&1 # why\n# all\nb & c | d; e"
    assert list(commands(line)) == [["cd", "x y"], ["ls"], ["b"], ["c"], ["d"], ["e"]]
    assert "README.md" in DOCUMENTS


def test_wrong_commands_are_caught():
    planted = [
        "frobnicate --now",
        "python3 no_such_file.py",
        "./no-such-script",
        "python -m tfembed.export",
        "python -m tfembed.serving models/x --no-such-flag 1",
        "python3 run.py demo --no-such-flag 1",
        "python3 run.py photos FOLDER --no-such-flag 1",
        "python -m tfembed.interop index runs/demo x --no-such-flag 1",
        "python -m tfembed.export gallery models/demo --no-such-flag 1",
    ]
    for line in planted:
        assert complaints(f"```bash\n{line}\n```\n"), line
    right = (
        "python -m tfembed.serving models/x --port 0\npython3 run.py demo --quick\n"
        "python -m tfembed.interop index runs/demo x --library nmslib\n"
        "python -m tfembed.interop embed a b c --runner DirectRunner\n"
    )
    assert complaints(f"```bash\n{right}\n```\n") == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_parse(document):
    assert complaints((ROOT / document).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_marks_can_be_seen(document):
    for block in blocks((ROOT / document).read_text(encoding="utf-8")):
        if block.needs:
            words = " ".join((block.before + "\n" + block.text).lower().split())
            assert f"needs {block.needs.lower()}" in words, f"line {block.line}"


def python_documents():
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    return [
        name
        for name in DOCUMENTS
        if name not in RUN_WHOLE
        and any(block.language == "python" for block in blocks(texts[name]))
    ]


@pytest.mark.parametrize("document", python_documents())
def test_python_blocks_run(document, tmp_path):
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = [""] * (len(text.splitlines()) + 1)
    for block in blocks(text):
        if block.language == "python":
            ast.parse(block.text)
            if not block.needs:
                body = block.text.splitlines()
                lines[block.line - 1 : block.line - 1 + len(body)] = body
    script = tmp_path / "document.py"  # with the document's own line numbers
    script.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"import runpy; runpy.run_path({str(script)!r})"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def slugs(text):
    """Returns the anchors that the headings of a Markdown text make."""
    titles = re.findall(r"(?m)^#+ +(.*?) *$", re.sub(r"(?s)```.*?```", "", text))
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    prose = re.sub(r"(?s)```.*?```", "", text)
    links = re.findall(r"\]\(([^()\s]+)\)", prose)
    links += re.findall(r"(?:src|href)=\"([^\"]+)\"", prose)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), link
        if anchor:
            assert anchor in slugs(target.read_text(encoding="utf-8")), link


def modules_with_examples():
    return [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in sorted((ROOT / "tfembed").rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_run(name):
    """`np`, `tf` and `keras` are there; whatever else an example uses it makes."""
    import numpy as np
    import tensorflow as tf

    module = importlib.import_module(name.replace(".__init__", ""))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    names = {"np": np, "tf": tf, "keras": tf.keras}
    failed, tried = doctest.testmod(module, extraglobs=names, optionflags=flags)
    assert tried and not failed


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("*.py")), ids=lambda path: path.stem
)
def test_run_definitions_are_named_in_their_own_command(path, tmp_path):
    """A run's docstring says the command that launches it, and that command parses."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    lines = re.findall(r"(?m)^ *(python3? -m tfembed.*(?:\\\n.*)*)", text)
    assert lines and f"recipes/{path.name}" in text
    assert complaints("```bash\n" + "\n".join(lines) + "\n```\n") == []


def test_bash_is_bash():
    script = ROOT / ".ci" / "run"
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
