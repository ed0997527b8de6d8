"""Which picture is kept, how large pictures are, and the list of them."""

import csv

import numpy as np
import pytest

from tfembed.dedup.kept import COLUMNS, find_kept, write_csv
from tfembed.dedup.pictures import ArrayPictures, FolderPictures, NoPictures, Size
from tfembed.dedup.rows import Rows

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (30, 50, 3)).astype(np.uint8)


def saved(path, pixels, orientation=None, **named):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        named["exif"] = exif
    image.save(path, **named)
    return Size(50, 30, path.stat().st_size)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "webp", "tiff"])
def test_sizes_of_all_formats(tmp_path, pixels, ending):
    size = saved(tmp_path / f"a.{ending}", pixels)
    assert FolderPictures(tmp_path).size(f"a.{ending}") == size
    assert FolderPictures(tmp_path).pixels(f"a.{ending}").shape == (30, 50, 3)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_one_looks_at(tmp_path, pixels, ending, orientation):
    size = saved(tmp_path / f"a.{ending}", pixels, orientation)
    if orientation > 4:
        size = Size(30, 50, size.bytes)
    pictures = FolderPictures(tmp_path)
    assert pictures.size(f"a.{ending}") == size
    assert pictures.pixels(f"a.{ending}").shape[:2] == (size.height, size.width)


def test_a_header_that_is_longer_than_what_is_read_first(tmp_path, pixels):
    comment = b"\xff\xfe\xff\xff" + bytes(65533)
    saved(tmp_path / "a.jpg", pixels)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + 3 * comment + data[2:])
    assert FolderPictures(tmp_path).size("a.jpg").width == 50


def test_what_is_no_picture_or_leads_out_is_none(tmp_path, pixels):
    saved(tmp_path / "out.png", pixels)
    root = tmp_path / "photos"
    saved(root / "in.png", pixels)
    (root / "junk.png").write_bytes(b"junk")
    (root / "link.png").symlink_to(tmp_path / "out.png")
    pictures = FolderPictures(root)
    for name in ("../out.png", str(tmp_path / "out.png"), "none.png", "a\0b", ""):
        assert pictures.size(name) == Size() and pictures.pixels(name) is None, name
        assert pictures.address(name) is None, name
    assert pictures.size("junk.png") == Size() and pictures.pixels("junk.png") is None
    assert pictures.size("link.png").width == 50  # people link their pictures
    assert pictures.address("in.png") == (root / "in.png").as_uri()
    with pytest.raises(ValueError, match="which is not a folder"):
        FolderPictures(tmp_path / "out.png")


def test_images_of_arrays(pixels):
    from tfembed.data.array_split import ArraySplit

    split = ArraySplit(pixels[None], None, np.array(["a/train/0"]))
    pictures = ArrayPictures([split])
    assert pictures.size("a/train/0") == Size(50, 30, -1)
    assert np.array_equal(pictures.pixels("a/train/0"), pixels)
    assert pictures.size("b") == Size() and pictures.pixels("b") is None
    assert pictures.address("a/train/0") is None


def test_kept_is_the_largest_then_the_first_by_name(tmp_path, pixels, rng):
    ids = ["c", "b", "a", "x", "w", "junk", "good"]
    for name, side in (("a", 20), ("b", 30), ("c", 30), ("x", 30), ("w", 29)):
        saved(tmp_path / name, pixels[:side], format="PNG")
    saved(tmp_path / "good", pixels, format="PNG")
    (tmp_path / "junk").write_bytes(b"junk")
    values = np.eye(7)[[0, 0, 0, 3, 3, 5, 5]] + 0.05 * rng.standard_normal((7, 7))
    rows = Rows([(values, np.array(ids))])
    groups = [np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6])]
    members = find_kept(groups, rows, FolderPictures(tmp_path))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    lowest = [min(unit[1] @ unit[0], unit[1] @ unit[2]), unit[3] @ unit[4]]
    lowest.append(unit[5] @ unit[6])
    order = np.argsort(-np.array(lowest))
    kept = [members.rows[start] for start in members.starts[:-1]]
    assert kept == [[1, 3, 6][number] for number in order]
    for number, group in enumerate(order):
        part = members.group(number)
        assert members.certainty(number) == pytest.approx(lowest[group], abs=1e-6)
        assert sorted(members.rows[part]) == groups[group].tolist()
        expected = unit[members.rows[part]] @ unit[kept[number]]
        np.testing.assert_allclose(members.scores[part], expected, atol=1e-6)
        assert np.all(np.diff(members.scores[part]) <= 0)
    assert members.others.sum() == 4
    write_csv(tmp_path / "list.csv", members, rows)
    with open(tmp_path / "list.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS and len(lines) == 7
    assert [line["path"] for line in lines] == [ids[row] for row in members.rows]
    assert [line["kept"] for line in lines].count("yes") == 3
    by_name = {line["path"]: line for line in lines}
    assert (
        by_name["b"]["kept"] == by_name["x"]["kept"] == by_name["good"]["kept"] == "yes"
    )
    assert (by_name["a"]["width"], by_name["a"]["height"]) == ("50", "20")
    assert int(by_name["a"]["bytes"]) == (tmp_path / "a").stat().st_size
    assert by_name["junk"]["width"] == by_name["junk"]["bytes"] == ""
    assert by_name["b"]["score"] == "1.000000"


def test_without_pictures_the_first_by_name():
    rows = Rows([(np.ones((3, 2)), np.array(["b", "a", 'line\nbreak, "quoted"']))])
    members = find_kept([np.arange(3)], rows, NoPictures())
    assert rows.ids(members.rows) == ["a", "b", 'line\nbreak, "quoted"']
    none = find_kept([], rows, NoPictures())
    assert len(none) == 0 and len(none.rows) == 0


def test_names_of_all_sorts_survive_the_list(tmp_path):
    names = ["line\nbreak", '"quoted", and more', "ünï 写真", "=cmd|calc", "\u202egpj"]
    rows = Rows([(np.ones((5, 2)), np.array(names))])
    members = find_kept([np.arange(5)], rows, NoPictures())
    write_csv(tmp_path / "list.csv", members, rows)
    with open(tmp_path / "list.csv", encoding="utf-8", newline="") as file:
        found = [line["path"] for line in csv.DictReader(file)]
    assert sorted(found) == sorted(names)
