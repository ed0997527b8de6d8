"""Classes or parts: what the folders at the top of a folder of images are taken for."""

import itertools

import numpy as np
import pytest

from tfembed.data import load_images
from tfembed.data.layout import find_layout
from tfembed.data.source_images import SourceImages

Image = pytest.importorskip("PIL.Image")
PARTS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def _write(root, names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number % 256, 0, 99)).save(path)


def _files(folder):
    return [f"{folder}/{label}/{n}.png" for label in "ab" for n in range(2)]


@pytest.mark.parametrize(
    "folders",
    [
        some
        for count in range(1, 7)
        for some in itertools.combinations([*PARTS, "car"], count)
    ],
    ids=" ".join,
)
def test_every_set_of_folders_is_parts_or_classes_or_refused(folders):
    names = sorted(name for folder in folders for name in _files(folder))
    are_parts = "train" in folders and "car" not in folders
    kinds = [PARTS[folder] for folder in folders if are_parts]
    if len(kinds) > len(set(kinds)):
        with pytest.raises(
            ValueError, match="one validation part.*val.*layout=classes"
        ):
            find_layout(names, folders, None, "photos")
        found = find_layout(names, folders, "classes", "photos")
        assert found.class_names == tuple(sorted(folders))
        return
    found = find_layout(names, folders, None, "photos")
    placed = [name for files in found.parts.values() for name, _ in files]
    assert sorted(placed) == names  # nothing is dropped, and nothing is there twice
    if not are_parts:
        assert found.class_names == tuple(sorted(folders))
        assert set(found.parts) == {"train"}
        assert all(label == name.split("/")[0] for name, label in found.parts["train"])
        assert "classes" in found.taken
    else:
        assert found.class_names == ("a", "b")
        for folder, kind in zip(folders, kinds):
            assert found.parts[kind] == [(n, n.split("/")[1]) for n in _files(folder)]
            assert f"{folder} (4 images" in found.taken


@pytest.fixture
def tree(tmp_path):
    """Ten images of each of two classes in train, three in the other parts."""
    names = {
        part: [f"{part}/{c}/{n}.png" for c in "ab" for n in range(count)]
        for part, count in (("train", 10), ("val", 3), ("test", 3))
    }

    def make(*parts):
        root = tmp_path / "-".join(parts)
        _write(root, [name for part in parts for name in names[part]])
        return root, names

    return make


def test_three_parts(tree):
    root, names = tree("train", "val", "test")
    data = load_images(f"folder:{root}")
    for split, part in (
        (data.train, "train"),
        (data.validation, "val"),
        (data.test, "test"),
    ):
        assert split.names.tolist() == names[part]
        assert split.labels.tolist() == [0] * (split.size // 2) + [1] * (
            split.size // 2
        )
    assert data.class_names == ("a", "b")
    assert "train (20 images), val (6 images to watch" in data.taken
    assert load_images(f"folder:{root}", test_limit=2).validation.size == 2


def test_without_a_test_part_one_is_held_out_of_train(tree):
    root, names = tree("train", "val")
    data = load_images(f"folder:{root}")
    assert (data.train.size, data.test.size) == (18, 2)
    assert {*data.train.names, *data.test.names} == set(names["train"])
    assert data.validation.names.tolist() == names["val"]
    assert "a tenth of train is held out" in data.taken


def test_a_training_part_alone(tree):
    root, names = tree("train")
    data = load_images(f"folder:{root}")
    assert data.class_names == ("a", "b") and data.validation is None
    assert {*data.train.names, *data.test.names} == set(names["train"])


def test_the_validation_part_keeps_off_test_classes(tmp_path):
    parts = ("train", "val", "test")
    _write(
        tmp_path, [f"{p}/{c}/{n}.png" for p in parts for c in "abcd" for n in range(3)]
    )
    data = load_images(f"folder:{tmp_path}", split="unseen")
    assert set(data.train.labels) == {0, 1} and set(data.test.labels) == {2, 3}
    assert set(data.validation.labels) == {0, 1}
    assert "6 validation images are of other classes" in data.taken
    with pytest.raises(ValueError, match="classes of its own"):
        load_images(f"folder:{tmp_path}", split="given")


@pytest.mark.parametrize("part", ["train", "validation", "test", "all"])
def test_a_part_is_read_by_its_name(tree, part):
    root, names = tree("train", "val", "test")
    images = SourceImages(f"folder:{root}", part, (4, 4, 3))
    wanted = [part] if part != "all" else ["train", "validation", "test"]
    expected = [n for p in wanted for n in names["val" if p == "validation" else p]]
    assert images.ids(np.arange(images.size)).tolist() == expected
    lone, _ = tree("train")
    if part in ("validation", "test"):
        with pytest.raises(ValueError, match="`split`.*not divided"):
            SourceImages(f"folder:{lone}", part, (4, 4, 3))


def test_the_layout_can_be_said(tree, tmp_path):
    root, _ = tree("train", "val", "test")
    data = load_images(f"folder:{root},layout=classes")
    assert data.class_names == ("test", "train", "val")
    with pytest.raises(ValueError, match="followed by classes or parts"):
        load_images(f"folder:{root},layout=flat")
    _write(root, ["unlabelled/1.png", "overview.png"])
    with pytest.raises(ValueError, match="overview.png"):
        load_images(f"folder:{root}")
    (root / "overview.png").unlink()
    data = load_images(f"folder:{root}")
    assert data.class_names == ("test", "train", "unlabelled", "val")
    assert "layout=parts" in data.taken
    data = load_images(f"folder:{root},layout=parts")
    assert data.train.size == 20 and "left out beside them: unlabelled" in data.taken
    odd = tmp_path / "odd,layout=classes"
    _write(odd, ["c/1.png", "d/1.png"])
    data = load_images(f"folder:{odd}")  # of one image each, none can be held out
    assert data.class_names == ("c", "d") and (data.train.size, data.test) == (2, None)
    with pytest.raises(ValueError, match="folder train"):
        load_images(f"folder:{odd},layout=parts")


def test_capitals_empty_folders_and_flat_parts(tmp_path):
    _write(tmp_path, ["Train/1.png", "Train/2.png", "Valid/3.png", "TEST/4.png"])
    (tmp_path / "labels").mkdir()
    (tmp_path / ".hidden").mkdir()
    data = load_images(f"folder:{tmp_path}")
    assert data.class_names is None and data.test.names.tolist() == ["TEST/4.png"]
    assert (data.train.size, data.validation.size) == (2, 1)
    for name in ("Train/1.png", "Train/2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="images to train on in the folder train"):
        load_images(f"folder:{tmp_path}")


def test_names_that_are_no_utf8_are_told_before_anything_is_read(tmp_path):
    import os

    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for number in range(3):
        with open(folder + b"/%d.png" % number, "wb") as file:
            file.write(b"never read")
    with pytest.raises(ValueError, match=r"UTF-8.*caf\\xe9/0.png' and 2 more"):
        load_images(f"folder:{tmp_path}")
    with pytest.raises(ValueError, match="UTF-8"):
        SourceImages(f"folder:{tmp_path}", "all", (4, 4, 3))
