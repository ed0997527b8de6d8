"""What is wrong with a run directory is said in a sentence."""

import numpy as np
import pytest

from tfembed.export.run_directory import (
    NEVER_UNKNOWN,
    check_vote_k,
    make_gallery,
    make_queries,
    read_gallery,
    read_run,
)


def arrays(size=6, **changes):
    embeddings = np.eye(size, 8, dtype=np.float32)
    ids = np.array([f"id {row}" for row in range(size)])
    made = {"embeddings": embeddings, "labels": np.arange(size) % 3 - 1, "ids": ids}
    made = {**made, **changes}
    return {name: value for name, value in made.items() if value is not None}


def write(folder, **changes):
    np.savez(folder / "gallery.npz", **arrays(**changes))
    return folder / "gallery.npz"


def test_a_whole_gallery(tmp_path):
    path = write(
        tmp_path,
        class_names=np.array(["x", "y"]),
        known_threshold=np.float32(0.5),
        vote_temperature=np.float32(0.1),
        vote_k=np.int64(3),
    )
    gallery = read_gallery(path)
    assert (gallery.size, gallery.dim, gallery.vote_k) == (6, 8, 3)
    assert gallery.known_threshold == 0.5
    assert gallery.vote_temperature == pytest.approx(0.1)
    assert gallery.class_names.tolist() == ["x", "y"]
    assert gallery.labels.dtype == np.int64


def test_what_may_be_left_out(tmp_path):
    gallery = read_gallery(write(tmp_path))
    assert gallery.class_names.tolist() == ["0", "1"]
    assert gallery.known_threshold == NEVER_UNKNOWN
    assert (gallery.vote_temperature, gallery.vote_k) == (0.07, 200)
    gallery = read_gallery(write(tmp_path, labels=np.full(6, -1)))
    assert gallery.class_names.tolist() == []


def test_labels_may_be_names(tmp_path):
    names = np.array(["hat", "", "boot", "hat", "bag", "boot"])
    gallery = read_gallery(write(tmp_path, labels=names))
    assert gallery.class_names.tolist() == ["bag", "boot", "hat"]
    assert gallery.labels.tolist() == [2, -1, 1, 2, 0, 1]
    arrays = {**vars(gallery), "labels": names.astype(object)}
    given = {**arrays, "class_names": np.array(["hat", "boot", "bag", "shoe"])}
    for made in (
        make_gallery(given),
        make_gallery(arrays, class_names=["hat", "boot", "bag", "shoe"]),
    ):
        assert made.class_names.tolist() == ["hat", "boot", "bag", "shoe"]
        assert made.labels.tolist() == [0, -1, 1, 0, 2, 1]
    with pytest.raises(ValueError, match="one of `class_names`.*'bag', which is not"):
        make_gallery({**arrays, "class_names": np.array(["hat", "boot"])})
    arrays["labels"] = np.array(["hat", 1, 2, 3, 4, 5], object)
    with pytest.raises(ValueError, match="all of them names.*Received: 1 of type int"):
        make_gallery(arrays)
    queries = make_queries({"embeddings": ROWS, "labels": names})
    assert queries.labels.tolist() == names.tolist()


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "3", 2**31])
def test_vote_k_out_of_range(k):
    with pytest.raises(
        ValueError, match="`vote_k` must be an integer from 1 to 2147483647"
    ):
        check_vote_k(k)


ROWS = np.eye(6, 8, dtype=np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": None}, "Add embeddings"),
        ({"ids": None, "labels": None}, "Add labels, ids"),
        ({"embeddings": ROWS[0]}, r"float array \(n, d\)"),
        ({"embeddings": ROWS[:0], "size": 0}, "at least one row"),
        ({"embeddings": ROWS.astype(int)}, "dtype int64"),
        ({"embeddings": ROWS * 2}, "row 0 of length 2"),
        ({"embeddings": np.where(ROWS > 0, np.nan, ROWS)}, "row 0 of length nan"),
        ({"labels": np.zeros(5, int)}, "each of the 6 rows"),
        ({"labels": np.zeros(6)}, "dtype float64"),
        ({"ids": np.arange(6)}, "`ids` must be strings"),
        ({"ids": np.array(list("abcdee"))}, "'e' more than once"),
        ({"class_names": np.array(["only one"])}, "1 names .* up to 1"),
        ({"vote_k": np.int64(0)}, "vote_k=0"),
        ({"vote_temperature": np.float32(0)}, "vote_temperature=0.0"),
        ({"known_threshold": np.float32("nan")}, "`known_threshold` must be a number"),
    ],
)
def test_a_gallery_that_is_none(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_gallery(write(tmp_path, **changes))


def test_files_that_are_no_galleries(tmp_path):
    path = tmp_path / "gallery.npz"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="must be a whole NumPy archive"):
        read_gallery(path)
    np.savez(path, **arrays(ids=np.array(["a"] * 6, dtype=object)))
    with pytest.raises(ValueError, match="without object arrays"):
        read_gallery(path)


def test_run_directories(tmp_path):
    with pytest.raises(ValueError, match="which does not exist"):
        read_run(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="which is a file"):
        read_run(tmp_path / "file")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(ValueError, match="without model.keras and gallery.npz"):
        read_run(run)
    (run / "model.keras").write_text("")
    with pytest.raises(ValueError, match="without gallery.npz.*that a recipe wrote"):
        read_run(run)
    write(run)
    assert read_run(run).config == {}  # made by hand: these two files are enough
    (run / "config.json").write_text('{"recipe": "instdisc"}')
    with pytest.raises(ValueError, match="finished run.*result.json.*resumes"):
        read_run(run)
    (run / "result.json").write_text("{}")
    assert read_run(run).config == {"recipe": "instdisc"}
    (run / "config.json").write_text("{")
    with pytest.raises(ValueError, match="must be JSON"):
        read_run(run)
