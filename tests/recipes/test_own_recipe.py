"""A recipe that another package brings: flags, run directory, resume, report."""

import importlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from small_runs import ROOT, arguments

import tfembed
from tfembed.recipes.__main__ import main as list_recipes
from tfembed.report.__main__ import main as report

RECIPE = '''
"""Two views of each image, by the normalised temperature-scaled cross entropy.

Of another package than tfembed.
"""

import dataclasses

from tfembed.recipes import Networks, Recipe, Settings, build_encoder, option
from tfembed.recipes import run_recipe


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of a run; every field is a flag."""

    temperature: float = option(0.5, "divides the similarities")


class Contrast(Recipe):
    name, Config, views = "contrast", Config, 2

    def build(self, config, data):
        from tensorflow import keras

        from tfembed.losses import NTXent

        built = build_encoder(config, tuple(data.image_shape))
        encoder, features = built.models()
        model = keras.Model(built.images, built.embeddings)
        loss = NTXent(temperature=config.temperature)
        return Networks(model, encoder, features, loss=loss, backbone=built.backbone)

    def batches(self, run, first_epoch, last_epoch):
        import tensorflow as tf

        def example(batch):
            rows = tf.shape(batch["ids"])[0] // self.views
            return batch["images"], tf.tile(tf.range(rows), [self.views])

        return super().batches(run, first_epoch, last_epoch).map(example)


def main(argv=None):
    return run_recipe(Contrast(), argv)


if __name__ == "__main__":
    main()
'''
SMALL = {
    "dataset": "synthetic",
    "limit": 40,
    "test_limit": 20,
    "image_size": 16,
    "batch_size": 20,
    "dim": 8,
    "schedule": "constant",
    "linear_probe": False,
}


@pytest.fixture
def recipe(importable):
    """The module's name, and the module."""
    name = importable("contrast", RECIPE)
    return name, importlib.import_module(name)


def test_it_trains_goes_on_and_is_reported(recipe, tmp_path):
    name, module = recipe
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    result = module.main(arguments(whole, SMALL, epochs=2, temperature=0.3))
    module.main(arguments(halves, SMALL, epochs=1, temperature=0.3))
    module.main(arguments(halves, SMALL, epochs=2, temperature=0.3))
    one, other = (
        tfembed.load_model(run / "model.keras").get_weights() for run in (whole, halves)
    )
    assert all(np.array_equal(*both) for both in zip(one, other))
    config = json.loads((whole / "config.json").read_text())
    assert config["recipe"] == "contrast" and config["temperature"] == 0.3
    page = tmp_path / "report.html"
    words = [str(whole), str(halves), "--output", str(page)]
    assert result["table"] and report(words) == 0
    assert "contrast" in page.read_text(encoding="utf-8")


def test_its_flags_are_told_before_tensorflow_starts(recipe, tmp_path):
    name, _ = recipe
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    for words, status, said in (
        (["--help"], 0, ("Of another package", "--temperature", f"python -m {name}")),
        (["--temprature", "1"], 2, ("Did you mean --temperature",)),
    ):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", name, *words],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == status
        assert all(each in done.stdout + done.stderr for each in said)
        assert not any(line.endswith(" tensorflow") for line in done.stderr.split("\n"))


def test_it_is_listed_without_being_imported(importable, installed, capsys):
    importable("contrast", RECIPE)
    text = "[tfembed.recipes]\ncontrast = never_imported.contrast\n"
    installed("their-recipes", text)
    list_recipes()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == [
        *("python", "-m", "never_imported.contrast", "contrast,", "of"),
        *("another", "package"),
    ]
    assert any("tfembed.recipes.instdisc" in line for line in lines)
