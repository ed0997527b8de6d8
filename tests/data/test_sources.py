"""Finding and reading the named sources, on small files that the tests write."""

import gzip
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from tfembed.data import SOURCES, fashion_mnist, load_images
from tfembed.data.idx import IMAGE_FILES, read_idx


def _idx(array):
    header = struct.pack(">HBB", 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _write_mnist_like(folder, seed=0, zipped=True):
    """Writes 30 + 10 images; returns part to (images, labels)."""
    rng = np.random.default_rng(seed)
    os.makedirs(folder)
    arrays = {}
    for part, count in (("train", 30), ("test", 10)):
        images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        arrays[part] = images, labels
        for file, array in zip(IMAGE_FILES[part], arrays[part]):
            path = os.path.join(folder, file)
            if zipped:
                with gzip.open(f"{path}.gz", "wb") as stream:
                    stream.write(_idx(array))
            else:
                with open(path, "wb") as stream:
                    stream.write(_idx(array))
    return arrays


def _assert_holds(data, arrays):
    for part in ("train", "test"):
        split, (images, labels) = getattr(data, part), arrays[part]
        got = split.read(np.arange(split.size))
        expected = images if images.ndim == 4 else images[..., None]
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(split.labels, np.ravel(labels))
        assert split.labels.dtype == np.int64
        assert split.names[3].endswith(f"/{part}/00003")


@pytest.fixture
def no_network(monkeypatch):
    """Keras' downloads fail, and Debian's package is not installed."""
    from tensorflow import keras

    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://...: None -- no route")

    for name in ("fashion_mnist", "mnist", "cifar10", "cifar100"):
        monkeypatch.setattr(getattr(keras.datasets, name), "load_data", fail)
    monkeypatch.setattr(fashion_mnist, "_PACKAGE_FOLDER", "no/such/folder")


@pytest.mark.parametrize(
    "inner", ["", "fashion-mnist", "usr/share/datasets/fashion-mnist"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_in_data_dir(tmp_path, inner, zipped):
    arrays = _write_mnist_like(tmp_path / "dir" / inner, zipped=zipped)
    data = load_images("fashion_mnist", data_dir=str(tmp_path / "dir"))
    _assert_holds(data, arrays)
    assert data.image_shape == (28, 28, 1)
    assert data.class_names[9] == "Ankle boot"


def test_fashion_mnist_in_keras_cache_comes_second(tmp_path):
    cached = _write_mnist_like(tmp_path / "keras" / "datasets" / "fashion-mnist", 1)
    _assert_holds(load_images("fashion_mnist", data_dir=str(tmp_path)), cached)
    given = _write_mnist_like(tmp_path / "given", 2)
    data = load_images("fashion_mnist", data_dir=str(tmp_path / "given"))
    _assert_holds(data, given)


def test_fashion_mnist_of_the_installed_debian_package(tmp_path, monkeypatch):
    arrays = _write_mnist_like(tmp_path / "installed", 3)
    folder = os.path.relpath(tmp_path / "installed", os.sep)
    monkeypatch.setattr(fashion_mnist, "_PACKAGE_FOLDER", folder)
    _assert_holds(load_images("fashion_mnist"), arrays)


def test_fashion_mnist_downloaded_the_keras_way(tmp_path, monkeypatch, no_network):
    from tensorflow import keras

    folder, arrays = tmp_path / "keras" / "datasets" / "fashion-mnist", {}
    download = keras.datasets.fashion_mnist
    monkeypatch.setattr(
        download, "load_data", lambda: arrays.update(_write_mnist_like(folder, 4))
    )
    data = load_images("fashion_mnist")
    _assert_holds(data, arrays)


def test_where_no_way_works_all_four_are_named(tmp_path, no_network):
    with pytest.raises(ValueError) as error:
        load_images("fashion_mnist", data_dir=str(tmp_path / "given"))
    message = str(error.value)
    for way in ("given", "keras", "dataset-fashion-mnist", "no route"):
        assert way in message
    assert "\n" not in message


def _tool(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def _fake_debian(tmp_path, monkeypatch, download):
    """An apt-get that runs `download`, a dpkg that unpacks what the test wrote."""
    arrays = _write_mnist_like(tmp_path / "made/usr/share/datasets/fashion-mnist", 5)
    _tool(tmp_path / "bin", "apt-get", download)
    _tool(tmp_path / "bin", "dpkg", f'mkdir -p "$3" && cp -r {tmp_path}/made/usr "$3"/')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return arrays


@pytest.mark.parametrize("lists", ["full", "empty"])
def test_the_debian_package_is_fetched_without_root(tmp_path, monkeypatch, lists):
    download = "case $* in *download*) touch dataset-fashion-mnist_0_all.deb;; esac"
    if lists == "empty":  # until they were updated into a folder of its own
        download = f"case $1 in -o) {download};; *) echo 'E: none' ; exit 100;; esac"
    arrays = _fake_debian(tmp_path, monkeypatch, download)
    folder = fashion_mnist.fetch_debian_package(str(tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache") == ["fashion-mnist"]
    np.testing.assert_array_equal(
        read_idx(folder, "train-images-idx3-ubyte"), arrays["train"][0]
    )
    assert fashion_mnist.find_files(str(tmp_path / "cache")) == folder


def test_the_stamps_of_tux_paint_are_its_pictures_alone(tmp_path, monkeypatch, capsys):
    from tfembed.data import tuxpaint_stamps

    stamps = tmp_path / "made/usr/share/tuxpaint/stamps"
    for name in ("animals/cat.png", "animals/cat.ogg", "town/a.svg", "readme.txt"):
        (stamps / name).parent.mkdir(parents=True, exist_ok=True)
        (stamps / name).write_text(name)
    download = 'touch "$2_0_all.deb"'
    _tool(tmp_path / "bin", "apt-get", download)
    _tool(tmp_path / "bin", "dpkg", f'mkdir -p "$3" && cp -r {tmp_path}/made/usr "$3"/')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(tuxpaint_stamps, "_INSTALLED", str(tmp_path / "installed"))
    arguments = ["--data-dir", str(tmp_path / "cache")]
    folder = tmp_path / "cache" / "tuxpaint-stamps"
    for _ in range(2):  # the second time it is there
        assert tuxpaint_stamps.main(arguments) == 0
        assert capsys.readouterr().out.strip() == str(folder)
        _tool(tmp_path / "bin", "apt-get", "echo 'E: Unable to locate it'; exit 100")
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found == [folder / "animals" / "cat.png"]
    assert os.listdir(folder) == ["animals"]  # what holds no pictures is gone
    assert tuxpaint_stamps.main(["--data-dir", str(tmp_path / "other")]) == 1
    said = capsys.readouterr().err
    assert "Unable to locate it" in said and "a folder of pictures of your own" in said


def test_why_the_debian_package_cannot_be_had(
    tmp_path, monkeypatch, capsys, no_network
):
    _fake_debian(tmp_path, monkeypatch, "echo 'E: Unable to locate it'; exit 100")
    with pytest.raises(RuntimeError, match="Unable to locate it"):
        fashion_mnist.fetch_debian_package(str(tmp_path / "cache"))
    assert fashion_mnist.main(["--data-dir", str(tmp_path / "cache")]) == 1
    said = capsys.readouterr().err
    assert "Unable to locate it" in said and "four ways" in said
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get"):
        fashion_mnist.fetch_debian_package(str(tmp_path / "cache"))


def test_the_command_prints_the_folder_and_needs_no_tensorflow(tmp_path):
    _write_mnist_like(tmp_path / "given")
    program = (
        "import sys; from tfembed.data import fashion_mnist as f; code = f.main(); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--data-dir", str(tmp_path / "given")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "given").rstrip("/") or (
        os.path.samefile(done.stdout.strip(), tmp_path / "given")
    )


def test_a_cut_idx_file_is_told(tmp_path):
    _write_mnist_like(tmp_path / "given", zipped=False)
    path = tmp_path / "given" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="train-images.*cut short"):
        load_images("fashion_mnist", data_dir=str(tmp_path / "given"))
    (tmp_path / "given" / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bxx")
    with pytest.raises(ValueError, match="cannot be read"):
        load_images("fashion_mnist", data_dir=str(tmp_path / "given"))


@pytest.mark.parametrize("form", ["idx", "npz"])
def test_mnist(tmp_path, form, no_network):
    with pytest.raises(ValueError, match="MNIST was not found"):
        load_images("mnist")
    arrays = _write_mnist_like(tmp_path / "given")
    if form == "npz":
        cache = tmp_path / "keras" / "datasets"
        cache.mkdir(parents=True)
        parts = {f"x_{part}": images for part, (images, _) in arrays.items()}
        parts.update({f"y_{part}": labels for part, (_, labels) in arrays.items()})
        np.savez(cache / "mnist.npz", **parts)
    data = load_images(
        "mnist", data_dir=str(tmp_path / "given") if form == "idx" else None
    )
    _assert_holds(data, arrays)
    assert data.class_names == tuple("0123456789")


def _cifar_arrays(count):
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    return images, rng.integers(0, 10, count)


def _rows(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path, name, form, no_network):
    with pytest.raises(ValueError, match=f"{name} was not found"):
        load_images(name, data_dir=str(tmp_path))
    ten = name == "cifar10"
    count, files = (50, 5) if ten else (50, 1)
    arrays = {"train": _cifar_arrays(count), "test": _cifar_arrays(8)}
    python = form == "python"
    if ten:
        folder = tmp_path / (
            "cifar-10-batches-py" if python else "cifar-10-batches-bin"
        )
        names = {
            "train": [f"data_batch_{n}" for n in range(1, 6)],
            "test": ["test_batch"],
        }
    else:
        folder = tmp_path / ("cifar-100-python" if python else "cifar-100-binary")
        names = {"train": ["train"], "test": ["test"]}
    folder.mkdir()
    for part, (images, labels) in arrays.items():
        pieces = len(names[part])
        for file, rows, some in zip(
            names[part],
            np.array_split(_rows(images), pieces),
            np.array_split(labels, pieces),
        ):
            if python:
                key = b"labels" if ten else b"fine_labels"
                content = pickle.dumps({b"data": rows, key: some.tolist()}, 2)
                (folder / file).write_bytes(content)
            else:
                before = [some[:, None]] if ten else [some[:, None] * 0, some[:, None]]
                whole = np.concatenate([*before, rows], 1).astype(np.uint8)
                (folder / f"{file}.bin").write_bytes(whole.tobytes())
    data = load_images(name, data_dir=str(tmp_path))
    _assert_holds(data, arrays)
    assert data.image_shape == (32, 32, 3)
    assert files == len(names["train"])


def test_a_pickle_that_calls_something_is_refused(tmp_path, no_network):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    (tmp_path / "cifar-100-python").mkdir()
    for file in ("train", "test"):
        (tmp_path / "cifar-100-python" / file).write_bytes(pickle.dumps(Evil(), 2))
    with pytest.raises(ValueError, match="mkdir"):
        load_images("cifar100", data_dir=str(tmp_path))
    assert not (tmp_path / "made").exists()


def test_npz_with_parts(tmp_path):
    rng = np.random.default_rng(7)
    arrays = {
        part: (rng.integers(0, 256, (n, 6, 5, 3)).astype(np.uint8), np.arange(n) % 3)
        for part, n in (("train", 12), ("test", 5))
    }
    np.savez(
        tmp_path / "mine.npz",
        x_train=arrays["train"][0],
        y_train=arrays["train"][1][:, None],
        x_test=arrays["test"][0],
        y_test=arrays["test"][1],
        class_names=np.array(["a", "b", "c"]),
    )
    data = load_images(f"npz:{tmp_path / 'mine.npz'}")
    _assert_holds(data, arrays)
    assert data.class_names == ("a", "b", "c")
    assert data.train.names[0] == "mine/train/00000"


def test_npz_of_images_alone_holds_a_tenth_out(tmp_path):
    images = np.random.default_rng(8).integers(0, 256, (40, 6, 5)).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", images=images)
    data = load_images(f"npz:{tmp_path / 'mine.npz'}")
    assert (data.train.size, data.test.size) == (36, 4)
    assert data.train.labels is None and data.class_names is None
    for split in (data.train, data.test):
        rows = [int(name.rsplit("/")[-1]) for name in split.names]
        np.testing.assert_array_equal(
            split.read(np.arange(split.size))[..., 0], images[rows]
        )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 3, 3), np.uint8)}, "keys.*pictures"),
        ({"images": np.zeros((2, 3, 3), np.float32)}, "uint8.*float32"),
        ({"images": np.zeros((2, 3, 3, 2), np.uint8)}, "uint8.*3, 3, 2"),
        (
            {"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(3, int)},
            "`labels`",
        ),
        (
            {"images": np.zeros((2, 3, 3), np.uint8), "labels": -np.ones(2, int)},
            "`labels`",
        ),
        ({"images": np.array([None, "x"], object)}, "object arrays"),
    ],
)
def test_npz_that_cannot_be_used_is_told(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_images(f"npz:{tmp_path / 'mine.npz'}")
    with pytest.raises(ValueError, match="not a file"):
        load_images("npz:nowhere.npz")


@pytest.mark.parametrize("source", ["npz", "mnist"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_that_is_cut_or_damaged_anywhere_gets_a_sentence(
    save, source, tmp_path
):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 9, (20, 28, 28)).astype(np.uint8)
    arrays = {"x_train": images, "x_test": images}
    arrays.update(y_train=np.arange(20) % 3, y_test=np.arange(20) % 3)
    path = tmp_path / "mnist.npz"
    save(path, **arrays)
    whole = path.read_bytes()
    name = f"npz:{path}" if source == "npz" else "mnist"
    load_images(name, data_dir=str(tmp_path))
    broken = [whole[: len(whole) * part // 8] for part in range(8)]
    for place in range(0, len(whole), len(whole) // 10):
        broken.append(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    refused = 0
    for content in broken:
        path.write_bytes(content)
        try:
            load_images(name, data_dir=str(tmp_path))
        except ValueError as error:
            refused += "mnist.npz" in str(error)
    assert refused >= 8 + 5


def test_limits_sizes_and_channels():
    whole = load_images("synthetic")
    data = load_images("synthetic", limit=100, test_limit=30, image_size=14, channels=3)
    assert (data.train.size, data.test.size) == (100, 30)
    assert data.image_shape == (14, 14, 3)
    held = load_images("synthetic", limit=100, holdout=50)
    assert held.train.names.tolist() == whole.train.names[:100].tolist()
    assert held.test.names.tolist() == whole.train.names[100:150].tolist()
    np.testing.assert_array_equal(held.test.labels, whole.train.labels[100:150])
    np.testing.assert_array_equal(held.test.read([3]), whole.train.read([103]))
    last = load_images("synthetic", holdout=50)
    assert last.train.size == 1950
    assert last.test.names.tolist() == whole.train.names[1950:].tolist()


@pytest.mark.parametrize(
    "name", ["imagenet", "folder", "folder:", "npz", "tfds:", "mnist:x", "", None]
)
def test_an_unknown_source_lists_the_known(name):
    with pytest.raises(ValueError) as error:
        load_images(name)
    for known in SOURCES:
        assert known in str(error.value)
    assert f"name={name!r}" in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("limit", 0),
        ("limit", 2.5),
        ("test_limit", -1),
        ("holdout", -1),
        ("holdout", 2000),
        ("image_size", (28,)),
        ("image_size", 0),
        ("channels", 2),
    ],
)
def test_what_is_out_of_range_is_named(wrong, value):
    with pytest.raises(ValueError, match=f"`{wrong}`.*Received"):
        load_images("synthetic", **{wrong: value})


@pytest.mark.slow
def test_importing_the_room_imports_nothing_heavy():
    program = """
import sys
import tfembed.data, tfembed.backbones
heavy = {"tensorflow", "keras", "keras_cv", "tensorflow_datasets", "PIL"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from tfembed.data import Augmentation, load_images  # TensorFlow brings Pillow in
heavy = {"keras_cv", "tensorflow_datasets"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
