"""Every command that writes, on a disk that is full: after any of its bytes.

Each says so once, in a sentence, leaves what was there as it was and nothing of its
own, and does its work when there is room again. The disk is a real one, a small tmpfs,
where the tests may mount one; elsewhere a limit on the size of files stands for it.
"""

import functools
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from small_runs import arguments
from tensorflow import keras

import tfembed.dedup.__main__ as dedup
import tfembed.embed
import tfembed.evaluate.__main__ as evaluate
import tfembed.export.__main__ as export
import tfembed.interop.__main__ as interop
import tfembed.report.__main__ as report
from tfembed.export.versions import new_version
from tfembed.formats.disk import FullDiskError, folder_written_beside
from tfembed.formats.image_metadata import read_metadata, write_metadata
from tfembed.recipes import instdisc
from tfembed.serving import SearchResult, draw_neighbors
from tfembed.weighting import figure

COUNT, DIM, SIDE = 40, 4, 8
_PAGE = 4096
_SMALL = 300  # bytes of the largest file, where no disk can be mounted


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run directory with an encoder, on a disk with room."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    inputs = keras.Input((SIDE, SIDE, 1))
    rows = keras.layers.Dense(DIM)(keras.layers.Flatten()(inputs))
    rows = keras.layers.UnitNormalization(dtype="float32")(rows)
    encoder = keras.Model(inputs, rows)
    run = folder / "run"
    run.mkdir()
    encoder.save(run / "model.keras")
    images = rng.integers(0, 256, (COUNT, SIDE, SIDE), np.uint8)
    labels = np.arange(COUNT) % 3
    np.savez(folder / "images.npz", images=images, labels=labels)
    embeddings = rng.normal(size=(COUNT, DIM)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    ids = np.array([f"image {row}" for row in range(COUNT)])
    for name in ("gallery", "queries"):
        np.savez(run / f"{name}.npz", embeddings=embeddings, labels=labels, ids=ids)
    (run / "result.json").write_text("{}")
    curves()  # while there is room for what TensorFlow writes when it traces
    return folder


class Disk:
    """A folder, on which room can be taken away."""

    def __init__(self, folder, mounted):
        self.folder, self.mounted = folder, mounted
        self._filler = folder / ".filler"
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(self, pages):
        """Leaves room for so many pages of the disk, or for small files."""
        if self.mounted:
            with open(self._filler, "wb") as file:
                free = shutil.disk_usage(self.folder).free - pages * _PAGE
                os.posix_fallocate(file.fileno(), 0, max(1, free))
            return
        resource.setrlimit(resource.RLIMIT_FSIZE, (_SMALL, self._limits[1]))

    def free(self):
        """Gives back what `leave` took."""
        self._filler.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def content(self):
        """Returns `{path: bytes}` of all files, and `{path: None}` of folders."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path != self._filler:
                found[path] = path.read_bytes() if path.is_file() else None
        return found


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    """The small disk; or a folder where none can be mounted."""
    folder = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder]
    done = os.geteuid() == 0 and subprocess.run(mount).returncode == 0
    yield folder, done
    if done:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def disk(mounted):
    folder, done = mounted
    found = Disk(folder, done)
    yield found
    found.free()
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def drawn(draw):
    """Draws as a command does, without what it does before; returns its status."""
    try:
        draw()
    except FullDiskError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


@functools.lru_cache
def curves():
    """How one loss weighs pairs: what takes the command its time."""
    return figure.curves_of("Triplet", figure.every_loss()["Triplet"])


def picture(path):
    """Draws the neighbours of a picture: what the query command writes."""
    columns = {
        "ids": np.array([["a", "b"]]),
        "labels": np.array([["x", "y"]]),
        "scores": np.array([[0.9, 0.1]], np.float32),
        "vote": np.array(["x"]),
        "vote_probability": np.array([0.9], np.float32),
        "known": np.array([True]),
        "valid": np.array([True]),
    }
    pictures = [np.zeros((SIDE, SIDE, 1), np.uint8)]
    draw_neighbors(path, pictures, SearchResult(**columns))


# What writes: its call, of the place and of the folder on the small disk; and after how
# many pages the disk is full.
COMMANDS = {
    "evaluate --output": (
        lambda place, to: evaluate.main(
            [f"{place}/run", f"--output={to}/a.json", "--resamples=2", "--quiet"]
        ),
        [0],
    ),
    "evaluate --per-query": (
        lambda place, to: evaluate.main(
            [f"{place}/run", f"--per-query={to}/a.npz", "--resamples=2", "--quiet"]
        ),
        [0, 1],
    ),
    "report": (
        lambda place, to: report.main(
            [f"{place}/run", f"--output={to}/a.html", "--map=pca", "--no-projector"]
        ),
        [4],
    ),
    "report, the projector": (
        lambda place, to: report.main(
            [str(copied(place, to)), f"--output={place}/a.html", "--map=pca"]
        ),
        [0, 1, 2],
    ),
    "weighting": (
        lambda place, to: drawn(lambda: figure.draw([curves()], f"{to}/a.png")),
        [1],
    ),
    "embed": (
        lambda place, to: tfembed.embed.main(
            [f"{place}/run", f"npz:{place}/images.npz", f"{to}/a", "--shard-size=9"]
        ),
        [0, 1, 3],
    ),
    "embed, one file": (
        lambda place, to: tfembed.embed.main(
            [f"{place}/run", f"npz:{place}/images.npz", f"{to}/a.npz"]
        ),
        [0, 2, 3],
    ),
    "dedup": (
        lambda place, to: dedup.main(
            [f"npz:{place}/images.npz", f"--encoder={place}/run", f"--output={to}/a"]
        ),
        [0, 5, 12],
    ),
    "interop index": (
        lambda place, to: interop.main(
            ["index", f"{place}/run", f"{to}/a", "--library=faiss"]
        ),
        [0, 1],
    ),
    "interop index, NMSLIB": (
        lambda place, to: interop.main(
            ["index", f"{place}/run", f"{to}/a", "--library=nmslib"]
        ),
        [0, 1, 2],
    ),
    "the query command's picture": (
        lambda place, to: drawn(lambda: picture(f"{to}/a.png")),
        [0, 2],
    ),
}
GOES_ON = {"dedup", "embed", "embed, one file"}


def copied(place, to):
    """Returns a copy of the run on the small disk, made once."""
    if not (to / "run").exists():
        shutil.copytree(place / "run", to / "run")
    return to / "run"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_so_once_and_leaves_nothing(name, place, disk, capsys):
    command, levels = COMMANDS[name]
    if name in GOES_ON and not disk.mounted:  # see `tests/test_embed.py`
        pytest.skip("no right to mount a small disk here")
    if "interop" in name:
        pytest.importorskip("nmslib" if "NMSLIB" in name else "faiss")
    if "projector" in name:
        copied(place, disk.folder)
    for pages in levels if disk.mounted else levels[:1]:
        before = disk.content()
        disk.leave(pages)
        try:
            assert command(place, disk.folder) != 0, pages
        finally:
            disk.free()
        told(capsys.readouterr().err)
        after = disk.content()
        if name not in GOES_ON:
            assert after == before
        assert not [path for path in after if path.name.endswith(".partial")]
    assert command(place, disk.folder) == 0
    assert not capsys.readouterr().err.count("error")
    whole = disk.content()
    assert whole != before
    disk.leave(0)
    if name not in GOES_ON:  # they have nothing left to do
        assert command(place, disk.folder) != 0
        disk.free()
        assert disk.content() == whole  # what was whole stays


def told(said):
    """Asserts that a sentence says it, once."""
    assert said.count("room for") == 1 and "Traceback" not in said, said
    assert "Exception ignored" not in said and "[Errno" not in said, said


def test_an_export(place, disk, capsys):
    """Where no disk can be mounted see `tests/export/test_model.py`."""
    if not disk.mounted:
        pytest.skip("no right to mount a small disk here")
    base = disk.folder / "base"
    disk.leave(0)
    assert export.main(["model", f"{place}/run", str(base), "--k=3"]) == 1
    disk.free()
    told(capsys.readouterr().err)
    assert not base.exists()


def saved_model(path):
    module = tf.Module()
    module.rows = tf.Variable(np.ones((5000, 4)))
    tf.saved_model.save(module, path)


def record(path):
    with tf.io.TFRecordWriter(os.path.join(path, "file")) as writer:
        writer.write(bytes(100_000))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: pathlib.Path(path, "file").write_bytes(bytes(100_000)),
        saved_model,
        record,
    ],
    ids=["Python", "a SavedModel", "a record"],
)
def test_whatever_fills_a_folder(write, disk):
    """A version, a backup, whichever library writes into it."""
    versions, folder = disk.folder / "base", disk.folder / "folder"
    for path, opened in (
        (versions, lambda: new_version(versions)),
        (folder, lambda: folder_written_beside(folder)),
    ):
        disk.leave(3)
        with pytest.raises(FullDiskError, match="room for"), opened() as into:
            write(str(getattr(into, "path", into)))
        disk.free()
        assert not disk.content()
        with opened() as into:
            write(str(getattr(into, "path", into)))
        shutil.rmtree(path)


def test_what_a_list_says_of_images(disk):
    """SQLite says of a limit on files no more than that writing failed."""
    if not disk.mounted:
        pytest.skip("no right to mount a small disk here")
    ids, columns = [str(row) for row in range(3000)], {"brand": ["x" * 50] * 3000}
    versions = disk.folder / "base"
    disk.leave(3)
    with pytest.raises(FullDiskError, match="room for"), new_version(versions) as into:
        write_metadata(into.path, ids, columns)
    disk.free()
    assert not disk.content()
    with new_version(versions) as into:
        write_metadata(into.path, ids, columns)
    assert read_metadata(into.path, ids[-1:]) == [{"brand": "x" * 50}]


def test_a_run_that_cannot_begin(disk, capsys):
    """That it goes on afterwards is tested with the recipes."""
    settings = {"dataset": "synthetic", "limit": 64, "test_limit": 32, "epochs": 1}
    disk.leave(0)
    with pytest.raises(SystemExit) as error:
        instdisc.main(arguments(disk.folder / "run", settings))
    disk.free()
    assert error.value.code == 2
    told(capsys.readouterr().err)
    files = [path.name for path in disk.content() if path.is_file()]
    assert files == [".lock"]
