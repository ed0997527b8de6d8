"""The embedding job: what it writes, how it goes on, what it says to bad input."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import embed
from tfembed.backbones.encoder import Encoder
from tfembed.data import load_images, read_embeddings
from tfembed.formats import shard_writer
from tfembed.layers import UnitNorm

Image = pytest.importorskip("PIL.Image")
ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDE, DIM, COUNT = 8, 5, 20


def build():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(DIM),
            UnitNorm(),
        ]
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A saved encoder, an archive of images 6x6, and an oracle in NumPy."""
    root = tmp_path_factory.mktemp("embed")
    model = build()
    model.save(root / "model.keras")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)
    labels = rng.integers(0, 3, COUNT)
    np.savez(root / "images.npz", images=images, labels=labels)
    kernel, bias = model.get_weights()
    flat = images.reshape(COUNT, -1).astype(np.float64) / 255 @ kernel + bias
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return root, model, f"npz:{root}/images.npz", flat, labels


def ids_of(count):
    return [f"images/train/{row:05d}" for row in range(count)]


def tree(folder):
    """Every file below a folder, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("output", ["out", "out.npz"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_writes_what_the_encoder_gives(place, tmp_path, output, dtype):
    root, _, source, expected, labels = place
    lines = []
    files = embed.embed_source(
        root / "model.keras",
        source,
        tmp_path / output,
        batch_size=3,
        shard_size=7,
        dtype=dtype,
        say=lines.append,
    )
    found = read_embeddings(tmp_path / output).load()
    for one in (found, files.load()):
        assert one.embeddings.dtype == dtype
        np.testing.assert_allclose(
            one.embeddings, expected, atol=1e-6 if dtype == "float32" else 1e-3
        )
        assert one.ids.tolist() == ids_of(COUNT)
        assert one.labels.tolist() == labels.tolist()
    assert files.class_names == ("0", "1", "2")
    assert files.manifest["embedded"] == COUNT and files.manifest["skipped"] == []
    assert lines[-1].startswith("20 images in")
    if output == "out":
        assert sorted(os.listdir(tmp_path / output)) == [
            "manifest.json",
            "part-00000.npz",
            "part-00001.npz",
            "part-00002.npz",
        ]
        assert [len(part.ids) for part in files] == [7, 7, 6]
        assert all(isinstance(part.embeddings, np.memmap) for part in files)
    else:  # one file and nothing beside it, which is a gallery too
        assert os.listdir(tmp_path) == [output]
        assert isinstance(found.embeddings, np.memmap)
        with np.load(tmp_path / output, allow_pickle=False) as archive:
            assert set(archive.files) >= {"embeddings", "labels", "ids", "class_names"}
            assert np.array_equal(archive["embeddings"], found.embeddings)


def test_parquet_shards(place, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    root, model, source, expected, labels = place
    files = embed.embed_source(
        model, source, tmp_path / "out", format="parquet", shard_size=8
    )
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    assert table.column_names == ["id", "label", "embedding"]
    assert table.column("id").to_pylist() == ids_of(8)
    np.testing.assert_allclose(
        table.column("embedding").to_pylist(), expected[:8], atol=1e-6
    )
    found = files.load()
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)
    assert found.embeddings.dtype == np.float32
    assert found.labels.tolist() == labels.tolist()
    assert found.ids.tolist() == ids_of(COUNT)


def test_without_pyarrow_a_sentence(place, tmp_path, monkeypatch):
    _, model, source, _, _ = place
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"tfembed\[parquet\]"):
        embed.embed_source(model, source, tmp_path / "out", format="parquet")
    assert not (tmp_path / "out").exists()


def test_a_run_directory_and_the_command(place, tmp_path, capsys):
    root, _, source, expected, _ = place
    arguments = [str(root), source, str(tmp_path / "out"), "--shard-size", "30"]
    assert embed.main(arguments) == 0
    assert "20 embeddings of 5 numbers" in capsys.readouterr().out
    before = tree(tmp_path)
    assert embed.main(arguments) == 0  # it is finished: nothing is done
    assert tree(tmp_path) == before
    found = read_embeddings(tmp_path / "out").load()
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)


def test_parts_of_a_source(place, tmp_path):
    root, model, _, _, _ = place
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (7, SIDE, SIDE, 3)).astype(np.uint8)
    np.savez(tmp_path / "two.npz", x_train=x[:4], x_test=x[4:])
    expected = model.predict(x.astype(np.float32), verbose=0)
    source = f"npz:{tmp_path}/two.npz"
    for split, rows in (("all", range(7)), ("train", range(4)), ("test", range(4, 7))):
        found = embed.embed_source(
            model, source, tmp_path / split, split=split, shard_size=3
        ).load()  # a shard holds the end of one part and the start of the other
        np.testing.assert_allclose(found.embeddings, expected[list(rows)], atol=1e-6)
        assert found.labels.tolist() == [-1] * len(rows)
    assert found.ids.tolist() == [f"two/test/{row:05d}" for row in range(3)]
    with pytest.raises(ValueError, match="`split` must be 'all'"):
        embed.embed_source(model, place[2], tmp_path / "none", split="test")


def test_shards_that_end_within_a_part_of_a_folder(place, tmp_path):
    """Three shards, of which each reads nothing of some part."""
    _, model, _, _, _ = place
    rng, images = np.random.default_rng(2), {}
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        (tmp_path / "photos" / part).mkdir(parents=True)
        for number in range(count):
            name = f"{part}/{number}.png"
            images[name] = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
            Image.fromarray(images[name]).save(tmp_path / "photos" / name)
    source = f"folder:{tmp_path}/photos"
    found = embed.embed_source(model, source, tmp_path / "out", shard_size=3).load()
    assert sorted(found.ids.tolist()) == sorted(images)
    pixels = np.stack([images[name] for name in found.ids]).astype(np.float32)
    expected = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)


class Killed(BaseException):
    """Stands for SIGKILL; see `steps`."""


@pytest.fixture
def steps(monkeypatch):
    """Counts what changes a disk, and lets no more of it happen than it is told."""
    counts = {"taken": 0, "allowed": np.inf}

    def counted(function):
        def step(*arguments, **named):
            if counts["taken"] >= counts["allowed"]:
                raise Killed  # also out of what would clean up
            counts["taken"] += 1
            return function(*arguments, **named)

        return step

    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return counts


@pytest.mark.parametrize("output, first", [("out", 0), ("out.npz", 1)])
def test_goes_on_after_being_killed_at_any_step(place, tmp_path, steps, output, first):
    _, model, source, _, _ = place
    encoder = Encoder(model)

    def job(folder):
        folder.mkdir(exist_ok=True)
        return embed.embed_source(encoder, source, folder / output, shard_size=12)

    job(tmp_path / "whole")
    whole, total = tree(tmp_path / "whole"), steps["taken"]
    assert total > 15
    resumed = 0
    for allowed in range(first, total, 2):  # the two take turns, to save time
        folder = tmp_path / f"{allowed}"
        steps.update(taken=0, allowed=allowed)
        with pytest.raises(Killed):
            job(folder)
        steps["allowed"] = np.inf
        listed = listed_shards(folder)
        try:
            read_embeddings(folder / output)
        except ValueError:
            pass
        else:  # killed when all was there
            assert tree(tmp_path / "whole").items() <= tree(folder).items()
        written = {path: path.stat().st_mtime_ns for path in listed}
        job(folder)
        assert tree(folder) == whole, allowed
        for path in written.keys() & set(folder.rglob("part-*")):
            resumed += 1
            assert path.stat().st_mtime_ns == written[path]
    assert resumed > 2 or output == "out.npz"


def listed_shards(folder):
    """Returns the shards that a killed job had finished, by its manifest."""
    found = []
    for path in folder.rglob("manifest.json"):
        entries = json.loads(path.read_text())["shards"]
        found += [path.parent / entry["file"] for entry in entries]
    return found


def test_only_the_shards_that_miss_are_embedded(place, tmp_path, monkeypatch):
    root, model, source, expected, _ = place
    encoder = Encoder(model)
    embed.embed_source(encoder, source, tmp_path / "out", shard_size=6)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    os.unlink(tmp_path / "out" / "part-00002.npz")
    with pytest.raises(ValueError, match="without 'part-00002.npz'"):
        read_embeddings(tmp_path / "out")
    seen = []
    monkeypatch.setattr(
        Encoder,
        "__call__",
        lambda self, images: seen.append(len(images)) or call(self, images),
    )
    lines = []
    found = embed.embed_source(
        encoder, source, tmp_path / "out", shard_size=6, say=lines.append
    ).load()
    assert sum(seen) == 8 and lines[0] == "going on after 12 of 20 images"
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


call = Encoder.__call__


@pytest.fixture(scope="module")
def other(place):
    """A model like the one of `place`, with other weights."""
    model = build()
    model.set_weights([2 * weight + 0.1 for weight in model.get_weights()])
    return model


def test_refuses_to_mix(place, other, tmp_path):
    root, model, source, _, _ = place
    encoder, out = Encoder(model), tmp_path / "out"
    embed.embed_source(encoder, source, out)
    embed.embed_source(encoder, source, tmp_path / "one.npz")
    before = tree(tmp_path)
    with np.load(root / "images.npz") as archive:
        images, labels = archive["images"].copy(), archive["labels"]
    images[0, 0, 0, 0] ^= 255
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    before["images.npz"] = (tmp_path / "images.npz").read_bytes()
    for output in (out, tmp_path / "one.npz"):
        for words, model_, source_, named in (
            ("model [0-9a-f]{12} there, [0-9a-f]{12} here", other, source, {}),
            ("source ", encoder, f"npz:{tmp_path}/images.npz", {}),
            ("shard_size 8192 there, 5 here", encoder, source, {"shard_size": 5}),
            ("dtype 'float32' there", encoder, source, {"dtype": "float16"}),
        ):
            with pytest.raises(ValueError, match=words):
                embed.embed_source(model_, source_, output, **named)
    assert tree(tmp_path) == before
    # The same images elsewhere are the same.
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "images.npz"
    copy.write_bytes((root / "images.npz").read_bytes())
    embed.embed_source(encoder, f"npz:{copy}", out)


def test_refuses_what_is_not_its_own(place, tmp_path):
    _, model, source, _, _ = place
    encoder = Encoder(model)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds 'letter.txt'"):
        embed.embed_source(encoder, source, tmp_path / "full")
    with pytest.raises(ValueError, match="another file or lies below one"):
        embed.embed_source(encoder, source, tmp_path / "full" / "letter.txt" / "out")
    np.savez(tmp_path / "mine.npz", embeddings=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="holds other embeddings"):
        embed.embed_source(encoder, source, tmp_path / "mine.npz")
    assert sorted(os.listdir(tmp_path)) == ["full", "mine.npz"]


def test_one_process_at_a_time(place, tmp_path):
    import fcntl

    _, model, source, _, _ = place
    (tmp_path / "out").mkdir()
    handle = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="Another process is writing"):
        embed.embed_source(model, source, tmp_path / "out")
    os.close(handle)
    embed.embed_source(model, source, tmp_path / "out")


@pytest.mark.parametrize(
    "output, writer, at, file, left",
    [
        ("out", "write_shard", 2, "part-00001.npz", {"part-00000.npz"}),
        ("out.npz", "_write_npz", 1, "out.npz", {"part-00000.npz", "part-00001.npz"}),
    ],
)
def test_a_full_disk_is_a_sentence_and_loses_nothing(
    place, tmp_path, output, writer, at, file, left, capsys, monkeypatch
):
    """The limit on a file's size stands for the disk: real writes fail, half-way."""
    root, _, source, expected, _ = place
    arguments = [str(root), source, str(tmp_path / output), "--shard-size", "10"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    real, calls = getattr(shard_writer, writer), []

    def limited(path, *others, **named):
        calls.append(path)
        if len(calls) == at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
        real(path, *others, **named)

    monkeypatch.setattr(shard_writer, writer, limited)
    try:
        assert embed.main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    said = capsys.readouterr().err
    assert f"error: There is no room for '{file}'" in said
    assert "start again" in said and "Traceback" not in said
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"manifest.json", *left}
    assert embed.main(arguments) == 0
    found = read_embeddings(tmp_path / output).load()
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of mixed sizes and modes, and four files that are none."""
    root = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(3)
    for number, mode in enumerate(["RGB", "L", "RGBA", "P", "1", "LA", "CMYK"]):
        ending = "jpg" if mode == "CMYK" else "png"
        label = root / ("cat" if number % 2 else "dog")
        label.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (9 + number, 20 - number, 3)).astype(np.uint8)
        image = Image.fromarray(pixels).convert(mode)
        image.save(label / f"{number}-{mode}.{ending}")
    whole = (root / "dog" / "0-RGB.png").read_bytes()
    (root / "cat" / "0-none.jpg").write_bytes(b"this is no image")
    (root / "cat" / "9-empty.png").write_bytes(b"")
    (root / "dog" / "9-half.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "9-nowhere.png").symlink_to(root / "not-there.png")
    return root


BAD = {"cat/0-none.jpg", "cat/9-empty.png", "dog/9-half.png", "dog/9-nowhere.png"}


def test_an_output_of_another_decoder_is_not_taken_up(place, folder, tmp_path):
    from tfembed.data import source_images

    encoder, source = Encoder(place[1]), f"folder:{folder}"
    found = embed.embed_source(encoder, source, tmp_path / "out")
    assert found.manifest["identity"]["decoder"] == source_images.DECODER_VERSION
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_images, "DECODER_VERSION", 99)
        with pytest.raises(ValueError, match=r"decoder \d+ there, 99 here"):
            embed.embed_source(encoder, source, tmp_path / "out")
        # Pixels are as they are.
        embed.embed_source(encoder, place[2], tmp_path / "pixels")
    embed.embed_source(encoder, place[2], tmp_path / "pixels")


def test_a_folder_of_all_sorts(place, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, model, _, _, _ = place
    output = tmp_path / "out"
    arguments = [str(root), f"folder:{folder}", str(output), "--shard-size", "8"]
    assert embed.main(arguments) == 0
    out, err = capsys.readouterr()
    assert "7 embeddings of 5 numbers, 4 images left out" in out
    assert all(f"left out {name}: " in err for name in BAD)
    assert "{{" not in err and "[Op" not in err
    files = read_embeddings(output)
    assert {name for name, _ in files.manifest["skipped"]} == BAD
    os.unlink(output / "part-00001.npz")
    assert embed.main(arguments) == 0  # what was left out of the first shard is known
    assert "4 images left out" in capsys.readouterr().out
    assert read_embeddings(output).manifest == files.manifest
    assert files.class_names == ("cat", "dog")
    found = files.load()
    # What training sees of the same folder.
    data = load_images(f"folder:{folder}", image_size=SIDE, channels=3)
    (batch,) = data.train.batches(9)
    expected = model(batch["images"], training=False).numpy()
    rows = np.searchsorted(found.ids, data.train.names)
    assert found.ids[rows].tolist() == data.train.names.tolist()
    np.testing.assert_allclose(found.embeddings[rows], expected, atol=1e-6)
    assert found.labels[rows].tolist() == data.train.labels.tolist()
    rest = set(found.ids) - set(data.train.names)
    assert rest == set(data.test.names) and len(found.ids) == 7
    with pytest.raises(ValueError, match="`strict` is set. Received: '.*(none|empty)"):
        embed.embed_source(model, f"folder:{folder}", tmp_path / "s", strict=True)


def test_folders_with_nothing_in_them(place, tmp_path):
    _, model, _, _, _ = place
    encoder = Encoder(model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold images"):
        embed.embed_source(encoder, f"folder:{tmp_path}/empty", tmp_path / "out")
    (tmp_path / "empty" / "a.png").write_bytes(b"x")
    for output in ("out", "out.npz"):
        with pytest.raises(ValueError, match="has none; the first, 'a.png': "):
            embed.embed_source(encoder, f"folder:{tmp_path}/empty", tmp_path / output)
    assert os.listdir(tmp_path) == ["empty"]


def test_what_is_not_finite_is_left_out(place, tmp_path):
    """Sums of pixels: the brightest images overflow float16, at 65504."""
    images = np.full((4, SIDE, SIDE, 3), 200, np.uint8)
    images[1:3] = 255
    images[2, 0, 0] = 254
    np.savez(tmp_path / "bright.npz", images=images)
    image = keras.Input((SIDE, SIDE, 3))
    total = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Rescaling(257.0)(total))
    source = f"npz:{tmp_path}/bright.npz"
    for dtype, left in (("float32", [0, 1, 2, 3]), ("float16", [0, 3])):
        files = embed.embed_source(model, source, tmp_path / dtype, dtype=dtype)
        names = [f"bright/train/{row:05d}" for row in range(4)]
        assert files.load().ids.tolist() == [names[row] for row in left]
        assert files.manifest["skipped"] == [
            [name, "its embedding is not finite"]
            for row, name in enumerate(names)
            if row not in left
        ]


def test_replicas_embed_as_one(place, tmp_path, strategy):
    root, _, source, expected, _ = place
    found = embed.embed_source(
        root / "model.keras", source, tmp_path / "out", batch_size=7, strategy=strategy
    ).load()  # 7, 7 and 6 images: two replicas never get the same number
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)


def test_models_that_are_none(place, tmp_path):
    _, model, source, _, _ = place
    any_size = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    vector = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    maps = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(2, 3)])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "none.keras").write_bytes(b"none")
    for bad, words in (
        (tmp_path / "nowhere.keras", "does not exist"),
        (tmp_path / "run", "it goes on where it stopped"),
        (tmp_path / "none.keras", "can load with"),
        (vector, r"must take images"),
        (maps, "one embedding an image"),
        (any_size, "`image_size` and `channels` must be given"),
    ):
        with pytest.raises(ValueError, match=words):
            embed.embed_source(bad, source, tmp_path / "out")
    with pytest.raises(ValueError, match="must be what `model` takes"):
        embed.embed_source(model, source, tmp_path / "out", image_size=9)
    assert not (tmp_path / "out").exists()
    assert Encoder(any_size, image_size=(5, 6)).image_shape == (5, 6, 3)


@pytest.mark.parametrize(
    "named",
    [
        {"split": "half"},
        {"format": "csv"},
        {"dtype": "int8"},
        {"batch_size": 0},
        {"shard_size": 2.5},
        {"limit": 0},
    ],
)
def test_arguments_that_are_none(named, tmp_path):
    (name,) = named
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}="):
        embed.embed_source("model", "synthetic", tmp_path / "out", **named)


@pytest.mark.slow
def test_of_many_that_are_left_out_the_first_are_named():
    skipped = [(f"{number}.jpg", "damaged") for number in range(23)]
    name_left_out = embed.name_left_out
    lines = name_left_out(skipped)
    assert lines[0] == "left out 0.jpg: damaged" and len(lines) == 21
    assert lines[-2:] == ["left out 19.jpg: damaged", "and 3 more"]
    assert name_left_out(skipped[:20]) == lines[:20]
    assert name_left_out([]) == []


def test_goes_on_after_sigkill(place, tmp_path):
    root, model, _, _, _ = place
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (4000, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "many.npz", images=images)
    command = [sys.executable, "-m", "tfembed.embed", str(root)]
    command += [f"npz:{tmp_path}/many.npz", str(tmp_path / "out")]
    command += ["--shard-size", "50", "--batch-size", "10"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "out" / "part-00003.npz").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["finished"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "going on after" in done.stderr
    found = read_embeddings(tmp_path / "out").load()
    resized = tf.image.resize(images, (SIDE, SIDE), antialias=True)
    expected = model(tf.round(resized)).numpy()
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-5)


@pytest.mark.parametrize("output", ["out", "out.npz", "parquet"])
def test_further_columns_of_a_list_are_kept(place, tmp_path, output):
    encoder = Encoder(place[1])
    kind = output if output == "parquet" else None
    if kind:
        pytest.importorskip("pyarrow")
    rng = np.random.default_rng(3)
    rows = [["path", "label", "brand", "מחיר, €"]]
    for number in range(9):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        long = "y" * (5000 * (number == 4))
        rows.append([f"{number}.png", "ab"[number % 2], f"b{number}", long])
    (tmp_path / "5.png").write_bytes(b"no image")

    def write():
        text = "\n".join(";".join(row) for row in rows)
        (tmp_path / "list.csv").write_text(text, encoding="utf-8")
        return f"csv:{tmp_path}/list.csv"

    target = tmp_path / "to" / output
    target.parent.mkdir()

    def embed_all():
        return embed.embed_source(encoder, write(), target, format=kind, shard_size=4)

    embed_all()
    found = read_embeddings(target).load()
    good = [row for row in rows[1:] if row[0] != "5.png"]
    assert found.ids.tolist() == [row[0] for row in good]
    assert {name: list(texts) for name, texts in found.metadata.items()} == {
        "brand": [row[2] for row in good],
        "מחיר, €": [row[3] for row in good],
    }
    before = tree(tmp_path / "to")
    embed_all()  # there is nothing to do
    assert tree(tmp_path / "to") == before
    rows[1][2] = "another"
    with pytest.raises(ValueError, match="holds other embeddings: metadata .* there"):
        embed_all()
    assert tree(tmp_path / "to") == before
