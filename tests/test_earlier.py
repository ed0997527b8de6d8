"""Runs and exports that an earlier version wrote load, answer, are updated, go on.

`tests/earlier` has a run directory and an export for each stack, and is kept as it is:
what `RUN` and `python -m tfembed.export model run models --k 3` wrote.
"""

import json
import pathlib
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from tfembed import compat, load_model
from tfembed.data import load_images
from tfembed.export import read_served_gallery, update_gallery
from tfembed.recipes import instdisc

EARLIER = pathlib.Path(__file__).with_name("earlier")
STACK = "current" if compat.KERAS_3 else "addons"
RUN = (
    "--backbone=tiny_backbone:tiny --dataset=synthetic --limit=60 --test-limit=20 "
    "--image-size=8 --epochs=1 --batch-size=20 --dim=8 --no-linear-probe --no-nmi"
)


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """The folder with `run` and `models`, as they were written."""
    monkeypatch.syspath_prepend(str(EARLIER))
    with tarfile.open(EARLIER / f"{STACK}.tar.xz") as archive:
        archive.extractall(tmp_path / "earlier", filter="data")
    yield tmp_path / "earlier"
    sys.modules.pop("tiny_backbone", None)


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_a_run_loads_and_embeds_as_it_did(earlier):
    encoder = load_model(earlier / "run" / "model.keras")
    test = load_images("synthetic", limit=60, test_limit=20, image_size=8).test
    queries = arrays(earlier / "run" / "queries.npz")
    embeddings = encoder(test.read(np.arange(20)))
    np.testing.assert_allclose(embeddings, queries["embeddings"], atol=1e-5)


def test_a_run_goes_on(earlier):
    before = (earlier / "run" / "log.csv").read_text().splitlines()
    words = ["--run-dir", str(earlier / "run"), *RUN.split(), "--epochs=2"]
    result = instdisc.main(words)
    assert result["epochs"] == 2 and result["seconds_are_of"] == "epochs 2 to 2"
    after = (earlier / "run" / "log.csv").read_text().splitlines()
    assert len(before) == 2 and after[:2] == before and len(after) == 3


def test_an_export_answers_as_it_did_and_takes_a_new_gallery(earlier):
    queries, gallery = (
        arrays(earlier / "run" / f"{name}.npz") for name in ("queries", "gallery")
    )
    check_answers(earlier / "models" / "1", queries, gallery)
    served = read_served_gallery(earlier / "models")
    np.testing.assert_array_equal(served.embeddings, gallery["embeddings"])
    new = {
        "embeddings": queries["embeddings"][:2],
        "ids": np.array(["new-0", "new-1"]),
        "labels": queries["labels"][:2],
    }
    np.savez(earlier / "new.npz", **new, class_names=gallery["class_names"])
    gone = str(served.ids[5])
    path = update_gallery(
        earlier / "models", add=earlier / "new.npz", delete=[gone], report=None
    )
    assert path.name == "2"
    kept = served.ids != gone
    grown = {
        "embeddings": np.concatenate([gallery["embeddings"][kept], new["embeddings"]]),
        "ids": np.concatenate([served.ids[kept], new["ids"]]),
    }
    check_answers(path, queries, grown)
    card = json.loads((path / "card.json").read_text())
    assert card["gallery"]["size"] == 61


def check_answers(version, queries, gallery):
    """Holds a version's search against brute force in float64."""
    loaded = tf.saved_model.load(str(version))
    rows = tf.constant(queries["embeddings"])
    found = loaded.signatures["search"](embeddings=rows)
    scores = np.float64(queries["embeddings"]) @ np.float64(gallery["embeddings"]).T
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    expected = np.take_along_axis(scores, nearest, 1)
    np.testing.assert_allclose(found["scores"], expected, atol=1e-6)
    ids = np.asarray(gallery["ids"]).astype(str)
    clear = np.diff(np.sort(scores, 1)[:, -4:], axis=1).min(1) > 1e-5
    names = np.char.decode(found["ids"].numpy().astype(bytes), "utf-8")
    assert clear.any()
    np.testing.assert_array_equal(names[clear], ids[nearest][clear])
