"""Every way into the package for an archive (`.npz`), given archives that are damaged.

Cut short, a bit flipped, pickled, an array missing, of another kind, no archive at all:
each is a ValueError that names the file, and so a sentence of the command.
"""

import pathlib
import re
import types

import numpy as np
import pytest

from tfembed.data import load_images, read_embeddings
from tfembed.data.file_digests import file_digests
from tfembed.evaluate.subject import find_subject
from tfembed.export.additions import read_additions
from tfembed.export.run_directory import read_gallery, read_queries, read_run
from tfembed.interop.index_files import read_ids, write_index
from tfembed.recipes import known_images
from tfembed.recipes.mining import Mining
from tfembed.report.run import read_run as read_report
from tfembed.serving import open_thumbnails

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "tfembed"
COUNT = 24
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(COUNT, 4)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.arange(COUNT) % 3
IDS = np.array([f"id {row}" for row in range(COUNT)])
IMAGES = RNG.integers(0, 256, (COUNT, 28, 28)).astype(np.uint8)
EMBEDDINGS = {"embeddings": ROWS, "labels": LABELS, "ids": IDS}
GALLERY = {**EMBEDDINGS, "class_names": np.array(["a", "b", "c"]), "vote_k": 5}
GALLERY["vote_temperature"] = np.float32(0.1)
THUMBNAILS = {"images": IMAGES[..., None], "ids": IDS}
PARTS = {"x_train": IMAGES, "x_test": IMAGES, "y_train": LABELS, "y_test": LABELS}
SETS = {"offsets": np.arange(COUNT + 1), "indices": np.arange(COUNT)}
KNOWN = {
    "train_names": np.array([b"a", b"b"]),
    "train_contents": np.zeros((2, 16), np.uint8),
    "train_labels": np.arange(2),
}


def run_of(folder):
    """Makes what is missing of a run directory."""
    for name, arrays in (
        ("gallery", GALLERY),
        ("queries", EMBEDDINGS),
        ("thumbnails", THUMBNAILS),
        ("query_thumbnails", THUMBNAILS),
        ("positives", SETS),
    ):
        if not (folder / f"{name}.npz").exists():
            np.savez(folder / f"{name}.npz", **arrays)
    (folder / "model.keras").touch()
    return folder


def index_of(folder):
    (folder / "index").write_bytes(b"1")
    return folder / "index"


def mining_of(folder):
    mining = Mining.__new__(Mining)  # the reader alone: the rest trains a GAN
    mining.directory = folder
    mining.run = types.SimpleNamespace(
        data=types.SimpleNamespace(train=types.SimpleNamespace(size=COUNT))
    )
    return mining


# Way in: file, what it holds, which of it is needed, and the call.
WAYS = {
    "npz:, images": (
        "a.npz",
        {"images": IMAGES, "labels": LABELS},
        "images",
        lambda folder: load_images(f"npz:{folder / 'a.npz'}"),
    ),
    "npz:, parts": (
        "a.npz",
        PARTS,
        "x_train",
        lambda folder: load_images(f"npz:{folder / 'a.npz'}"),
    ),
    "mnist": (
        "mnist.npz",
        PARTS,
        "y_test",
        lambda folder: load_images("mnist", data_dir=str(folder)),
    ),
    "read_embeddings": (
        "a.npz",
        EMBEDDINGS,
        "embeddings",
        lambda folder: read_embeddings(folder / "a.npz").load(),
    ),
    "evaluate, queries": (
        "a.npz",
        EMBEDDINGS,
        "labels",
        lambda folder: find_subject(str(folder / "a.npz")),
    ),
    "evaluate, gallery": (
        "b.npz",
        GALLERY,
        "embeddings",
        lambda folder: find_subject(
            saved(folder / "a.npz", EMBEDDINGS), gallery=str(folder / "b.npz")
        ),
    ),
    "evaluate, a run": (
        "gallery.npz",
        GALLERY,
        "embeddings",
        lambda folder: find_subject(str(run_of(folder))),
    ),
    "evaluate, a run's queries": (
        "queries.npz",
        EMBEDDINGS,
        "labels",
        lambda folder: find_subject(str(run_of(folder))),
    ),
    "export, a run": (
        "gallery.npz",
        GALLERY,
        "ids",
        lambda folder: read_run(run_of(folder)),
    ),
    "export, a run's queries": (
        "queries.npz",
        EMBEDDINGS,
        "embeddings",
        lambda folder: read_run(run_of(folder)),
    ),
    "export, a gallery": (
        "a.npz",
        GALLERY,
        "labels",
        lambda folder: read_gallery(folder / "a.npz"),
    ),
    "export, queries": (
        "a.npz",
        EMBEDDINGS,
        "embeddings",
        lambda folder: read_queries(folder / "a.npz"),
    ),
    "export, rows to add": (
        "a.npz",
        EMBEDDINGS,
        "ids",
        lambda folder: list(read_additions(folder / "a.npz").parts()),
    ),
    **{
        f"report, {name}": (
            f"{name}.npz",
            arrays,
            needed,
            lambda folder: read_report(run_of(folder)),
        )
        for name, arrays, needed in (
            ("gallery", GALLERY, "ids"),
            ("queries", EMBEDDINGS, "labels"),
            ("thumbnails", THUMBNAILS, "images"),
            ("query_thumbnails", THUMBNAILS, "ids"),
            ("positives", SETS, "offsets"),
        )
    },
    "serving, pictures": (
        "a.npz",
        THUMBNAILS,
        "images",
        lambda folder: open_thumbnails(folder / "a.npz"),
    ),
    "interop, ids": (
        "index.ids.npz",
        None,
        "ids",
        lambda folder: read_ids(index_of(folder)),
    ),
    "recipes, known images": (
        "data.npz",
        KNOWN,
        "train_contents",
        lambda folder: known_images.check(folder, KNOWN),
    ),
    "recipes, positives": (
        "positives.npz",
        SETS,
        "indices",
        lambda folder: mining_of(folder)._saved_sets(),
    ),
}


