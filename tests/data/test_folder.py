"""Folders of image files, read against Pillow."""

import io
import logging

import numpy as np
import pytest

from tfembed.data import checked_files, load_images

Image = pytest.importorskip("PIL.Image")


def _write(path, seed, size=(12, 10), gray=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if gray else (*size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def classes(tmp_path):
    """20 cats and 30 dogs as PNG; returns the folder and pixels by name."""
    root, pixels = tmp_path / "images", {}
    for label, count in (("cat", 20), ("dog", 30)):
        for number in range(count):
            name = f"{label}/{number:03d}.png"
            pixels[name] = _write(root / name, len(pixels))
    return root, pixels


def _spoil(root):
    """Puts three files that do not decode in; returns their names."""
    (root / "cat" / "000a.jpg").write_bytes(b"this is no image")
    (root / "cat" / "015a.png").write_bytes(b"")
    whole = (root / "dog" / "003.png").read_bytes()
    (root / "dog" / "003a.png").write_bytes(whole[: len(whole) // 2])
    return {"cat/000a.jpg", "cat/015a.png", "dog/003a.png"}


def _assert_right(split, pixels):
    got = split.read(np.arange(split.size))
    for row, name in enumerate(split.names):
        np.testing.assert_array_equal(got[row], pixels[str(name)])
        if split.labels is not None:
            assert split.labels[row] == ["cat", "dog"].index(name.split("/")[0])


def test_classes_come_from_folders_and_a_tenth_of_each_is_held_out(classes):
    root, pixels = classes
    data = load_images(f"folder:{root}")
    assert data.image_shape == (12, 10, 3)
    assert data.class_names == ("cat", "dog")
    assert np.bincount(data.train.labels).tolist() == [18, 27]
    assert np.bincount(data.test.labels).tolist() == [2, 3]
    assert set(data.train.names) | set(data.test.names) == set(pixels)
    _assert_right(data.train, pixels)
    _assert_right(data.test, pixels)
    again, other = (load_images(f"folder:{root}", seed=seed) for seed in (0, 1))
    assert again.test.names.tolist() == data.test.names.tolist()
    assert other.test.names.tolist() != data.test.names.tolist()


def test_what_does_not_decode_is_named_and_left_out(classes, caplog):
    root, pixels = classes
    bad = _spoil(root)
    with caplog.at_level(logging.WARNING):
        data = load_images(f"folder:{root}")
    skipped = data.train.skipped + data.test.skipped
    assert {name for name, _ in skipped} == bad
    assert all(reason for _, reason in skipped)
    assert all(name in caplog.text for name in bad)
    assert data.train.size + data.test.size == 50
    assert len(data.train.names) == data.train.size == len(data.train.labels)
    _assert_right(data.train, pixels)
    ids = np.concatenate([b["ids"] for b in data.train.epochs(7, 0, 0, 1)])
    assert sorted(ids) == list(range(data.train.size))


def test_strict_raises_and_names_the_file(classes):
    root, _ = classes
    _spoil(root)
    for _ in range(2):  # the second time from memory or not, it must raise
        with pytest.raises(ValueError, match="strict.*(000a|015a|003a)"):
            load_images(f"folder:{root}", strict=True)
    load_images(f"folder:{root}")
    with pytest.raises(ValueError, match="strict"):
        load_images(f"folder:{root}", strict=True)


def test_a_checked_folder_is_not_checked_again(classes, monkeypatch):
    root, pixels = classes
    bad = _spoil(root)
    first = load_images(f"folder:{root}")
    decoded = []
    decode = checked_files._decode_one
    monkeypatch.setattr(
        checked_files, "_decode_one", lambda path: decoded.append(path) or decode(path)
    )
    second = load_images(f"folder:{root}")
    assert decoded == []
    assert second.train.names.tolist() == first.train.names.tolist()
    assert {n for n, _ in second.train.skipped + second.test.skipped} == bad
    # A changed file is looked at again, with its own folder and no other.
    pixels["cat/000a.jpg"] = None
    Image.new("RGB", (10, 12)).save(root / "cat" / "000a.jpg")
    third = load_images(f"folder:{root}")
    assert decoded and all("/cat/" in path for path in decoded)
    assert third.train.size + third.test.size == 51


def test_flat_without_labels(tmp_path):
    pixels = {f"{n}.bmp": _write(tmp_path / "flat" / f"{n}.bmp", n) for n in range(12)}
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    data = load_images(f"folder:{tmp_path / 'flat'}")
    assert data.class_names is None and data.train.labels is None
    assert (data.train.size, data.test.size) == (11, 1)
    _assert_right(data.train, pixels)


def test_train_and_test_parts(classes, tmp_path):
    root, pixels = classes
    both = tmp_path / "both"
    both.mkdir()
    root.rename(both / "train")
    test = {
        f"test/dog/{n}.png": _write(both / "test/dog" / f"{n}.png", n + 99)
        for n in range(4)
    }
    data = load_images(f"folder:{both}")
    assert (data.train.size, data.test.size) == (50, 4)
    assert data.test.labels.tolist() == [1] * 4
    assert all(name.startswith("train/") for name in data.train.names)
    got = data.test.read(np.arange(4))
    for row, name in enumerate(data.test.names):
        np.testing.assert_array_equal(got[row], test[str(name)])


def test_limit_and_holdout_choose_across_classes(classes):
    root, pixels = classes
    data = load_images(f"folder:{root}", limit=20, holdout=10)
    assert (data.train.size, data.test.size) == (20, 10)
    assert set(data.train.labels) == {0, 1}
    assert not set(data.train.names) & set(data.test.names)
    _assert_right(data.train, pixels)
    again = load_images(f"folder:{root}", limit=20, holdout=10)
    assert again.train.names.tolist() == data.train.names.tolist()


def test_sizes_that_differ_ask_for_one(classes):
    root, _ = classes
    pixels = _write(root / "dog" / "big.png", 7, size=(40, 30))
    with pytest.raises(ValueError, match="image_size.*Received"):
        load_images(f"folder:{root}")
    data = load_images(f"folder:{root}", image_size=(20, 15), channels=1)
    assert data.image_shape == (20, 15, 1)
    split = data.train if "dog/big.png" in data.train.names else data.test
    (row,) = np.flatnonzero(split.names == "dog/big.png")
    resized = Image.fromarray(pixels).resize((15, 20), Image.BILINEAR)
    luma = np.asarray(resized, np.float64) @ [0.2989, 0.587, 0.1141]
    assert np.abs(split.read([row])[0, ..., 0] - luma).max() <= 2


def test_gray_files_have_one_channel(tmp_path):
    for number in range(4):
        _write(tmp_path / "gray" / f"{number}.png", number, gray=True)
    assert load_images(f"folder:{tmp_path / 'gray'}").image_shape == (12, 10, 1)


def test_batches_are_the_files_in_order(classes):
    root, pixels = classes
    train = load_images(f"folder:{root}").train
    batches = list(train.batches(8).as_numpy_iterator())
    assert [len(batch["ids"]) for batch in batches] == [8, 8, 8, 8, 8, 5]
    images = np.concatenate([batch["images"] for batch in batches])
    assert images.dtype == np.float32
    expected = np.stack([pixels[str(name)] for name in train.names])
    np.testing.assert_array_equal(images, expected)


def test_no_folder_no_images_and_a_mixture_are_told(tmp_path, classes):
    root, _ = classes
    with pytest.raises(ValueError, match="not a folder"):
        load_images(f"folder:{tmp_path / 'nowhere'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="none"):
        load_images(f"folder:{tmp_path / 'empty'}")
    _write(root / "loose.png", 1)
    with pytest.raises(ValueError, match="loose.png"):
        load_images(f"folder:{root}")


def test_a_folder_in_which_nothing_decodes(tmp_path):
    (tmp_path / "bad").mkdir()
    for number in range(3):
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="none that decode"):
        load_images(f"folder:{tmp_path / 'bad'}")


def _six(kind, pixels, exif=None):
    stream = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    if exif is not None:
        options["exif"] = exif
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_every_format_is_taken_upright_and_others_are_named(
    tmp_path, caplog, monkeypatch
):
    """Eight files that were passed over in silence, and what is no picture."""
    root, exif = tmp_path / "mixed", Image.Exif()
    root.mkdir()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3), np.uint8)
    right = {}
    for row, ending in enumerate(("webp", "tiff", "png", "jpg")):
        # Of the last one the name lies.
        kind = {"tiff": "TIFF", "png": "PNG"}.get(ending, "WEBP")
        (root / f"{row}.{ending}").write_bytes(_six(kind, pixels[row]))
        right[f"{row}.{ending}"] = pixels[row]
        turned = np.rot90(pixels[row + 4])  # turned back by its EXIF
        (root / f"{row}-turned.{ending}").write_bytes(_six(kind, turned, exif))
        right[f"{row}-turned.{ending}"] = pixels[row + 4]
    clear = np.dstack([pixels[0], np.zeros((12, 10), np.uint8)])
    (root / "clear.png").write_bytes(_six("PNG", clear))
    right["clear.png"] = np.full((12, 10, 3), 255)
    (root / "notes.txt").write_text("no image")
    (root / "broken.webp").write_bytes(_six("WEBP", pixels[0])[:50])
    (root / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with caplog.at_level(logging.WARNING):
        data = load_images(f"folder:{root}")
    assert "Passed over 1 files" in caplog.text and "notes.txt" in caplog.text
    assert "pillow-heif" in caplog.text and "does not decode as WebP" in caplog.text
    skipped = dict(data.train.skipped + data.test.skipped)
    assert set(skipped) == {"broken.webp", "phone.heic"}
    assert data.image_shape == (12, 10, 3)
    found = {}
    for split in (data.train, data.test):
        found.update(zip(split.names.tolist(), split.read(np.arange(split.size))))
    assert set(found) == set(right)
    for name, image in found.items():
        np.testing.assert_array_equal(image, right[name], err_msg=name)
    # What is missing here may be there tomorrow; it is asked again.
    checked, decode = [], checked_files._decode_one
    monkeypatch.setattr(
        checked_files, "_decode_one", lambda path: checked.append(path) or decode(path)
    )
    load_images(f"folder:{root}")
    assert any(path.endswith("phone.heic") for path in checked)


def test_a_check_by_an_older_decoder_is_made_again(classes, monkeypatch):
    root, _ = classes
    load_images(f"folder:{root}")
    decoded = []
    decode = checked_files._decode_one
    monkeypatch.setattr(
        checked_files, "_decode_one", lambda path: decoded.append(path) or decode(path)
    )
    load_images(f"folder:{root}")
    assert not decoded
    monkeypatch.setattr(checked_files, "DECODER_VERSION", 99)
    load_images(f"folder:{root}")
    assert len(decoded) == 50
