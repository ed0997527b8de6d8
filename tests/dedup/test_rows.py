"""Rows by blocks: of arrays, of mapped files, and of what cannot be mapped."""

import resource
import signal

import numpy as np
import pytest

from tfembed.data import read_embeddings
from tfembed.dedup.rows import Rows
from tfembed.formats.disk import FullDiskError
from tfembed.formats.shards import write_shard


def parts_of(folder, endings):
    for number, ending in enumerate(endings):
        yield from (
            (part.embeddings, part.ids)
            for part in read_embeddings(folder / f"part-{number}.{ending}")
        )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_blocks_are_the_rows_at_unit_length(rng, tmp_path, dtype):
    values = rng.standard_normal((50, 7)).astype(dtype)
    values[20] = 0
    ids = np.array([f"ü{row}" for row in range(50)])
    for number, rows in enumerate((slice(0, 13), slice(13, 31), slice(31, 50))):
        path = tmp_path / f"part-{number}.npz"
        write_shard(path, ids[rows], None, values[rows])
    compressed = values[31:]
    np.savez_compressed(tmp_path / "part-2.npz", embeddings=compressed, ids=ids[31:])
    rows = Rows(parts_of(tmp_path, ["npz"] * 3), folder=tmp_path)
    in_memory = Rows([(values, ids)])
    expected = values.astype(np.float64)
    expected[expected.any(1)] /= np.linalg.norm(expected[expected.any(1)], axis=1)[
        :, None
    ]
    for start, stop in ((0, 50), (0, 5), (10, 33), (13, 31), (49, 50)):
        for each in (rows, in_memory):
            block = each.block(start, stop)
            assert block.dtype == np.float32
            np.testing.assert_allclose(block, expected[start:stop], atol=1e-6)
    np.testing.assert_allclose(rows.take([49, 0, 20]), expected[[49, 0, 20]], atol=1e-9)
    assert rows.ids([49, 0, 13]) == ["ü49", "ü0", "ü13"]
    assert rows.sha256 == in_memory.sha256 and rows.without_direction == 1
    assert (rows.size, rows.dim) == (50, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"part-{number}.npz" for number in range(3)
    ]


def test_parquet(rng, tmp_path):
    pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    values = rng.standard_normal((9, 4)).astype(np.float32)
    write_shard(tmp_path / "part-0.parquet", list("abcdefghi"), None, values)
    rows = Rows(parts_of(tmp_path, ["parquet"]), folder=tmp_path)
    assert rows.sha256 == Rows([(values, None)]).sha256
    assert rows.ids([8]) == ["i"]


def test_mapped_files_are_not_mapped_while_they_are_read(rng, tmp_path):
    values = rng.standard_normal((9, 4)).astype(np.float32)
    write_shard(tmp_path / "part-0.npz", list("abcdefghi"), None, values)
    rows = Rows(parts_of(tmp_path, ["npz"]))
    assert not isinstance(rows._parts[0], np.ndarray)


def test_rows_of_several_lengths_are_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="rows of 2 and of 3 numbers"):
        Rows([(np.ones((2, 2)), None), (np.ones((2, 3)), None)])


def test_a_full_disk_is_a_sentence(tmp_path):
    """The limit on a file's size stands for the disk: real writes fail, half-way."""
    values = np.ones((200, 50), np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(FullDiskError, match="There is no room for 'embeddings'"):
            Rows([(values, None)], folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert not list(tmp_path.iterdir())