def saved(path, arrays):
    if not path.exists():
        np.savez(path, **arrays)
    return str(path)


def written(folder, name, arrays):
    """Writes an archive, and returns the arrays in it."""
    if arrays is None:
        with write_index(folder / "index", IDS, "cosine", 4) as partial:
            pathlib.Path(partial).write_bytes(b"1")
        with np.load(folder / name) as archive:
            return dict(archive)
    np.savez(folder / name, **arrays)
    return arrays


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_archive_is_a_sentence_that_names_it(way, tmp_path):
    name, arrays, needed, read = WAYS[way]
    arrays = written(tmp_path, name, arrays)
    read(tmp_path)  # whole, it is read
    path = tmp_path / name
    whole = path.read_bytes()
    place = whole.index(b"\x93NUMPY", whole.index(f"{needed}.npy".encode())) + 130
    flipped = whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :]
    for content in (whole[: len(whole) // 2], whole[:-1], whole[:10], b"", flipped):
        path.write_bytes(content)
        refused(read, tmp_path, name)
    np.savez_compressed(path, **arrays)
    packed = path.read_bytes()
    place = packed.index(f"{needed}.npy".encode()) + len(needed) + 40
    for bits in (1, 255):
        path.write_bytes(
            packed[:place] + bytes([packed[place] ^ bits]) + packed[place + 1 :]
        )
        refused(read, tmp_path, name)
    np.savez(path, **{**arrays, needed: np.array([{}] * COUNT, object)})
    refused(read, tmp_path, name)
    np.savez(path, **{**arrays, needed: np.array("of another kind")})
    refused(read, tmp_path, name)
    np.savez(path, **{key: arrays[key] for key in arrays if key != needed})
    refused(read, tmp_path, name)
    path.write_bytes(whole)
    read(tmp_path)


def refused(read, folder, name):
    with pytest.raises(ValueError) as error:
        read(folder)
    assert type(error.value) is ValueError  # a sentence of ours, no UnicodeDecodeError
    said = str(error.value)
    assert name in said and re.search(r"[a-z][^.]*\. ?", said), said


def test_digests_that_are_damaged_are_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    names = ["a", "b"]
    for name in names:
        (tmp_path / "images" / name).write_text(name)
    right = file_digests(tmp_path / "images", names)
    (cache,) = (tmp_path / "cache" / "tfembed").iterdir()
    whole = cache.read_bytes()
    for length in range(0, len(whole), 97):
        cache.write_bytes(whole[:length])
        again = file_digests(tmp_path / "images", names)
        np.testing.assert_array_equal(again, right)


def test_archives_are_read_in_one_place():
    allowed = {"formats/npz.py", "backbones/torch_file.py"}  # the other is PyTorch's
    readers = re.compile(r"np\.load\(|BadZipFile|zipfile\.ZipFile\((?!.*\"w\")")
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if readers.search(path.read_text(encoding="utf-8"))
    }
    assert found - {"export/encoder.py"} == allowed  # a model of Keras is a zip, too
