"""Processes that write embeddings to one place at once: one does, others hear why."""

import threading
import time

import numpy as np
import pytest

from tfembed.formats import shard_writer
from tfembed.formats.shard_writer import open_shards

IDENTITY = {"format": "npz", "dim": 2}
ABOUT = {"class_names": ["x", "y"]}
ROWS = np.eye(2, dtype=np.float32)


@pytest.mark.parametrize("name", ["out", "out.npz"])
def test_nobody_dies_of_anothers_end(tmp_path, name):
    stop, errors, refused, opened = time.monotonic() + 1, [], [], []

    def write():
        """Makes the place, writes a shard and takes all of it away."""
        try:
            while time.monotonic() < stop and not errors:
                try:
                    with open_shards(tmp_path / name, IDENTITY, ABOUT) as shards:
                        shards.add(["a", "b"], [0, 1], ROWS)
                        opened.append(len(shards.entries))
                        shards.clear()
                except ValueError as error:
                    assert "Another process is writing" in str(error)
                    refused.append(error)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    assert refused and set(opened) == {1}
    assert not [each for each in tmp_path.rglob("*") if not each.is_dir()]


def test_a_file_that_another_finished_meanwhile_is_taken(tmp_path, monkeypatch):
    real = shard_writer._make_folder

    def after_another(path):
        monkeypatch.setattr(shard_writer, "_make_folder", real)
        with open_shards(tmp_path / "out.npz", IDENTITY, ABOUT) as shards:
            shards.add(["a", "b"], [0, 1], ROWS)
            shards.finish()
        return real(path)

    monkeypatch.setattr(shard_writer, "_make_folder", after_another)
    with open_shards(tmp_path / "out.npz", IDENTITY, ABOUT) as shards:
        assert shards.finished
        (part,) = shards.finish()
    np.testing.assert_array_equal(part.embeddings, ROWS)
    assert [each.name for each in tmp_path.iterdir()] == ["out.npz"]
