"""The picture of queries and neighbours, and where its images come from."""

import numpy as np
import pytest
from PIL import Image

from tfembed.serving import SearchResult, draw_neighbors, open_thumbnails
from tfembed.serving.picture import same_label
from tfembed.serving.query import label_from_name
from tfembed.serving.thumbnails import read_picture


def _result(rows, k, labels="ant", **changes):
    values = {
        "ids": np.array([[f"set/{k * r + c}" for c in range(k)] for r in range(rows)]),
        "labels": np.full((rows, k), labels),
        "scores": np.linspace(0.9, 0.1, rows * k, dtype=np.float32).reshape(rows, k),
        "vote": np.full(rows, labels),
        "vote_probability": np.full(rows, 0.5, np.float32),
        "known": np.ones(rows, bool),
        "valid": np.ones(rows, bool),
    }
    return SearchResult(**{**values, **changes})


def _draw(path, *arguments, **named):
    draw_neighbors(path, *arguments, **named)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _count(pixels, color):
    wanted = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return int((np.abs(pixels.astype(int) - wanted).max(axis=-1) < 8).sum())


GREEN, RED = "#1a7f4b", "#c2342b"
BLUE = np.full([8, 8, 3], (10, 20, 240), np.uint8)


@pytest.mark.parametrize(("rows", "k"), [(1, 1), (1, 10), (3, 5), (12, 10), (2, 40)])
def test_every_size_is_as_wide_as_a_page(tmp_path, rows, k):
    pixels = _draw(tmp_path / "a.png", [BLUE] * rows, _result(rows, k))
    assert pixels.shape[1] == 1800
    assert (pixels[:, -4:] == 255).all()  # nothing runs off the page


def test_each_picture_is_drawn_once(tmp_path):
    result = _result(2, 3)
    none = _draw(tmp_path / "a.png", [BLUE] * 2, result)
    one = _count(none, "#0a14f0") / 2
    assert one > 1000
    asked = []

    def thumbnails(name):
        asked.append(name)
        return BLUE

    pixels = _draw(tmp_path / "b.png", [BLUE] * 2, result, thumbnails)
    assert asked == result.ids.ravel().tolist()
    assert _count(pixels, "#0a14f0") == pytest.approx(8 * one, rel=0.02)


def test_marks_need_the_truth(tmp_path):
    queries, result = [BLUE] * 2, _result(2, 3)
    plain = _draw(tmp_path / "a.png", queries, result)
    assert _count(plain, GREEN) == _count(plain, RED) == 0
    right = _draw(tmp_path / "b.png", queries, result, truth=["ant", "ANT"])
    assert _count(right, GREEN) > 1000 and _count(right, RED) == 0
    mixed = _draw(tmp_path / "c.png", queries, result, truth=["ant", "bee"])
    assert _count(mixed, RED) > 1000
    assert _count(mixed, GREEN) == pytest.approx(_count(right, GREEN) / 2, rel=0.2)


def test_rows_that_mean_nothing_are_left_empty(tmp_path):
    result = _result(2, 3, valid=np.array([True, False]))
    asked = []
    _draw(tmp_path / "a.png", [BLUE, None], result, asked.append)
    assert asked == result.ids[0].tolist()


def test_long_and_odd_labels_are_drawn(tmp_path):
    label = "a very long name of a class $x_1$ " * 3
    right = _draw(tmp_path / "a.png", [BLUE], _result(1, 4, label), truth=[label])
    assert right.shape[1] == 1800 and (right[:, -4:] == 255).all()
    assert _count(right, GREEN) > 1000 and _count(right, RED) == 0
    named = _draw(tmp_path / "b.png", [BLUE], _result(1, 4, "ant"))
    empty = _draw(tmp_path / "c.png", [BLUE], _result(1, 4, ""))
    assert empty.shape == named.shape
    ink = [(pixels.max(axis=-1) < 128).sum() for pixels in (empty, named)]
    assert 0 < ink[0] < ink[1]  # scores are written, and no name
    wide = np.zeros([3, 40, 1], np.uint8)
    black = _draw(tmp_path / "d.png", [wide], _result(1, 2), lambda name: wide)
    assert _count(black, "#000000") > 1000


def test_what_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`queries`.*1 entries for 2 rows"):
        draw_neighbors(tmp_path / "a.png", [BLUE], _result(2, 3))
    with pytest.raises(ValueError, match="`truth`"):
        draw_neighbors(tmp_path / "a.png", [BLUE], _result(1, 3), truth=["a", "b"])
    with pytest.raises(ValueError, match="at most 200 queries"):
        draw_neighbors(tmp_path / "a.png", [BLUE] * 201, _result(201, 1))
    assert list(tmp_path.iterdir()) == []


def test_labels_in_file_names():
    assert label_from_name("a/b/Ankle boot-0042.png") == "Ankle boot"
    assert label_from_name("T-shirt_top-3.png") == "T-shirt_top"
    assert label_from_name("holiday.png") is None
    assert same_label("T-shirt_top", "T-shirt/top")
    assert same_label("bée", "BÉE") and not same_label("cat", "car")


def test_thumbnails_from_an_archive(tmp_path, rng):
    images = rng.integers(0, 256, (3, 4, 4, 1), np.uint8)
    path = tmp_path / "thumbnails.npz"
    np.savez(path, images=images, ids=np.array(["a/0", "a/1", "a/2"]))
    find = open_thumbnails(path)
    np.testing.assert_array_equal(find("a/1"), images[1])
    assert find("a/3") is None


def test_thumbnails_from_a_folder(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    (tmp_path / "gallery" / "cats").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "gallery" / "cats" / "0.png")
    Image.fromarray(pixels).save(tmp_path / "secret.png")
    find = open_thumbnails(tmp_path / "gallery")
    np.testing.assert_array_equal(find("cats/0.png"), pixels)
    assert find("cats/1.png") is None
    assert find("../secret.png") is None
    assert find(str(tmp_path / "secret.png")) is None


def test_thumbnails_from_something_else(tmp_path):
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    (tmp_path / "junk.npz").write_bytes(b"junk")
    np.savez(tmp_path / "pickle.npz", images=np.array([{}], object), ids=["a"])
    for name in ("absent.npz", "other.npz", "junk.npz", "pickle.npz"):
        with pytest.raises(ValueError, match="thumbnails.npz"):
            open_thumbnails(tmp_path / name)


def test_pictures_of_files(tmp_path):
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "gray.png"), gray[..., None])
    (tmp_path / "junk.png").write_bytes(b"junk")
    assert read_picture(tmp_path / "junk.png") is None
