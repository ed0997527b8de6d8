"""What is to be added, read from files and folders."""

import os

import numpy as np
import pytest

from tfembed.export.additions import read_additions

ROWS = np.eye(4, dtype=np.float32)[:3]


def fake_embedding(image_bytes):
    """Unit rows by the first byte; what begins with x does not decode."""
    rows = np.stack([np.eye(4)[each[0] % 4 if each else 0] for each in image_bytes])
    valid = np.array([bool(each) and each[:1] != b"x" for each in image_bytes])
    return rows.astype(np.float32) * valid[:, None], valid


@pytest.fixture
def photos(tmp_path):
    for name, content in (
        ("hat/b.png", b"b"),
        ("hat/a.png", b"a"),
        ("bag/deep/c.png", b"c"),
        ("top.png", b"d"),
        ("hat/broken.png", b"x"),
        (".cache/e.png", b"e"),
        ("empty.png", b""),
    ):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    return f"images:{tmp_path / 'photos'}"


def test_a_folder_a_class(photos):
    lines = []
    found = read_additions(photos, fake_embedding, say=lines.append)
    assert found.ids.tolist() == ["bag/deep/c.png", "hat/a.png", "hat/b.png", "top.png"]
    assert found.labels.tolist() == ["bag", "hat", "hat", ""]
    rows = np.concatenate(list(found.parts()))
    expected = [np.eye(4)[ord(letter) % 4] for letter in "cabd"]
    np.testing.assert_array_equal(rows, expected)
    assert [name for name, _ in found.skipped] == ["empty.png", "hat/broken.png"]
    assert "left out 2: empty.png, hat/broken.png" in lines[-1]


def test_strict_stops_at_an_image_that_does_not_decode(photos):
    with pytest.raises(ValueError, match="`strict` is set. Received: .*empty.png"):
        read_additions(photos, fake_embedding, strict=True)


def test_linked_classes_as_in_training_and_a_loop_once(photos, tmp_path):
    root, loader = tmp_path / "photos", pytest.importorskip("tfembed.data.folder")
    (tmp_path / "far" / "deep").mkdir(parents=True)
    for name in ("f.png", "deep/g.png"):
        (tmp_path / "far" / name).write_bytes(b"f")
    (root / "shoe").symlink_to(tmp_path / "far")
    (root / "hat" / "again").symlink_to("..")
    (root / "top.png").unlink()
    found = read_additions(photos, fake_embedding)
    trained_on = loader._list(str(root))
    ids = [*found.ids.tolist(), *(name for name, _ in found.skipped)]
    assert sorted(ids) == trained_on
    assert found.labels.tolist() == [name.split("/")[0] for name in found.ids]
    assert "shoe/deep/g.png" in ids and len(ids) == 7


def test_files_that_go_after_they_were_listed(photos, tmp_path):
    root = tmp_path / "photos"
    (root / "hat" / "nowhere.png").symlink_to("not-there")
    os.mkfifo(root / "hat" / "pipe.png")  # which nobody would ever answer
    found = read_additions(photos, fake_embedding)
    assert ("hat/nowhere.png", "No such file or directory") in found.skipped
    assert ("hat/pipe.png", "it is not a file") in found.skipped
    assert len(found.ids) == 4


@pytest.mark.parametrize("name", [b"hat/caf\xe9.png", b"m\xfctze/a.png"])
def test_names_that_are_no_utf8_are_named_before_anything_is_embedded(
    photos, tmp_path, name
):
    path = os.path.join(os.fsencode(tmp_path), b"photos", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"a")
    with pytest.raises(
        ValueError, match="whose names are UTF-8: .* Rename them"
    ) as error:
        read_additions(photos, lambda images: pytest.fail("it embedded some"))
    assert repr(name) in str(error.value)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "photos").mkdir()
    source = f"images:{tmp_path / 'photos'}"
    with pytest.raises(ValueError, match="which holds no files"):
        read_additions(source, fake_embedding)
    (tmp_path / "photos" / "notes.txt").write_bytes(b"x")
    with pytest.raises(ValueError, match="of whose 1 files none does"):
        read_additions(source, fake_embedding)


@pytest.mark.parametrize("half", [False, True])
def test_rows_come_in_parts_of_float32(tmp_path, half, monkeypatch):
    monkeypatch.setattr("tfembed.export.additions._ROWS_AT_ONCE", 2)
    rows = ROWS.astype(np.float16 if half else np.float32)
    ids = np.array(["a", "b", "ö"])
    np.savez(tmp_path / "x.npz", embeddings=rows, ids=ids, labels=np.array([1, 0, -1]))
    found = read_additions(tmp_path / "x.npz")
    parts = list(found.parts())
    assert [part.shape for part in parts] == [(2, 4), (1, 4)]
    assert parts[0].dtype == np.float32 and found.dim == 4
    assert found.ids.tolist() == ids.tolist() and found.class_names == ()
    rows[2] *= 2
    np.savez(tmp_path / "x.npz", embeddings=rows, ids=ids)
    with pytest.raises(ValueError, match="row 2 of length 2"):
        list(read_additions(tmp_path / "x.npz").parts())


def test_numbers_and_names_do_not_mix(tmp_path):
    from tfembed.formats.shards import write_manifest, write_shard

    write_shard(tmp_path / "a.npz", ["a"], [0], ROWS[:1])
    np.savez(
        tmp_path / "b.npz",
        embeddings=ROWS[:1],
        ids=np.array(["b"]),
        labels=np.array(["hat"]),
    )
    shards = [{"file": "a.npz"}, {"file": "b.npz"}]
    write_manifest(tmp_path, {"finished": True, "shards": shards})
    with pytest.raises(ValueError, match="numbers in all files, or names in all"):
        read_additions(tmp_path)
