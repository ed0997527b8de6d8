"""tensorflow-datasets, on a data set that the test itself prepares, offline."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tfembed.data import encoded_stream, load_images
from tfembed.ops.image_formats import RESIZES

tfds = pytest.importorskip("tensorflow_datasets")

_BAD = 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a data set of 30 + 6 images, and its pixels by part and number."""
    rng = np.random.default_rng(0)
    pixels = {
        part: rng.integers(0, 256, (count, 9, 7, 3)).astype(np.uint8)
        for part, count in (("train", 30), ("test", 6))
    }

    folder = tmp_path_factory.mktemp("prepared")
    identity = tfds.core.DatasetIdentity(
        name="tiny_pictures",
        version="1.0.0",
        data_dir=str(folder / "tiny_pictures" / "1.0.0"),
        module_name="",
    )
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(9, 7, 3)),
            "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
        }
    )
    (folder / "tiny_pictures" / "1.0.0").mkdir(parents=True)
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(builder=identity, features=features),
        max_examples_per_shard=20,
    )
    writer.initialize_splits(list(pixels))
    for part, images in pixels.items():
        rows = [{"image": x, "label": n % 3} for n, x in enumerate(images)]
        writer.add_examples({part: rows})
    writer.close_all()
    return str(folder), pixels


def _load(prepared, **arguments):
    return load_images("tfds:tiny_pictures", data_dir=prepared[0], **arguments)


def _assert_right(split, pixels):
    """The order is the data set's own, so images are found by what they show."""
    numbers = []
    for row, image in enumerate(split.read(np.arange(split.size))):
        (number,) = np.flatnonzero((pixels == image).all((1, 2, 3)))
        assert split.labels[row] == number % 3
        numbers.append(number)
    assert len(set(numbers)) == split.size
    return numbers


def test_prepared_data_is_read(prepared):
    data = _load(prepared)
    assert data.image_shape == (9, 7, 3)
    assert data.class_names == ("a", "b", "c")
    assert (data.train.size, data.test.size) == (30, 6)
    first = _assert_right(data.train, prepared[1]["train"])
    _assert_right(data.test, prepared[1]["test"])
    assert _assert_right(_load(prepared).train, prepared[1]["train"]) == first
    assert data.train.names[2] == "tiny_pictures/train/00002"


def test_limits_read_the_beginning(prepared):
    whole = _assert_right(_load(prepared).train, prepared[1]["train"])
    data = _load(prepared, limit=10, holdout=5)
    assert _assert_right(data.train, prepared[1]["train"]) == whole[:10]
    assert _assert_right(data.test, prepared[1]["train"]) == whole[10:15]
    assert _load(prepared, test_limit=4, image_size=5).test.size == 4


def test_more_than_memory_goes_through_a_file(prepared, monkeypatch):
    memory = _load(prepared)
    monkeypatch.setattr(encoded_stream, "_free_memory", lambda: 0)
    for _ in range(2):
        disk = _load(prepared)
        assert isinstance(disk.train._images, np.memmap)
        np.testing.assert_array_equal(disk.train.labels, memory.train.labels)
        for one, two in zip(
            disk.train.epochs(8, 0, 0, 2).as_numpy_iterator(),
            memory.train.epochs(8, 0, 0, 2).as_numpy_iterator(),
        ):
            np.testing.assert_array_equal(one["ids"], two["ids"])
            np.testing.assert_array_equal(one["images"], two["images"])
        # The second time the file is there and nothing is decoded.
        monkeypatch.setattr(encoded_stream, "_decode", None)


@pytest.mark.parametrize("free", [0, 2**40])
def test_what_does_not_decode_is_left_out(free, monkeypatch, caplog):
    monkeypatch.setattr(encoded_stream, "_free_memory", lambda: free)
    images = np.random.default_rng(1).integers(0, 256, (10, 4, 4, 1)).astype(np.uint8)

    def stream():
        for number, image in enumerate(images):
            encoded = tf.io.encode_png(image).numpy()
            bad = number == _BAD
            yield f"made/{number}", b"no image" if bad else encoded, number

    arguments = (stream, 10, (4, 4, 1), f"key {free}")
    with caplog.at_level(logging.WARNING):
        split = encoded_stream.decode_stream(*arguments)
    assert split.labels.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(split.read(range(9)), np.delete(images, _BAD, 0))
    assert [name for name, _ in split.skipped] == ["made/4"]
    assert "made/4" in caplog.text and "1 of 10" in caplog.text
    with pytest.raises(ValueError, match="made/4"):
        encoded_stream.decode_stream(*arguments, strict=True)


def test_squashed_images_in_the_cache_are_not_taken_for_cropped_ones(monkeypatch):
    monkeypatch.setattr(encoded_stream, "_free_memory", lambda: 0)
    image = np.random.default_rng(2).integers(0, 256, (8, 20, 3)).astype(np.uint8)
    stream = [("made/0", tf.io.encode_png(image).numpy(), 0)]
    found = {
        resize: encoded_stream.decode_stream(
            lambda: iter(stream), 1, (8, 8, 3), "key", resize=resize
        ).read([0])
        for resize in (*RESIZES, *RESIZES)
    }
    np.testing.assert_array_equal(found["crop"][0], image[:, 6:14])
    assert len({pixels.tobytes() for pixels in found.values()}) == 3


def _encoded(count, breaks_at=None):
    image = tf.io.encode_png(np.zeros((4, 4, 1), np.uint8)).numpy()
    for number in range(count):
        if number == breaks_at:
            raise OSError("the stream broke")
        yield f"made/{number}", image, number


@pytest.mark.parametrize("reason", ["strict", "stream", "no room"])
def test_nothing_stays_in_the_cache_after_an_error(reason, monkeypatch, tmp_path):
    monkeypatch.setattr(encoded_stream, "_free_memory", lambda: 0)
    stream, strict, size = lambda: _encoded(600, 300), False, 600
    if reason == "strict":
        stream, strict = lambda: iter([("made/0", b"no image", 0)]), True
    if reason == "no room":  # as much as no disk has; nothing may be written to it
        size = 2**50
    with pytest.raises((ValueError, OSError)) as error:
        encoded_stream.decode_stream(stream, size, (4, 4, 1), "key", strict)
    if reason == "no room":
        assert "There is no room for" in error.value.strerror
    assert list((tmp_path / "cache" / "tfembed").iterdir()) == []


def test_free_memory_is_that_of_the_control_group(tmp_path):
    own, system = tmp_path / "own", tmp_path / "system"

    def group(path, stat, **values):
        (system / path).mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            (system / path / f"memory.{name}").write_text(f"{value}\n")
        (system / path / "memory.stat").write_text(f"anon 1\n{stat} 7\n")

    def free():
        return list(encoded_stream._free_in_groups(str(system), str(own)))

    assert free() == []
    own.write_text("0::/a/b\n")
    group("", "inactive_file", max="max", current=5)
    group("a", "inactive_file", max=1000, current=600)
    group("a/b", "inactive_file", max=500, current=900)
    assert free() == [407, 0]
    own.write_text("4:cpu,memory:/c\n2:cpuset:/\n")
    group("memory/c", "total_inactive_file", limit_in_bytes=90, usage_in_bytes=50)
    assert free() == [47]
    assert 0 < encoded_stream._free_memory() < 2**50


def test_an_unknown_data_set_is_told(tmp_path):
    with pytest.raises(ValueError, match="tfds:NAME.*no_such_pictures"):
        load_images("tfds:no_such_pictures", data_dir=str(tmp_path))
