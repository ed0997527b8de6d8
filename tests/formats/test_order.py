"""What is on the disk when: the order of writes, syncs, renames and removals.

A file or a backup is there, whole, at each moment at which the machine may stop. Two
things hold that, and both are read off the calls: what is renamed was synced before,
and its folder is synced after; what was there goes when its successor has come.
"""

import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.callbacks import Backup
from tfembed.data import encoded_stream
from tfembed.evaluate import results
from tfembed.export.versions import new_version, prune_versions
from tfembed.formats import disk
from tfembed.formats.shard_writer import MANIFEST, open_shards
from tfembed.formats.shards import write_shard
from tfembed.interop import index_files


@pytest.fixture
def calls(monkeypatch):
    """Records `(what, path)` of each sync, rename and removal, and does it."""
    made = []
    fsync, replace, rmtree = os.fsync, os.replace, shutil.rmtree

    def recorded_fsync(handle):
        made.append(("sync", os.path.realpath(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def recorded_replace(source, target):
        made.append(("rename", str(source), str(target)))
        replace(source, target)

    def recorded_rmtree(path, *args, **kwargs):
        if os.path.exists(path):
            made.append(("remove", str(path)))
        rmtree(path, *args, **kwargs)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    monkeypatch.setattr(os, "rename", recorded_replace)
    monkeypatch.setattr(shutil, "rmtree", recorded_rmtree)
    return made


def made_model():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    compat.build_optimizer(model.optimizer, model.trainable_variables)
    return model


def assert_durable(calls, target):
    """`target` was synced under its former name, renamed, and its folder synced."""
    target = os.path.realpath(target)
    (place,) = [
        number
        for number, call in enumerate(calls)
        if call[0] == "rename" and os.path.realpath(call[2]) == target
    ]
    source = os.path.realpath(calls[place][1])
    before, after = calls[:place], calls[place + 1 :]
    assert ("sync", source) in before
    assert ("sync", os.path.dirname(target)) in after
    return place, source


def test_a_file_is_synced_renamed_and_its_folder_synced(calls, tmp_path):
    with disk.written_beside(tmp_path / "a") as partial:
        with open(partial, "wb") as file:
            file.write(b"x")
    assert_durable(calls, tmp_path / "a")
    with pytest.raises(KeyError), disk.written_beside(tmp_path / "b") as partial:
        open(partial, "wb").close()
        raise KeyError
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_folder_is_synced_whole_renamed_and_the_one_above_synced(
    calls, tmp_path, shared
):
    path = tmp_path / "above" / "a"
    for content in ("old", "new"):
        calls.clear()
        with disk.folder_written_beside(path, shared) as partial:
            os.mkdir(os.path.join(partial, "deep"))
            with open(os.path.join(partial, "deep", "file"), "w") as file:
                file.write(content)
        place, source = assert_durable(calls, path)
        synced = {call[1] for call in calls[:place] if call[0] == "sync"}
        assert {source, f"{source}/deep", f"{source}/deep/file"} <= synced
        assert (path / "deep" / "file").read_text() == content
    removed = [number for number, call in enumerate(calls) if call[0] == "remove"]
    assert calls.index(("sync", str(path.parent)), place) < removed[-1]  # the old one
    with pytest.raises(KeyError), disk.folder_written_beside(path, shared) as partial:
        open(os.path.join(partial, "file"), "w").close()
        raise KeyError
    assert os.listdir(path.parent) == ["a"]
    assert (path / "deep" / "file").read_text() == "new"


def test_names_as_long_as_a_folder_takes(tmp_path):
    for name in ("n" * 255, "ö" * 127):
        for shared in (False, True):
            with disk.written_beside(tmp_path / name, shared) as partial:
                open(partial, "wb").close()
    assert sorted(os.listdir(tmp_path)) == ["n" * 255, "ö" * 127]


def test_an_index_is_synced_before_it_has_its_name(calls, tmp_path):
    with index_files.write_index(tmp_path / "index", ["a"], "cosine", 2) as partial:
        with open(partial, "wb") as file:
            file.write(b"x")
    assert_durable(calls, tmp_path / "index")
    assert_durable(calls, tmp_path / "index.ids.npz")


def test_files_are_renamed_where_they_are_synced():
    """Nothing that stays is written but through the rooms' few writers."""
    package = pathlib.Path(disk.__file__).resolve().parents[1]
    renames = re.compile(r"os\.(replace|rename|renames)\(|shutil\.move\(|\.rename\(")
    found = {}
    for path in package.rglob("*.py"):
        count = len(renames.findall(path.read_text(encoding="utf-8")))
        if count:
            found[path.relative_to(package).as_posix()] = count
    assert found == {
        "formats/disk.py": 3,
        "data/encoded_stream.py": 1,  # two files that are one
        "data/debian_package.py": 1,  # what a package manager unpacked
        "export/versions.py": 2,  # a version appears, under the folder's lock, or goes
        "interop/beam.py": 1,  # of Beam, on any file system
        "interop/index_files.py": 1,  # what a library wrote, and its ids
    }


def test_a_shard_is_written_so(calls, tmp_path):
    write_shard(tmp_path / "part-00000.npz", ["a"], [1], np.ones((1, 2), np.float32))
    assert_durable(calls, tmp_path / "part-00000.npz")


def test_shards_that_are_replaced_first_lose_their_manifest(tmp_path, monkeypatch):
    def write(identity, **options):
        with open_shards(tmp_path / "out", identity, {}, **options) as shards:
            shards.add(["a", "b"], [0, 1], np.eye(2, dtype=np.float32))
            shards.finish()

    write({"format": "npz", "dim": 2, "model": "one"})
    removed, unlink = [], os.unlink

    def recorded(path, *args, **kwargs):
        removed.append(os.path.basename(path))
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", recorded)
    write({"format": "npz", "dim": 2, "model": "two"}, replace=True)
    assert removed[0] == MANIFEST and removed[1] == "part-00000.npz"


def test_measurements_are_synced_before_they_have_their_name(calls, tmp_path):
    results.write(str(tmp_path / "table.json"), lambda file: file.write(b"{}"))
    assert_durable(calls, tmp_path / "table.json")


def test_a_version_is_synced_whole_before_it_appears(calls, tmp_path):
    with new_version(tmp_path) as version:
        staging = str(version.path)
        (version.path / "deep").mkdir()
        (version.path / "deep" / "file").write_text("x")
    place, source = assert_durable(calls, tmp_path / "1")
    assert source == os.path.realpath(staging)
    synced = {call[1] for call in calls[:place] if call[0] == "sync"}
    there = {source, f"{source}/deep", f"{source}/deep/file"}
    assert there <= synced
    (number,) = [call for call in calls[:place] if call[0] == "rename"]
    assert calls.index(("sync", number[1])) < calls.index(number)  # given out for good


def test_a_version_is_taken_away_whole(calls, tmp_path):
    """Out of sight, and its folder synced, before the first of its files goes."""
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "saved_model.pb").write_text("x")
    assert prune_versions(tmp_path, keep=1)[0] == [1]
    (hidden,) = [n for n, call in enumerate(calls) if call[1:2] == (f"{tmp_path}/1",)]
    removed = calls.index(("remove", calls[hidden][2]))
    assert ("sync", os.path.realpath(tmp_path)) in calls[hidden:removed]


def test_decoded_images_come_before_the_file_that_says_they_are_there(
    calls, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(encoded_stream, "_free_memory", lambda: 0)
    image = tf.io.encode_png(np.zeros((2, 2, 1), np.uint8)).numpy()
    encoded_stream.decode_stream(lambda: iter([("a", image, 0)]), 1, (2, 2, 1), "key")
    renamed = [call[2] for call in calls if call[0] == "rename"]
    assert [os.path.splitext(name)[1] for name in renamed] == [".images", ".json"]
    for name in renamed:
        assert_durable(calls, name)
    folder = ("sync", os.path.realpath(tmp_path / "tfembed"))
    assert folder in calls[: [call[-1] for call in calls].index(renamed[1])]


def test_a_backup_is_whole_before_the_one_before_it_goes(calls, tmp_path):
    model = made_model()
    backup = Backup(tmp_path / "backup")
    backup.set_model(model)
    backup.on_epoch_end(0, {"loss": 1.0})
    calls.clear()
    backup.on_epoch_end(1, {"loss": 1.0})
    old, new = (tmp_path / "backup" / f"epoch-{n:05d}" for n in (1, 2))
    place, source = assert_durable(calls, new)
    synced = {call[1] for call in calls[:place] if call[0] == "sync"}
    files = {os.path.join(source, name) for name in os.listdir(new)}
    assert len(files) >= 2 and files <= synced  # each file, not the folder alone
    removed = calls.index(("remove", str(old)))
    folder = ("sync", os.path.realpath(tmp_path / "backup"))
    assert place < calls.index(folder, place) < removed


def test_at_each_call_a_whole_backup_is_there(tmp_path, monkeypatch):
    """The process ends at the first, second, ... sync, rename or removal."""
    model, reached = made_model(), set()
    for stop in range(1, 20):
        folder = tmp_path / str(stop)
        reached.add(stopped_at(stop, model, folder, monkeypatch))
    assert reached == {1, 2}  # ends before the new one was there, and after


def stopped_at(stop, model, folder, monkeypatch):
    """Backs up, stops while doing so again; returns the epochs that are restored."""
    backup = Backup(folder)
    backup.set_model(model)
    backup.on_epoch_end(0, {"loss": 1.0})
    first = model.get_weights()
    model.set_weights([each + 1 for each in first])
    count = 0

    def stopping(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count >= stop:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for module, name in ((os, "fsync"), (os, "replace"), (shutil, "rmtree")):
            patched.setattr(module, name, stopping(getattr(module, name)))
        try:
            backup.on_epoch_end(1, {"loss": 1.0})
        except KeyboardInterrupt:
            pass
    epochs = Backup(folder).restore(model)
    for found, weight in zip(model.get_weights(), first):
        np.testing.assert_array_equal(found, weight + (epochs - 1))
    return epochs
