"""Versions appear whole, with numbers of their own, or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfembed.export.versions import (
    NewerVersionError,
    held,
    new_version,
    prune_versions,
    version_numbers,
    version_paths,
)

ROOT = Path(__file__).parents[2]


def publish(base, text="hello"):
    with new_version(base) as version:
        (version.path / "deep").mkdir()
        (version.path / "deep" / "file").write_text(text)
    return version


def script(code, *args):
    """Starts Python code in a process of its own, which needs no TensorFlow."""
    code = "import sys, time\nfrom tfembed.export.versions import *\n" + code
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def visible(base):
    return sorted(path.name for path in base.iterdir() if path.name[0] != ".")


def hidden(base):
    return [path for path in base.iterdir() if path.name.startswith(".tfembed-staging")]


def test_versions_count_up(tmp_path):
    base = tmp_path / "new" / "base"
    assert publish(base).number == 1
    version = publish(base)
    assert version.number == 2 and version.path == base / "2"
    assert (base / "2" / "deep" / "file").read_text() == "hello"
    assert visible(base) == ["1", "2"] and not hidden(base)


def test_numbers_are_read_as_the_server_reads_them(tmp_path):
    for name in ("007", "+3", "-2", "1.tmp", ".9", "v12", "10a"):
        (tmp_path / name).mkdir()
    assert version_numbers(tmp_path) == [-2, 3, 7]
    assert publish(tmp_path).number == 8


def test_numbers_of_removed_versions_are_not_given_again(tmp_path):
    publish(tmp_path)
    last = publish(tmp_path)
    (last.path / "deep" / "file").unlink()
    (last.path / "deep").rmdir()
    last.path.rmdir()
    assert publish(tmp_path).number == 3


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        with new_version(tmp_path / "made" / "base") as version:
            (version.path / "file").write_text("half")
            raise KeyError("x")
    assert not (tmp_path / "made" / "base").exists()
    publish(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        with new_version(tmp_path) as version:
            raise KeyboardInterrupt
    assert visible(tmp_path) == ["1", "made"] and not hidden(tmp_path)


def test_nothing_is_seen_before_the_end(tmp_path):
    with new_version(tmp_path) as version:
        (version.path / "file").write_text("half")
        assert visible(tmp_path) == [] and version_numbers(tmp_path) == []


def test_writers_at_once_take_different_numbers(tmp_path):
    code = """
for _ in range(8):
    with new_version(sys.argv[1]) as version:
        (version.path / "writer").write_text(sys.argv[2])
    print(version.number)
"""
    writers = [script(code, tmp_path, name) for name in "abc"]
    numbers = {}
    for name, writer in zip("abc", writers):
        numbers[name] = [
            int(line) for line in writer.communicate(timeout=60)[0].split()
        ]
        assert writer.returncode == 0
    assert sorted(sum(numbers.values(), [])) == list(range(1, 25))
    for name in "abc":
        for number in numbers[name]:
            assert (tmp_path / str(number) / "writer").read_text() == name


def test_a_killed_writer_leaves_no_version_and_is_cleaned_up_after(tmp_path):
    code = """
with new_version(sys.argv[1]) as version:
    (version.path / "saved_model.pb").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    killed, living = script(code, tmp_path), script(code, tmp_path)
    for writer in (killed, living):
        assert writer.stdout.readline() == "writing\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert visible(tmp_path) == [] and len(hidden(tmp_path)) == 2
    assert publish(tmp_path).number == 1
    (left,) = hidden(tmp_path)  # the living writer's
    assert f"-{living.pid}-" in left.name
    os.kill(living.pid, signal.SIGKILL)
    living.wait()
    assert publish(tmp_path).number == 2
    assert visible(tmp_path) == ["1", "2"] and not hidden(tmp_path)
    for writer in (killed, living):
        writer.stdin.close()
        writer.stdout.close()


def test_killed_at_any_moment_versions_are_whole(tmp_path):
    code = """
while True:
    with new_version(sys.argv[1]) as version:
        for name in "abcde":
            (version.path / name).write_text("x" * 1000)
    print("one", flush=True)
"""
    seen = 0
    for delay in (0.0, 0.003, 0.01, 0.02, 0.05):
        writer = script(code, tmp_path)
        assert writer.stdout.readline() == "one\n"
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        numbers = version_numbers(tmp_path)
        assert len(numbers) > seen
        seen = len(numbers)
    for number in numbers:
        files = sorted(path.name for path in (tmp_path / str(number)).iterdir())
        assert files == list("abcde")


def test_a_base_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for base in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="`model_base` must be a folder"):
            publish(base)


