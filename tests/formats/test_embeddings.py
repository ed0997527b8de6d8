"""Embeddings read back from disk, and what is said of files that hold none."""

import json

import numpy as np
import pytest

from tfembed.data import read_embeddings
from tfembed.formats.shards import write_manifest, write_shard

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS, LABELS = ["a", "bb", "ccc", "ö"], [0, 1, 1, -1]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_archive_is_read(tmp_path, compressed, order):
    save = np.savez_compressed if compressed else np.savez
    rows = np.asarray(ROWS, order=order)
    save(tmp_path / "x.npz", first=np.zeros(5), embeddings=rows, labels=LABELS, ids=IDS)
    found = read_embeddings(tmp_path / "x.npz").load()
    np.testing.assert_array_equal(found.embeddings, ROWS)
    mapped = isinstance(found.embeddings, np.memmap)
    assert mapped == (not compressed and order == "C")
    assert found.ids.tolist() == IDS and found.labels.tolist() == LABELS
    assert found.labels.dtype == np.int64


def test_a_run_directory_and_bare_embeddings(tmp_path):
    np.savez(tmp_path / "gallery.npz", embeddings=ROWS, class_names=["cat", "dog"])
    files = read_embeddings(tmp_path)
    assert files.class_names == ("cat", "dog") and len(files) == 1
    found = files.load()
    assert found.ids.tolist() == ["0", "1", "2", "3"]
    assert found.labels.tolist() == [-1] * 4


@pytest.mark.parametrize("ending", ["npz", "parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_shards_of_any_size(tmp_path, ending, dtype):
    if ending == "parquet":
        pytest.importorskip("pyarrow", exc_type=ImportError)
    cuts = [0, 0, 3, 3, 4]  # the first one and the third one are empty
    entries = []
    for number, (first, last) in enumerate(zip(cuts, cuts[1:])):
        name = f"part-{number:05d}.{ending}"
        rows = slice(first, last)
        write_shard(tmp_path / name, IDS[rows], LABELS[rows], ROWS[rows].astype(dtype))
        entries.append({"file": name, "rows": last - first})
    manifest = {"finished": True, "class_names": ["x", "y"], "shards": entries}
    write_manifest(tmp_path, manifest)
    files = read_embeddings(tmp_path)
    assert files.manifest == manifest and files.class_names == ("x", "y")
    assert [part.embeddings.shape for part in files] == [(0, 3), (3, 3), (0, 3), (1, 3)]
    found = files.load()
    assert found.embeddings.dtype == dtype
    np.testing.assert_array_equal(found.embeddings, ROWS)
    assert found.ids.tolist() == IDS and found.labels.tolist() == LABELS
    write_shard(tmp_path / entries[-1]["file"], IDS[:1], None, ROWS[:1, :2])
    with pytest.raises(ValueError, match=r"one length. Received: lengths \[2, 3\]"):
        files.load()


def test_what_holds_no_embeddings(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "text.npz").write_text("x")
    np.savez(tmp_path / "other.npz", images=ROWS)
    np.savez(tmp_path / "object.npz", embeddings=np.array([{}, None], object))
    np.savez(tmp_path / "integers.npz", embeddings=np.ones((2, 2), int))
    np.savez(tmp_path / "ids.npz", embeddings=ROWS, ids=IDS[:2])
    np.savez(tmp_path / "halves.npz", embeddings=ROWS, labels=np.full(4, 0.5))
    for name, words in (
        ("nowhere", "which is not there"),
        (".", "which has neither"),
        ("notes.txt", "end in .npz or .parquet"),
        ("text.npz", "must be a whole NumPy archive"),
        ("other.npz", r"the array `embeddings`. Received: \['images'\]"),
        ("object.npz", "reading its array `embeddings` says: Object arrays"),
        ("integers.npz", r"as floats, \[n, d\]"),
        ("halves.npz", "labels that are integers. Received: labels of dtype float64"),
        ("ids.npz", "one id and one label for each of its 4"),
    ):
        with pytest.raises(ValueError, match=words):
            read_embeddings(tmp_path / name).load()
    write_manifest(tmp_path, {"finished": False, "shards": []})
    with pytest.raises(ValueError, match="it goes on where it stopped"):
        read_embeddings(tmp_path)
    for text, words in (("{", "reading it says"), ("[]", "lists no shards")):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            read_embeddings(tmp_path)
    assert json.loads(text) == []


def test_a_broken_parquet_file(tmp_path):
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    (tmp_path / "text.parquet").write_text("x")
    pq.write_table(pa.table({"id": IDS}), tmp_path / "ids.parquet")
    for name, words in (("text", "reading it says"), ("ids", "must hold the columns")):
        with pytest.raises(ValueError, match=words):
            read_embeddings(tmp_path / f"{name}.parquet").load()


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_labels_by_name_where_they_are_asked_for(tmp_path, ending):
    names = ["cat", "", "dög", "cat"]
    path = tmp_path / f"x.{ending}"
    if ending == "npz":
        np.savez(path, embeddings=ROWS, labels=np.array(names), ids=np.array(IDS))
    else:
        pa = pytest.importorskip("pyarrow", exc_type=ImportError)
        pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
        named = [name or None for name in names]
        columns = {"id": IDS, "label": named, "embedding": ROWS.tolist()}
        pq.write_table(pa.table(columns), path)
    assert read_embeddings(path, text_labels=True).load().labels.tolist() == names
    with pytest.raises(ValueError, match="labels that are integers. Received"):
        read_embeddings(path).load()
