"""The locks hold what setup.py asks for; the wheel holds the package alone."""

import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shared import loaded

ROOT = pathlib.Path(__file__).resolve().parent.parent
STACKS = {
    "addons": ["3.9", "3.10", "3.11"],
    "current": ["3.10", "3.11", "3.12", "3.13"],
}


@pytest.fixture(scope="module")
def wanted():
    """Returns setup.py's requirements: `{extra or "": [Requirement]}`."""
    code = (
        "import setuptools, runpy, json\n"
        "setuptools.setup = lambda **k: print(json.dumps("
        "{**k['extras_require'], '': k['install_requires']}))\n"
        "runpy.run_path('setup.py')"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {
        extra: [Requirement(text) for text in texts]
        for extra, texts in json.loads(done.stdout).items()
    }


def locked(stack, python):
    """Returns `{name: version}` of a lock on one Python."""
    found = {}
    for line in (ROOT / "constraints" / f"{stack}.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and "+" not in specifier.version, line
        assert pin.url is None and "*" not in specifier.version, line
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in found, line
            found[canonicalize_name(pin.name)] = specifier.version
    return found


@pytest.mark.parametrize("stack", [*STACKS, *(f"beam-{stack}" for stack in STACKS)])
def test_what_is_kept_when_a_lock_is_renewed_is_what_pip_reads_in_it(stack):
    renew = loaded("constraints/renew.py")
    for python in STACKS[stack.removeprefix("beam-")]:
        kept = renew.read_lock(stack, python)
        named = {canonicalize_name(name): version for name, version in kept.items()}
        assert named == locked(stack, python) and len(kept) == len(named) > 5


@pytest.mark.parametrize("stack", STACKS)
def test_locks_satisfy_the_extras(stack, wanted):
    for python in STACKS[stack]:
        pins = locked(stack, python)
        with_beam = {**pins, **locked(f"beam-{stack}", python)}
        for extra, requirements in wanted.items():
            if stack == "current" and extra in ("addons", "all"):
                continue
            known = with_beam if extra == "beam" else pins
            for requirement in requirements:
                marker = requirement.marker
                if marker and not marker.evaluate({"python_version": python}):
                    continue
                version = known.get(canonicalize_name(requirement.name))
                assert version, f"{requirement} is not in {stack} on {python}"
                assert requirement.specifier.contains(version), (requirement, version)


@pytest.mark.parametrize("stack", STACKS)
def test_what_beam_needs_differs_from_the_lock(stack):
    """A line that says what the lock says already would only go stale."""
    for python in STACKS[stack]:
        pins, over = locked(stack, python), locked(f"beam-{stack}", python)
        assert not [name for name in over if pins.get(name) == over[name]]
        assert python == "3.9" or "apache-beam" in over


@pytest.mark.parametrize("stack", STACKS)
def test_locks_bring_no_gpu_packages(stack):
    names = set().union(*(locked(stack, python) for python in STACKS[stack]))
    assert not [name for name in names if name.startswith(("nvidia-", "cuda"))]


def test_all_holds_every_extra_for_users(wanted):
    extras = wanted.keys() - {"dev", "beam"}  # Beam needs other versions than the locks
    names = {r.name for extra in extras for r in wanted[extra]}
    assert {r.name for r in wanted["all"] + wanted[""]} == names


def test_this_environment_is_the_lock():
    from importlib import metadata

    stack = "addons" if metadata.version("tensorflow").startswith("2.15") else "current"
    pins = locked(stack, "{}.{}".format(*sys.version_info))
    there = {}
    for found in metadata.distributions(path=[sysconfig.get_path("purelib")]):
        there[canonicalize_name(found.metadata["Name"])] = found.version
    assert {name: there.get(name) for name in pins} == pins


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tfembed", "recipes", "export", "tests"):
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("tfembed-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"tfembed"}
    packed = {name for name in names if name.startswith("tfembed/")}
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tfembed").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there
    code = "import tfembed; print(tfembed.__file__, tfembed.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(wheel), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert str(wheel) in done.stdout, done.stderr
