"""Fingerprints: whatever changes of the images changes them, and nothing else does."""

import hashlib
import os
import shutil
import time

import numpy as np
import pytest

from tfembed.data import file_digests, load_images
from tfembed.data.fingerprint import fingerprint
from tfembed.data.source_images import SourceImages

COUNT = 600  # more than a sample would look at
SHAPE = (4, 4, 3)


def _source(kind, root):
    """Writes images of two classes; returns the source's name."""
    rng = np.random.default_rng(0)
    root.mkdir()
    if kind == "npz":
        images = rng.integers(0, 256, (COUNT, *SHAPE), np.uint8)
        np.savez(root / "a.npz", images=images, labels=np.arange(COUNT) % 2)
        return f"npz:{root / 'a.npz'}"
    import tensorflow as tf

    for number in range(COUNT // 20):
        path = root / "ab"[number % 2] / f"{number:03d}.bmp"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, SHAPE, np.uint8)
        header = b"BM" + np.uint32([54 + 48, 0, 54, 40, 4, 4]).tobytes()
        header += (
            np.uint16([1, 24]).tobytes() + np.uint32([0, 48, 0, 0, 0, 0]).tobytes()
        )
        path.write_bytes(header + pixels.tobytes())
        assert tf.io.decode_image(path.read_bytes()).shape == SHAPE
    return f"folder:{root}"


def _digest(source):
    """As `embed` takes it, and as it is of what `load_images` gives to train on."""
    data = load_images(source, image_size=2)
    return SourceImages(source, "all", SHAPE).fingerprint(), fingerprint([data.train])


def _edit(root, change):
    with np.load(root / "a.npz") as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    change(arrays)
    np.savez(root / "a.npz", **arrays)


def _pixel(kind, root):
    """One value of one image, with size and time of modification as before."""
    if kind == "npz":
        _edit(
            root,
            lambda arrays: np.copyto(arrays["images"][1], 255 - arrays["images"][1]),
        )
        return
    for path in sorted((root / "a").iterdir()):
        before, content = path.stat(), bytearray(path.read_bytes())
        content[60] ^= 255
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _label(kind, root):
    if kind == "npz":
        _edit(root, lambda arrays: np.copyto(arrays["labels"], 1 - arrays["labels"]))
    else:
        (root / "a").rename(root / "c")
        (root / "b").rename(root / "a")
        (root / "c").rename(root / "b")


def _swap(kind, root):
    """Two images of a class trade places: names, sizes and pixels in all are equal."""
    if kind == "npz":
        _edit(root, lambda a: np.copyto(a["images"], a["images"][::-1].copy()))
    else:
        first, second, *_ = sorted((root / "a").iterdir())
        first.rename(root / "x")
        second.rename(first)
        (root / "x").rename(second)


def _gone(kind, root):
    if kind == "npz":
        _edit(
            root,
            lambda arrays: arrays.update({k: v[1:] for k, v in arrays.items()}),
        )
    else:
        next((root / "b").iterdir()).unlink()


def _time(kind, root):
    for path in root.rglob("*"):
        os.utime(path, (1, 1))


def _copy(kind, root):
    shutil.copytree(root, root.with_name("copy"))
    shutil.rmtree(root)
    root.with_name("copy").rename(root)


@pytest.mark.parametrize("settled", [True, False], ids=["remembered", "just written"])
@pytest.mark.parametrize("kind", ["folder", "npz"])
@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (_pixel, True),
        (_label, True),
        (_swap, True),
        (_gone, True),
        (_time, False),
        (_copy, False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_changes_a_fingerprint(
    change, differs, kind, settled, tmp_path, monkeypatch
):
    if settled:
        monkeypatch.setattr(file_digests, "_SETTLED_NS", -(10**10))
    source = _source(kind, tmp_path / "images")
    before = _digest(source)
    assert _digest(source) == before
    change(kind, tmp_path / "images")
    after = _digest(source)
    assert (after[0] != before[0]) is differs
    if change is not _gone:  # it may have been one of those held out
        assert (after[1] != before[1]) is differs


def test_it_is_the_same_in_every_version(tmp_path):
    """A job that an earlier one began goes on: its images are known again."""
    split = load_images(_source("npz", tmp_path / "images"), image_size=4).train
    expected = hashlib.sha256(f"{split.size} {split.size}\n".encode())
    expected.update(np.int64(split.labels).tobytes())
    expected.update("".join(f"{name}\n" for name in split.names).encode())
    expected.update(split.contents().tobytes())
    assert fingerprint([split]) == expected.hexdigest()


def test_files_are_read_once(tmp_path, monkeypatch):
    source = _source("folder", tmp_path / "images")
    before = time.time() - 100
    for path in (tmp_path / "images").rglob("*.bmp"):
        os.utime(path, (before, before))
    read, reader = [], file_digests._read_one
    monkeypatch.setattr(
        file_digests, "_read_one", lambda path: read.append(path) or reader(path)
    )
    first = SourceImages(source, "all", SHAPE).fingerprint()
    assert len(read) == COUNT // 20
    # What was written a moment ago is not trusted to be left alone.
    assert SourceImages(source, "all", SHAPE).fingerprint() == first
    assert len(read) == 2 * (COUNT // 20)
    monkeypatch.setattr(file_digests, "_SETTLED_NS", 0)
    SourceImages(source, "all", SHAPE).fingerprint()
    assert len(read) == 3 * (COUNT // 20)
    SourceImages(source, "all", SHAPE).fingerprint()
    assert len(read) == 3 * (COUNT // 20)
    path = tmp_path / "images" / "b" / "001.bmp"
    path.write_bytes(path.read_bytes())
    assert SourceImages(source, "all", SHAPE).fingerprint() == first
    assert read[3 * (COUNT // 20) :] == [str(path)]


def test_a_cache_that_is_broken_or_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    source = _source("folder", tmp_path / "images")
    monkeypatch.setattr(file_digests, "_SETTLED_NS", -(10**10))
    first = SourceImages(source, "all", SHAPE).fingerprint()
    (cache,) = (tmp_path / "cache" / "tfembed").glob("digests-*")
    cache.write_bytes(cache.read_bytes()[:300])
    assert SourceImages(source, "all", SHAPE).fingerprint() == first
    cache.unlink()
    cache.mkdir()
    (cache / "here").touch()
    assert SourceImages(source, "all", SHAPE).fingerprint() == first
    assert not [path for path in cache.parent.iterdir() if path.name.startswith("tmp")]
