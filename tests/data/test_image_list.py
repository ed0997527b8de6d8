"""Lists of image files, CSV and Parquet, against what is written into them."""

import csv
import logging

import numpy as np
import pytest

from tfembed.data import load_images
from tfembed.data.source_images import SourceImages
from tfembed.data.sources import folder_of

Image = pytest.importorskip("PIL.Image")


def _picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def photos(tmp_path):
    """A folder of nine pictures, and their pixels by name."""
    names = [f"{folder}/{number}.png" for folder in "ab" for number in range(4)]
    names.append("über, schön.png")
    return tmp_path, {
        name: _picture(tmp_path / name, seed) for seed, name in enumerate(names)
    }


def _write_csv(path, rows, delimiter=",", encoding="utf-8"):
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return f"csv:{path}"


def _write_parquet(path, rows):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names, *rows = rows
    columns = [list(column) for column in zip(*rows)]
    parquet.write_table(pyarrow.table(dict(zip(names, columns))), path)
    return f"csv:{path}"


def _rows(pixels):
    yield ["path", "label", "split", "brand", "price"]
    parts = ["train", "TRAIN", "val", "test"]
    for number, name in enumerate(pixels):
        label = ["shoe", "hat"][number % 2]
        yield [name, label, parts[number % 4], f"brand {number % 3}", str(number)]


@pytest.mark.parametrize("kind", ["commas", "semicolons", "tabs", "mark", "parquet"])
def test_parts_labels_names_and_pixels_are_those_of_the_list(photos, kind):
    root, pixels = photos
    rows = list(_rows(pixels))
    if kind == "parquet":
        source = _write_parquet(root / "list.parquet", rows)
    else:
        delimiter = {"semicolons": ";", "tabs": "\t"}.get(kind, ",")
        encoding = "utf-8-sig" if kind == "mark" else "utf-8"
        source = _write_csv(root / "list.csv", rows, delimiter, encoding)
    data = load_images(source)
    assert data.class_names == ("hat", "shoe")
    parts = {"train": data.train, "val": data.validation, "test": data.test}
    for part, split in parts.items():
        own = [row for row in rows[1:] if row[2].lower() == part]
        assert split.names.tolist() == [row[0] for row in own]
        assert [data.class_names[label] for label in split.labels] == [
            r[1] for r in own
        ]
        assert split.metadata["brand"].tolist() == [row[3] for row in own]
        assert split.metadata["price"].tolist() == [row[4] for row in own]
        assert set(split.metadata) == {"brand", "price"}
        images = split.read(np.arange(split.size))
        for row, name in enumerate(split.names):
            np.testing.assert_array_equal(images[row], pixels[str(name)])
    assert "9 rows" in data.taken
    assert folder_of(source) == str(root)


def test_columns_are_chosen_by_name(photos):
    root, pixels = photos
    rows = [["file", "kind", "brand"], *([name, "x", name[0]] for name in pixels)]
    source = _write_csv(root / "list, of all.csv", rows) + ",path=file,label=brand"
    data = load_images(source)
    assert data.class_names == ("a", "b", "ü")
    assert data.test is not None  # held out of each class
    assert set(data.train.metadata) == {"kind"}
    unlabelled = load_images(source.replace(",label=brand", ""))
    assert unlabelled.class_names is None and unlabelled.train.labels is None
    assert folder_of(source) == str(root)


def test_metadata_follow_the_rows(photos):
    root, pixels = photos
    rows = [["path", "price"], *([name, str(n)] for n, name in enumerate(pixels))]
    train = load_images(_write_csv(root / "list.csv", rows), limit=5, seed=3).train
    prices = {name: str(number) for number, name in enumerate(pixels)}
    assert train.metadata["price"].tolist() == [prices[name] for name in train.names]


def _damaged(root, pixels):
    (root.parent / "outside.png").write_bytes((root / "a/0.png").read_bytes())
    (root / "link.png").symlink_to(root.parent / "outside.png")
    good = [[name, "x"] for name in pixels]
    wrong = {
        "nowhere.png": "names a file that is not there",
        "a": "names a file that is not there",
        "../outside.png": "has a path outside of the list's folder",
        str(root.parent / "outside.png"): "has a path outside of the list's folder",
        "link.png": "has a path outside of the list's folder",
        "https://example.org/a.png": "has a URL for a path",
        "": "has no path",
        "./a/../a/0.png": "has the path of row 2 again",
    }
    rows = [["path", "label"], *good, *([path, "y"] for path in wrong)]
    rows.append(["a/1.png", " "])
    return rows, {**wrong, "a/1.png": "has no label"}


