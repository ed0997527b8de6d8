"""Resolves both stacks anew, and a server's TensorFlow, and writes their locks.

    python constraints/renew.py [--keep] [addons|current|serving-2.20|site|...]

Each stack is resolved by the pip of every Python it is for, as far as that Python
is on this machine as `python3.X`; nothing is installed. Where the Pythons differ the
lock has one line each, with a marker. Run the tests on both stacks afterwards.

With `--keep` what a lock has stays at its version, so that a new requirement adds its
own packages and moves no other.

Apache Beam holds some packages below what the locks have. So it is in neither of them,
and `beam-STACK.txt` is what an environment with it has otherwise.

TF Serving is behind TensorFlow: `serving-VERSION.txt` is the TensorFlow of its newest
release, alone, in which CI loads what the stacks export. When there is a newer one, it
is changed here and in `.ci/run`.

`site.txt` is what builds the documentation site, laid over the current stack, whose
versions it keeps: it is renewed after that.

`types.txt` is mypy alone, and `release.txt` build and twine, which are laid over a
stack's environment.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What a stack is made of, and the Pythons it is for.
STACKS = {
    "addons": (
        [".[all,dev]", "tensorflow==2.15.1"],
        ["3.9", "3.10", "3.11"],
    ),
    "current": (
        [
            ".[augment,similarity,serving,report,parquet,faiss,torch-files,dev]",
            "tensorflow==2.21.*",
        ],
        ["3.10", "3.11", "3.12", "3.13"],
    ),
}
SERVER = "serving-2.20"
STACKS[SERVER] = (["tensorflow==2.20.*"], STACKS["current"][1])
STACKS["types"] = (["mypy==2.4.*"], STACKS["current"][1])
STACKS["release"] = (["build==1.*", "twine==7.*"], STACKS["current"][1])
HEADER = """\
# The {stack} stack in full: every package of one environment that passes the tests,
# on Linux x86-64, Python {first} to {last}. Written by constraints/renew.py.
"""
BEAM_HEADER = """\
# Laid over constraints/{stack}.txt for Apache Beam: what it brings, and what it holds
# below the lock, on Python {first} to {last}. Written by constraints/renew.py.
"""
SERVER_HEADER = """\
# TensorFlow alone, as the newest TF Serving has it, in which CI loads what the stacks
# export, on Python {first} to {last}. Written by constraints/renew.py.
"""
SITE = "site"
SITE_TOOLS = ["mkdocs==1.6.*", "mkdocs-material==9.*", "mkdocstrings-python==2.*"]
SITE_PYTHONS = ["3.11", "3.12", "3.13"]  # what mkdocstrings-python is for
SITE_HEADER = """\
# Laid over constraints/{stack}.txt for the documentation site: what builds it, on
# Python {first} to {last}. Written by constraints/renew.py.
"""
TYPES_HEADER = """\
# mypy, laid over an environment of either stack to check the package's hints, on Python
# {first} to {last}. Written by constraints/renew.py.
"""
RELEASE_HEADER = """\
# What builds a release and checks it, laid over an environment of either stack, on
# Python {first} to {last}. Written by constraints/renew.py.
"""
# Locks of packages that tfembed does not stand in -> their first lines.
ALONE = {
    SERVER: SERVER_HEADER,
    "types": TYPES_HEADER,
    "release": RELEASE_HEADER,
}
# The Pythons that Beam is not for.
WITHOUT_BEAM = ["3.9"]


def resolve(python, requirements, kept):
    """Returns `{name: version}` of what pip would install into an empty place.

    Args:
        python: The interpreter.
        requirements: What is wanted.
        kept: `{name: version}` of packages that have to have these versions.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv, report = pathlib.Path(folder, "venv"), pathlib.Path(folder, "report")
        constraints = pathlib.Path(folder, "constraints.txt")
        lines = (f"{name}=={number}\n" for name, number in kept.items())
        constraints.write_text("".join(lines))
        subprocess.run([python, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--quiet"]
        subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
        subprocess.run(
            [*pip, "install", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
            + ["--no-binary=promise", "--report", str(report)]
            + ["--constraint", str(constraints), *requirements],
            check=True,
            cwd=ROOT,
        )
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    packages = {}
    for item in installed:
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        # A local label (+cpu) names a build that the index may not have.
        packages[name] = item["metadata"]["version"].partition("+")[0]
    packages.pop("tfembed", None)
    return packages


def marker(pythons, all_pythons):
    """Returns the marker of a run of neighbouring Pythons among all of them."""
    first, last = pythons[0], pythons[-1]
    parts = []
    if first != all_pythons[0]:
        parts.append(f'python_version >= "{first}"')
    if last != all_pythons[-1]:
        after = all_pythons[all_pythons.index(last) + 1]
        parts.append(f'python_version < "{after}"')
    return " ; " + " and ".join(parts) if parts else ""


def merge(resolved):
    """Yields the lines of a lock from `{python: {name: version}}`."""
    pythons = list(resolved)
    for name in sorted(set().union(*resolved.values())):
        runs = []
        for python in pythons:
            version = resolved[python].get(name)
            if runs and runs[-1][0] == version:
                runs[-1][1].append(python)
            else:
                runs.append((version, [python]))
        for version, run in runs:
            if version is not None:
                yield f"{name}=={version}{marker(run, pythons)}"


def differences(lock, other):
    """Returns what `other` has that the lock has not, or has in another version."""
    return {
        name: version for name, version in other.items() if lock.get(name) != version
    }


def read_lock(name, python):
    """Returns `{name: version}` of what `constraints/NAME.txt` has for a Python."""
    packages, minor = {}, int(python.partition(".")[2])
    for line in (ROOT / "constraints" / f"{name}.txt").read_text().splitlines():
        pinned, _, condition = line.partition(" ; ")
        bounds = re.findall(r'python_version (<|>=) "3[.](\d+)"', condition)
        if all((minor < int(m)) == (sign == "<") for sign, m in bounds):
            package, equal, version = pinned.partition("==")
            if equal:
                packages[package] = version
    return packages


def write(name, header, stack, resolved):
    """Writes `constraints/NAME.txt`."""
    pythons = list(resolved)
    header = header.format(stack=stack, first=pythons[0], last=pythons[-1])
    lines = "".join(f"{line}\n" for line in merge(resolved))
    (ROOT / "constraints" / f"{name}.txt").write_text(header + lines)


def find_python(version, stack):
    """Returns the interpreter of a version; ends where there is none."""
    python = shutil.which(f"python{version}")
    if python is None:
        sys.exit(f"python{version} is needed to renew {stack}, and not here.")
    print(f"{stack} on Python {version} ...", flush=True)
    return python


def renew_site(keep):
    """Writes `constraints/site.txt`."""
    resolved = {}
    for version in SITE_PYTHONS:
        python = find_python(version, SITE)
        lock = read_lock("current", version)
        kept = {**read_lock(SITE, version), **lock} if keep else lock
        resolved[version] = differences(lock, resolve(python, SITE_TOOLS, kept))
    write(SITE, SITE_HEADER, "current", resolved)


def main(words):
    """Writes `constraints/STACK.txt`, and `beam-STACK.txt`, for each of the stacks."""
    keep = "--keep" in words
    for stack in [word for word in words if word != "--keep"] or [*STACKS, SITE]:
        if stack == SITE:
            renew_site(keep)
            continue
        requirements, pythons = STACKS[stack]
        resolved, with_beam = {}, {}
        for version in pythons:
            python = find_python(version, stack)
            kept = read_lock(stack, version) if keep else {}
            resolved[version] = resolve(python, requirements, kept)
            if stack not in ALONE and version not in WITHOUT_BEAM:
                if keep:
                    kept = {**kept, **read_lock(f"beam-{stack}", version)}
                other = resolve(python, [*requirements, ".[beam]"], kept)
                with_beam[version] = differences(resolved[version], other)
        if stack in ALONE:
            write(stack, ALONE[stack], stack, resolved)
            continue
        write(stack, HEADER, stack, resolved)
        write(f"beam-{stack}", BEAM_HEADER, stack, with_beam)


if __name__ == "__main__":
    main(sys.argv[1:])
