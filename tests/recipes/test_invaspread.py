"""Invariant spreading: partners in a batch, one replica and two, both protocols."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from small_runs import ROOT, arguments, run_quietly

from tfembed.recipes import invaspread
from tfembed.recipes.recipe import Recipe

SMALL = {
    "dataset": "synthetic",
    "limit": 96,
    "test_limit": 40,
    "image_size": 16,
    "epochs": 2,
    "batch_size": 16,
    "dim": 8,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on unseen classes, and its result."""
    run_dir = tmp_path_factory.mktemp("runs") / "unseen"
    result = run_quietly(invaspread, run_dir, SMALL, split="unseen")
    return run_dir, result


def test_unseen_classes_are_searched_among_themselves(finished):
    run_dir, result = finished
    assert result["protocol"] == "unseen" and result["test_classes"] == 5
    assert {"R@1", "MAP@R", "NMI"} <= set(result["table"][-1])
    with np.load(run_dir / "gallery.npz") as gallery:
        assert set(gallery["labels"]) == {5, 6, 7, 8, 9}
        assert len(gallery["embeddings"]) == result["test_images"]
    assert not (run_dir / "queries.npz").exists()
    assert json.loads((run_dir / "result.json").read_text()) == result


def test_a_batch_holds_two_views_with_one_number_each(finished):
    """Every number comes twice, and its rows are views of the same image."""
    from tfembed.data import load_images

    class Run:
        data = load_images("synthetic", limit=10, image_size=8)
        config = invaspread.Config(dataset="synthetic", batch_size=4)
        augmentation = None

    class Noisy(Run):
        @staticmethod
        def augmentation(images, seed):
            noise = tf.random.stateless_uniform((), seed)
            return tf.cast(images, tf.float32) + noise

    for run in (Run, Noisy):
        batches = list(invaspread.InvariantSpreading().batches(run, 0, 1))
        assert [len(numbers) for _, numbers in batches] == [8, 8, 4]
        for images, numbers in batches:
            numbers, half = numbers.numpy(), len(numbers) // 2
            np.testing.assert_array_equal(numbers[:half], numbers[half:])
            assert len(set(numbers)) == half
            difference = np.ptp((images[:half] - images[half:]).numpy())
            assert difference < 1e-3  # a constant: the noise of the two views
            same = np.allclose(images[:half], images[half:], atol=1e-5)
            assert same == (run is Run)


@pytest.mark.slow
def test_two_replicas_train_as_one(tmp_path, finished):
    """Partners are found across replicas: the second holds all second views."""
    alone = run_quietly(
        invaspread, tmp_path / "one", SMALL, epochs=1, limit=64, linear_probe=False
    )
    words = arguments(
        tmp_path / "two", SMALL, epochs=1, limit=64, linear_probe=False, replicas=2
    )
    done = subprocess.run(
        [sys.executable, "-m", "tfembed.recipes.invaspread", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = []
    for name in ("one", "two"):
        header, row = (tmp_path / name / "log.csv").read_text().split("\n")[:2]
        losses.append(float(dict(zip(header.split(","), row.split(",")))["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert alone["protocol"] == "seen"
    assert (tmp_path / "one" / "queries.npz").exists()


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"batch_size": 1}, "batch_size"),
        ({"negative_share": 0}, "negative_share"),
        ({"negative_weight": 0.5}, "negative_weight"),
        ({"form": "other"}, "form"),
    ],
)
def test_refused(settings, word):
    with pytest.raises(ValueError, match=word):
        invaspread.Config(**settings)


def test_a_recipe_says_what_it_must_define():
    with pytest.raises(NotImplementedError):
        Recipe().build(None, None)
