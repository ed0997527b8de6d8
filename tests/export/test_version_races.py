"""Writers, writers that fail, prune and readers at once: nobody dies of another.

Threads stress the folder of versions for a bounded time, without TensorFlow.
"""

import contextlib
import json
import os
import shutil
import threading
import time

import pytest

from tfembed.export import version_list, version_rollback, versions
from tfembed.export.version_list import list_versions
from tfembed.export.version_rollback import rollback
from tfembed.export.versions import (
    NewerVersionError,
    held,
    new_version,
    prune_versions,
    version_paths,
)
from tfembed.serving.versions import find_versions

SECONDS = 1.5
_CARD = json.dumps({"gallery": {"size": 3}, "head": {"head": "exact"}})


def at_once(works, seconds=SECONDS):
    """Repeats functions, each in threads of its own, at least once; returns counts."""
    stop = time.monotonic() + seconds
    counts, errors = dict.fromkeys(works, 0), []

    def repeat(name, work):
        while not errors:
            try:
                work()
                counts[name] += 1
            except BaseException as error:
                errors.append(error)
            if time.monotonic() > stop:
                break

    threads = [
        threading.Thread(target=repeat, args=(name, work))
        for name, (work, number) in works.items()
        for _ in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return counts


def write(base, **options):
    with new_version(base, **options) as version:
        (version.path / "assets.extra").mkdir()
        (version.path / "saved_model.pb").write_text("graph")
        (version.path / "card.json").write_text(_CARD)
    return version


def fail(base):
    with contextlib.suppress(KeyError):
        with new_version(base) as version:
            for name in "abcdef":
                (version.path / name).mkdir()
                (version.path / name / "file").write_text("half")
            raise KeyError


def test_writers_failing_writers_and_prune(tmp_path):
    write(tmp_path)
    numbers = []

    def read():
        time.sleep(0.002)  # or readers leave no time to the others
        path = list(version_paths(tmp_path).values())[0]
        with contextlib.suppress(FileNotFoundError):  # what `held` is documented for
            with held(path):
                card = json.loads((path / "card.json").read_text())
                assert card["gallery"] == {"size": 3}

    def see():
        time.sleep(0.002)
        for version in list_versions(tmp_path):
            assert version["rows"] == 3 and version["bytes"] > 0

    def go_back():
        with contextlib.suppress(NewerVersionError):
            try:
                rollback(tmp_path, report=None)
            except ValueError as error:
                assert "must have a version to go back to" in str(error)

    counts = at_once(
        {
            "write": (lambda: numbers.append(write(tmp_path).number), 4),
            "fail": (lambda: fail(tmp_path), 4),
            "prune": (lambda: prune_versions(tmp_path, 1), 2),
            "read": (read, 2),
            "list": (see, 1),
            "rollback": (go_back, 1),
        }
    )
    assert min(counts.values()) > 0, counts
    assert len(set(numbers)) == len(numbers)
    assert not [path for path in tmp_path.iterdir() if "staging" in path.name]
    for path in version_paths(tmp_path).values():
        assert (path / "card.json").exists() and (path / "saved_model.pb").exists()


def test_a_base_that_failing_writers_make_and_take_away(tmp_path):
    base = tmp_path / "deep" / "base"

    def remove():
        """As a person who clears the folder, when nobody writes."""
        with contextlib.suppress(OSError):
            if not any("staging" in name for name in os.listdir(base)):
                os.rmdir(base)

    counts = at_once({"fail": (lambda: fail(base), 6), "remove": (remove, 1)})
    assert min(counts.values()) > 0, counts
    assert not base.exists() or not os.listdir(base)
    counts = at_once(
        {"fail": (lambda: fail(base), 4), "write": (lambda: write(base), 2)}
    )
    assert min(counts.values()) > 0, counts
    assert len(version_paths(base)) == counts["write"]


def test_what_vanishes_between_listing_and_opening(tmp_path, monkeypatch):
    """At each place one by one, whatever the threads' luck."""
    for _ in range(3):
        write(tmp_path)
    left = tmp_path / ".tfembed-staging-1-abandoned"
    left.mkdir()
    real_open = os.open

    def vanishing(path, *args, **options):
        if os.fspath(path) == os.fspath(left):
            left.rmdir()
        return real_open(path, *args, **options)

    monkeypatch.setattr(versions.os, "open", vanishing)
    assert write(tmp_path).number == 4
    left = tmp_path / "1"
    (left / "assets.extra").rmdir()
    for each in left.iterdir():
        each.unlink()
    assert prune_versions(tmp_path, 1) == ([2, 3], [])


def test_a_version_that_goes_while_it_is_listed(tmp_path, monkeypatch):
    for _ in range(3):
        write(tmp_path)
    real, paths = version_list.version_paths, version_paths(tmp_path)
    monkeypatch.setattr(
        version_list,
        "version_paths",
        lambda base: real(base) and shutil.rmtree(paths[2], True) or paths,
    )
    assert [each["number"] for each in list_versions(tmp_path)] == [1, 3]


def test_all_that_were_listed_have_gone(tmp_path, monkeypatch):
    """So others came after the listing, or prune had left the newest."""
    write(tmp_path)

    def newer(name, real):
        def listing(path):
            names = real(path)
            monkeypatch.setattr(name, real)
            write(tmp_path)
            assert prune_versions(tmp_path, 1)[0]
            return names

        return listing

    monkeypatch.setattr("os.listdir", newer("os.listdir", os.listdir))
    assert find_versions(tmp_path) == {2: str(tmp_path / "2")}
    monkeypatch.setattr("os.listdir", newer("os.listdir", os.listdir))
    assert version_paths(tmp_path) == {3: tmp_path / "3"}


def test_a_version_that_goes_before_it_is_rolled_back_to(tmp_path, monkeypatch):
    for _ in range(3):
        write(tmp_path)
    real = version_rollback.held

    def going(path):
        shutil.rmtree(path, True)
        monkeypatch.setattr(version_rollback, "held", real)
        return real(path)

    monkeypatch.setattr(version_rollback, "held", going)
    assert rollback(tmp_path, report=None).name == "4"  # version 1 again
    assert (
        json.loads((tmp_path / "4/card.json").read_text())["origin"]["to_version"] == 1
    )
    monkeypatch.setattr(version_rollback, "held", going)
    with pytest.raises(ValueError, match="`to` must be .* which is not there"):
        rollback(tmp_path, to=1, report=None)