def test_a_base_that_is_itself_a_model(tmp_path):
    (tmp_path / "saved_model.pb").write_text("")
    with pytest.raises(ValueError, match="itself a SavedModel"):
        publish(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_base_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="may write"):
        publish(tmp_path)


def test_no_room_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(OSError, match=r"room for a version of about \d+ MB"):
        with new_version(tmp_path / "base", needed_bytes=1 << 60):
            pytest.fail("went on without room")
    assert not (tmp_path / "base").exists()


def test_a_disk_that_fills_up_while_writing(tmp_path):
    with pytest.raises(OSError, match="must have room"):
        with new_version(tmp_path) as version:
            raise OSError(errno.ENOSPC, "No space left on device", str(version.path))
    assert not hidden(tmp_path)


def test_made_out_of_the_newest_or_refused(tmp_path):
    publish(tmp_path)
    with pytest.raises(NewerVersionError, match="Version 2 of .*out of version 1"):
        with new_version(tmp_path, basis=1) as version:
            (version.path / "file").write_text("based on 1")
            publish(tmp_path)
    assert visible(tmp_path) == ["1", "2"] and not hidden(tmp_path)
    with new_version(tmp_path, basis=2) as version:
        (version.path / "file").write_text("based on 2")
    assert version.number == 3


def test_of_writers_with_one_basis_one_publishes(tmp_path):
    publish(tmp_path)
    code = """
try:
    with new_version(sys.argv[1], basis=1) as version:
        (version.path / "writer").write_text(sys.argv[2])
        print("written", flush=True)
        sys.stdin.readline()
    print(version.number)
except NewerVersionError as error:
    print("refused")
"""
    writers = [script(code, tmp_path, name) for name in "abc"]
    for writer in writers:
        assert writer.stdout.readline() == "written\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=60)[0].strip() for writer in writers]
    assert sorted(said) == ["2", "refused", "refused"]
    assert (tmp_path / "2/writer").read_text() == "abc"[said.index("2")]
    assert visible(tmp_path) == ["1", "2"] and not hidden(tmp_path)


def test_pruned_numbers_do_not_come_again(tmp_path):
    for number in range(1, 5):
        (tmp_path / str(number)).mkdir()  # by another tool: no record of the highest
        (tmp_path / str(number) / "file").write_text("x")
    assert prune_versions(tmp_path, 2) == ([1, 2], [])
    assert visible(tmp_path) == ["3", "4"] and not hidden(tmp_path)
    assert prune_versions(tmp_path, 2) == ([], [])
    assert prune_versions(tmp_path, 1) == ([3], [])
    (tmp_path / "4" / "file").unlink()
    (tmp_path / "4").rmdir()
    assert publish(tmp_path).number == 5


def test_a_version_that_is_read_is_not_pruned(tmp_path):
    for _ in range(3):
        publish(tmp_path)
    with held(tmp_path / "1"), held(tmp_path / "1"):
        assert prune_versions(tmp_path, 1) == ([2], [1])
    assert prune_versions(tmp_path, 1) == ([1], [])
    with pytest.raises(FileNotFoundError):
        with held(tmp_path / "1"):
            pytest.fail("it has gone")


@pytest.mark.parametrize("keep", [0, -1, True, 1.5, None])
def test_the_newest_is_never_pruned(tmp_path, keep):
    publish(tmp_path)
    with pytest.raises(ValueError, match="`keep` must be a positive integer"):
        prune_versions(tmp_path, keep)
    assert visible(tmp_path) == ["1"]


def test_killed_while_pruning_no_version_is_half_there(tmp_path):
    code = """
import shutil
def rmtree(path, **options):
    print(path, flush=True)
    time.sleep(60)
shutil.rmtree = rmtree
prune_versions(sys.argv[1], 1)
"""
    for _ in range(3):
        publish(tmp_path)
    pruner = script(code, tmp_path)
    pruner.stdout.readline()
    os.kill(pruner.pid, signal.SIGKILL)
    pruner.communicate()
    assert visible(tmp_path) == ["3"] and len(hidden(tmp_path)) == 2
    assert publish(tmp_path).number == 4
    assert not hidden(tmp_path)


def test_versions_are_listed_in_order(tmp_path):
    for name in ("10", "9", "007", "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file is no version")
    paths = {7: tmp_path / "007", 9: tmp_path / "9", 10: tmp_path / "10"}
    assert list(version_paths(tmp_path).items()) == list(paths.items())
    for wrong, words in [("x", "has none"), ("no", "not exist"), ("12", "is a file")]:
        with pytest.raises(ValueError, match=f"`model_base` must be.*{words}"):
            version_paths(tmp_path / wrong)
    (tmp_path / "10/saved_model.pb").write_text("")
    with pytest.raises(ValueError, match="itself a SavedModel"):
        version_paths(tmp_path / "10")