def test_rows_that_are_wrong_are_counted_and_named(photos, caplog):
    root, pixels = photos
    root = root / "list"
    pixels = {name: _picture(root / name, seed) for seed, name in enumerate(pixels)}
    rows, wrong = _damaged(root, pixels)
    source = _write_csv(root / "list.csv", rows)
    with caplog.at_level(logging.WARNING):
        data = load_images(source)
    assert data.class_names == ("x",)  # of the good rows alone
    assert data.train.size + data.test.size == len(pixels)
    skipped = dict(data.train.skipped)
    assert skipped.keys() == wrong.keys()
    for number, (path, reason) in enumerate(wrong.items(), len(pixels) + 2):
        assert skipped[path] == f"row {number} {reason}"
    assert f"Left out {len(wrong)} of {len(rows) - 1} rows" in caplog.text
    assert "9 left out" in data.taken
    with pytest.raises(ValueError, match="row 11 names a file that is not there"):
        load_images(source, strict=True)
    embedded = SourceImages(source, "all", (6, 5, 3))
    assert sorted(map(tuple, embedded.skipped)) == sorted(data.train.skipped)


@pytest.mark.parametrize(
    "text, options, message",
    [
        (b"", "", "begin with a line.*which is empty"),
        (b"path\n", "", "must list images.*0 rows of which none is good"),
        (b"path\nno.png\n", "", "none is good; the first: row 2 names a file"),
        (b"image,label\na/0.png,x\n", "", "the column 'path'.*'image', 'label'.*path="),
        (b"path,brands\na/0.png,x\n", ",label=brand", "Did you mean label=brands"),
        (b"path,path\na/0.png,x\n", "", "columns of different names"),
        (b"path,label\na/0.png\n", "", "2 fields in each row.*1 in row 2"),
        (b"path,label\na/0.png,x\n", ",label=path", "a column each"),
        (b"path,label\na/0.png,x\n", ",label=", "must name one column"),
        (b"path\n\xff.png\n", "", "UTF-8.*the byte 0xff at 5"),
        (b'path\n"a/0.png\n', "", "must be CSV. Reading it says"),
        (b"path,split\na/0.png,test\n", "", "rows of the split train"),
        (b"path,split\na/0.png,dev\n", "", "'dev', not train, validation or test"),
    ],
)
def test_a_list_that_is_none_is_told(photos, text, options, message):
    (photos[0] / "list.csv").write_bytes(text)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_images(f"csv:{photos[0] / 'list.csv'}{options}")


def test_no_list_at_all_is_told(tmp_path):
    for argument in (tmp_path, tmp_path / "nowhere.csv"):
        with pytest.raises(ValueError, match="must name a file, CSV or Parquet"):
            load_images(f"csv:{argument}")
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and no more")
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="must be a Parquet file"):
        load_images(f"csv:{tmp_path / 'list.parquet'}")


def test_further_columns_of_the_images_that_are_asked_for(photos):
    root, pixels = photos
    rows = list(_rows(pixels))
    images = SourceImages(_write_csv(root / "a.csv", rows), "all", (4, 4, 3))
    by_name = {row[0]: row[3:] for row in rows[1:]}
    chosen = np.array([0, 3, 8])
    found = images.metadata(chosen)
    assert list(found) == ["brand", "price"]
    for name, *texts in zip(images.ids(chosen), *found.values()):
        assert texts == by_name[name]
    digest = images.metadata_digest()
    again = SourceImages(_write_csv(root / "b.csv", rows), "all", (4, 4, 3))
    assert again.metadata_digest() == digest
    rows[2][3] += "!"
    other = SourceImages(_write_csv(root / "c.csv", rows), "all", (4, 4, 3))
    assert other.metadata_digest() not in (None, digest)
    bare = [row[:2] for row in rows]
    bare = SourceImages(_write_csv(root / "d.csv", bare), "all", (4, 4, 3))
    assert bare.metadata(chosen) == {} and bare.metadata_digest() is None
