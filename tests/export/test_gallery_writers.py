"""Updates by processes of their own: several at once, and killed at any moment."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfembed.export import read_served_gallery
from tfembed.export.versions import version_numbers, version_paths

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
# Adds a row, again and again, and says so when it is published. The check in a process
# of its own is left out: what is killed here is the writer.
WRITER = """
import sys
import numpy as np
from tfembed.export import gallery_update
if sys.argv[3] == "unchecked":
    gallery_update.check_gallery = lambda *args: 0.0
base, name = sys.argv[1:3]
print("ready", flush=True)
for number in range(int(sys.argv[4])):
    row = np.random.default_rng(number).normal(size=(1, 16)).astype(np.float32)
    row /= np.linalg.norm(row)
    path = f"{base}/../{name}-{number}.npz"
    np.savez(path, embeddings=row, ids=np.array([f"{name}-{number}"]))
    print("begins", flush=True)
    gallery_update.update_gallery(base, add=path, report=None)
    print(f"{name}-{number}", flush=True)
"""


def start(base, name, check="unchecked", updates=1000):
    words = [sys.executable, "-c", WRITER, str(base), name, check, str(updates)]
    return subprocess.Popen(
        words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def base(exported, tmp_path):
    shutil.copytree(exported.path, tmp_path / "base" / "1")
    return tmp_path / "base"


def published(lines):
    return [line.strip() for line in lines if "-" in line]


def assert_whole(base):
    """Every version that can be seen is whole; returns the ids of the newest."""
    for path in version_paths(base).values():
        gallery = read_served_gallery(path)
        assert len(gallery.ids) == len(gallery.labels) == gallery.size
        norms = np.linalg.norm(gallery.embeddings, axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-3)
        first = version_paths(base)[1]
        for name in ("saved_model.pb", "assets.extra/tf_serving_warmup_requests"):
            assert (path / name).read_bytes() == (first / name).read_bytes()
        assert (path / "card.json").stat().st_size and (path / "README.md").exists()
    return gallery.ids.tolist()


def kill_at_random(base, kills, rng):
    """Writers, one after the other, each killed at a moment of its own."""
    said = []
    for turn in range(kills):
        writer = start(base, f"w{turn}")
        assert writer.stdout.readline() == "ready\n"
        writer.stdout.readline()  # it begins
        time.sleep(rng.random() * rng.choice([0.05, 0.5, 2.0]))
        os.kill(writer.pid, signal.SIGKILL)
        said += published(writer.communicate()[0].splitlines())
        ids = assert_whole(base)
        assert set(said) <= set(ids), "a row that was published is lost"
        numbers = version_numbers(base)
        assert numbers == list(range(1, len(numbers) + 1))
    return said


def test_killed_in_the_middle_nothing_is_half_there(base):
    kill_at_random(base, 1, random.Random(0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_no_row_is_lost(base, seed):
    kill_at_random(base, 8, random.Random(seed))
    writer = start(base, "last", updates=1)
    assert published(writer.communicate(timeout=300)[0].splitlines()) == ["last-0"]
    assert "last-0" in assert_whole(base)
    assert not list(base.glob(".tfembed-staging-*"))


@pytest.mark.slow
@pytest.mark.parametrize("check", ["unchecked", "checked"])
def test_writers_at_once_lose_no_rows(base, check):
    count = 6 if check == "unchecked" else 2
    writers = [start(base, name, check, count) for name in ("a", "b")]
    said = []
    for writer in writers:
        said += published(writer.communicate(timeout=900)[0].splitlines())
        assert writer.returncode == 0
    assert sorted(said) == [f"{n}-{each}" for n in "ab" for each in range(count)]
    assert set(said) <= set(assert_whole(base))
    assert version_numbers(base) == list(range(1, 2 * count + 2))


@pytest.mark.slow
def test_a_disk_that_is_full_keeps_what_is_served(base, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    size = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * size + (9 << 20)}"]
    if os.geteuid() or subprocess.run([*mount, "tmpfs", small]).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        shutil.copytree(base, small / "base")
        with open(small / "filler", "wb") as file:
            file.write(b"x" * (shutil.disk_usage(small).free - (64 << 10)))
        command = [sys.executable, "-m", "tfembed.export", "gallery"]
        command += [small / "base", "--delete-id", "train/ü0000"]
        done = subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "error: `model_base` must have room" in done.stderr
        assert version_numbers(small / "base") == [1]
        assert_whole(small / "base")
        (small / "filler").unlink()
        assert subprocess.run(done.args, cwd=ROOT, env=ENVIRONMENT).returncode == 0
        assert version_numbers(small / "base") == [1, 2]
    finally:
        subprocess.run(["umount", "-l", small], check=True)
