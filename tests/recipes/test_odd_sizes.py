"""Recipes on two and three replicas, at sizes that nothing divides."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from small_runs import ROOT, arguments

SIZES = {
    "dataset": "synthetic",
    "limit": 251,
    "test_limit": 53,
    "image_size": 8,
    "dim": 8,
    "epochs": 1,
    "linear_probe": False,
}
# 7 images a replica, the last batch less; a class has 7 images in a batch.
RECIPES = {
    "instdisc": {"num_negatives": 29},
    "invaspread": {},
    "isl": {
        "epochs": 2,
        "first_round_epochs": 1,
        "rounds": 1,
        "candidates": 31,
        "gan_epochs": 1,
        "gan_least_epochs": 1,
        "mining_passes": 1,
        "radius": 0.3,
        "knn_every": 2,
    },
    "supervised": {
        "split": "seen",
        "samples_per_class": 7,
        "steps_per_epoch": 5,
        "softmax_baseline": False,
    },
}
RUN = """
import importlib, json, sys
recipe = importlib.import_module(f"tfembed.recipes.{sys.argv[1]}")
for words in json.loads(sys.argv[2]):
    recipe.main(words)
"""


@pytest.mark.thin(8)
@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("recipe", list(RECIPES))
def test_they_train_as_on_one(recipe, replicas, tmp_path):
    settings = {**SIZES, **RECIPES[recipe], "batch_size": 7 * replicas}
    if recipe == "isl":
        settings["gan_batch_size"] = 5 * replicas
    several = arguments(tmp_path / "several", settings, replicas=replicas)
    one = arguments(tmp_path / "one", settings)
    done = subprocess.run(
        [sys.executable, "-c", RUN, recipe, json.dumps([several, one])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logs = []
    for name in ("several", "one"):
        with open(tmp_path / name / "log.csv") as file:
            logs.append(list(csv.DictReader(file)))
    assert len(logs[0]) == len(logs[1]) == settings["epochs"]
    # Draws are the same; batch statistics of the bank's first fill need not be, nor
    # what a second round mines.
    first = [float(rows[0]["loss"]) for rows in logs]
    np.testing.assert_allclose(*first, rtol=0.02)
    for name, rows in (("gallery.npz", 251), ("queries.npz", 53)):
        with np.load(tmp_path / "several" / name) as saved:
            found = saved["embeddings"]
        assert found.shape == (rows, 8) and np.isfinite(found).all()
