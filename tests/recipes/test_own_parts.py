"""A user's augmentation and callbacks, from a module beside the command."""

import json
import os

import numpy as np
import pytest
from small_runs import run_quietly

from tfembed import load_model
from tfembed.recipes import instdisc, own_parts, supervised

MODULE = """
import tensorflow as tf
from tensorflow import keras

def mirrored(images, seed):
    drawn = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed)
    return tf.where(drawn < 0.5, images[:, :, ::-1], images)

def smaller(images, seed):
    return images[:, 1:]

def unseeded(images, seed):
    return images * tf.random.uniform([])

def broken(images, seed):
    return images / 0.0

number = 3

class Counter(keras.callbacks.Callback):
    epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, sorted(logs)))

made = Counter()

def several():
    return [Counter(), keras.callbacks.TerminateOnNaN()]

def wrong():
    return [3]
"""
SMALL = {
    "dataset": "synthetic",
    "limit": 40,
    "test_limit": 20,
    "image_size": 16,
    "epochs": 2,
    "batch_size": 20,
    "dim": 8,
    "linear_probe": False,
    "nmi": False,
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module of a user's, which can be imported."""
    name = f"own_{os.path.basename(tmp_path)}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_an_augmentation_takes_the_place_of_ours_and_a_resume_ends_the_same(
    own, tmp_path
):
    ours = {**SMALL, "schedule": "constant"}
    flags = {**ours, "augmentation": f"{own}:mirrored"}
    run_quietly(instdisc, tmp_path / "ours", ours)
    run_quietly(instdisc, tmp_path / "one", flags)
    run_quietly(instdisc, tmp_path / "halves", {**flags, "epochs": 1})
    run_quietly(instdisc, tmp_path / "halves", flags)
    weights = {
        name: load_model(tmp_path / name / "model.keras").get_weights()
        for name in ("ours", "one", "halves")
    }
    for one, halves in zip(weights["one"], weights["halves"]):
        np.testing.assert_array_equal(one, halves)
    assert not np.array_equal(weights["one"][0], weights["ours"][0])
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["augmentation"] == f"{own}:mirrored"


def test_callbacks_see_each_epoch_and_not_those_of_the_baseline(own, tmp_path):
    flags = {**SMALL, "callbacks": f"{own}:Counter", "softmax_baseline": True}
    run_quietly(supervised, tmp_path / "run", flags)
    epochs = own_parts.find_named("callbacks", f"{own}:Counter").epochs
    assert [epoch for epoch, _ in epochs] == [0, 1]
    assert all({"loss", "learning_rate"} <= set(names) for _, names in epochs)


def test_instances_classes_and_functions_are_callbacks(own):
    found = own_parts.find_callbacks(f"{own}:made, {own}:Counter,{own}:several")
    kinds = [type(each).__name__ for each in found]
    assert kinds == ["Counter", "Counter", "Counter", "TerminateOnNaN"]
    assert found[0] is own_parts.find_named("callbacks", f"{own}:made")


@pytest.mark.parametrize(
    "name, message",
    [
        ("smaller", r"float32 of shape \(2, 15, 16, 3\) of images of shape"),
        ("unseeded", "other images of the same ones and the same seed"),
        ("broken", "not finite"),
        ("number", "a function of images and a seed.*a int"),
        ("mirorred", "Did you mean .*:mirrored"),
    ],
)
def test_what_is_no_augmentation_is_told(own, name, message):
    with pytest.raises(ValueError, match=message):
        own_parts.find_augmentation(f"{own}:{name}", (16, 16, 3))


def test_what_cannot_be_found_is_told(own, tmp_path):
    with pytest.raises(ValueError, match="no module 'nowhere'.*PYTHONPATH"):
        own_parts.find_named("callbacks", "nowhere.at_all:Thing")
    with pytest.raises(ValueError, match="Keras callbacks.*gives a int"):
        own_parts.find_callbacks(f"{own}:wrong")
    (tmp_path / "needy.py").write_text("import what_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="what_is_not_there"):
        own_parts.find_named("callbacks", "needy:Thing")


@pytest.mark.parametrize("flag", ["augmentation", "callbacks"])
def test_a_name_without_its_module_is_refused_at_once(flag):
    for name in ("mirrored", "a:b:c", ":b", "a:", "a b:c"):
        with pytest.raises(ValueError, match=f"--{flag} takes names of the form"):
            instdisc.Config(**{flag: name})
    with pytest.raises(ValueError, match="takes one module:function"):
        instdisc.Config(augmentation="a:b,c:d")
