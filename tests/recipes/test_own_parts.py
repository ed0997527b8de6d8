"""A user's augmentation, callbacks, losses and miners, from a module of their own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from small_runs import ROOT, run_quietly
from tensorflow import keras

from tfembed import load_model
from tfembed.backbones import build_backbone
from tfembed.data import load_images, read_embeddings
from tfembed.embed import main as embed_main
from tfembed.evaluate.__main__ import main as evaluate_main
from tfembed.losses import Contrastive
from tfembed.miners import HardMiner
from tfembed.recipes import instdisc, own_parts, supervised
from tfembed.recipes.objectives import LOSSES, build_objective
from tfembed.registry import find_named

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
def own(importable):
    """The name of a module of a user's, which can be imported."""
    return importable("own", MODULE)


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


def test_the_fast_augmentation_trains_on_the_same_images_and_resumes(tmp_path):
    ours = {**SMALL, "schedule": "constant"}
    flags = {**ours, "augmentation": "fast"}
    run_quietly(instdisc, tmp_path / "ours", ours)
    run_quietly(instdisc, tmp_path / "one", flags)
    run_quietly(instdisc, tmp_path / "halves", {**flags, "epochs": 1})
    run_quietly(instdisc, tmp_path / "halves", flags)
    losses = {
        name: np.genfromtxt(tmp_path / name / "log.csv", delimiter=",", names=True)
        for name in ("ours", "one", "halves")
    }
    weights = {
        name: load_model(tmp_path / name / "model.keras").get_weights()
        for name in ("one", "halves")
    }
    for one, halves in zip(weights["one"], weights["halves"]):
        np.testing.assert_array_equal(one, halves)
    np.testing.assert_allclose(losses["one"]["loss"], losses["ours"]["loss"], rtol=0.02)
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["augmentation"] == "fast"


def test_callbacks_see_each_epoch_and_not_those_of_the_baseline(own, tmp_path):
    flags = {**SMALL, "callbacks": f"{own}:Counter", "softmax_baseline": True}
    run_quietly(supervised, tmp_path / "run", flags)
    epochs = find_named("callbacks", f"{own}:Counter").epochs
    assert [epoch for epoch, _ in epochs] == [0, 1]
    assert all({"loss", "learning_rate"} <= set(names) for _, names in epochs)


def test_instances_classes_and_functions_are_callbacks(own):
    found = own_parts.find_callbacks(f"{own}:made, {own}:Counter,{own}:several")
    kinds = [type(each).__name__ for each in found]
    assert kinds == ["Counter", "Counter", "Counter", "TerminateOnNaN"]
    assert found[0] is find_named("callbacks", f"{own}:made")


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
        find_named("callbacks", "nowhere.at_all:Thing")
    with pytest.raises(ValueError, match="Keras callbacks.*gives a int"):
        own_parts.find_callbacks(f"{own}:wrong")
    (tmp_path / "needy.py").write_text("import what_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="what_is_not_there"):
        find_named("callbacks", "needy:Thing")


@pytest.mark.parametrize("flag", ["augmentation", "callbacks"])
def test_a_name_without_its_module_is_refused_at_once(flag):
    for name in ("mirrored", "a:b:c", ":b", "a:", "a b:c"):
        with pytest.raises(ValueError, match=f"--{flag} takes names of the form"):
            instdisc.Config(**{flag: name})
    with pytest.raises(ValueError, match="takes one module:function"):
        instdisc.Config(augmentation="a:b,c:d")


PARTS = """
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tfembed.losses import Contrastive
from tfembed.miners import HardMiner


class Contrast(keras.losses.Loss):
    '''Of a pair of classes: as far apart as a batch's rows are.'''

    def __init__(self, weight=1.0, name="contrast"):
        super().__init__(name=name)
        self.weight = weight

    def call(self, labels, embeddings):
        labels = tf.reshape(labels, [-1, 1])
        other = tf.cast(labels != tf.transpose(labels), embeddings.dtype)
        cosines = tf.matmul(embeddings, embeddings, transpose_b=True)
        return self.weight * tf.reduce_mean((2 * other - 1) * cosines, axis=1)


class OnProxies(keras.losses.Loss):
    def call(self, labels, similarities):
        return keras.losses.sparse_categorical_crossentropy(
            tf.reshape(labels, [-1]), 9.0 * similarities, from_logits=True
        )


class Endpoint(keras.layers.Layer):
    def call(self, inputs):
        embeddings, labels = inputs
        self.add_loss(tf.reduce_mean(tf.square(embeddings[:, 0])))
        return embeddings


class Mine(HardMiner):
    pass


hard = HardMiner()
number = 3


@keras.utils.register_keras_serializable(package="mine")
class Scaled(keras.layers.Layer):
    def call(self, images):
        return images / 255.0


def network(image_shape):
    images = keras.Input(image_shape)
    return keras.Model(images, keras.layers.Conv2D(6, 3)(Scaled()(images)))


def nothing(image_shape):
    return None


def photos():
    draw = np.random.default_rng(0).integers
    images = draw(0, 256, (60, 16, 16, 3), np.uint8)
    return {"images": images, "labels": np.arange(60) % 3}


def wrong_photos():
    return {"pictures": np.zeros(3)}
"""


@pytest.fixture
def parts(importable):
    """The name of a module of parts of a recipe."""
    return importable("parts", PARTS)


def objective_of(**settings):
    labels = keras.Input((), dtype="int64", name="labels")
    config = supervised.Config(**settings)
    return build_objective(config, keras.Input((4,)), labels, 3)


def test_a_loss_of_ones_own_trains_goes_on_and_is_evaluated(parts, tmp_path, capsys):
    flags = {**SMALL, "loss": f"{parts}:Contrast", "loss_options": "weight=2.0"}
    flags["schedule"] = "constant"
    run_quietly(supervised, tmp_path / "one", flags)
    run_quietly(supervised, tmp_path / "halves", {**flags, "epochs": 1})
    run_quietly(supervised, tmp_path / "halves", flags)
    one, halves = (
        load_model(tmp_path / name / "model.keras").get_weights()
        for name in ("one", "halves")
    )
    assert all(np.array_equal(*both) for both in zip(one, halves))
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["loss"] == f"{parts}:Contrast"
    words = ["--knn", "1", "--ks", "1", "--resamples", "10"]
    assert evaluate_main([str(tmp_path / "one"), *words]) == 0, capsys.readouterr()


def test_a_backbone_of_ones_own_is_imported_when_its_run_is_loaded(parts, tmp_path):
    flags = {**SMALL, "epochs": 1, "backbone": f"{parts}:network", "pool": "max"}
    run_quietly(instdisc, tmp_path / "run", flags)
    code = (
        "import sys, numpy as np; from tfembed.backbones import open_encoder;"
        "encoder = open_encoder(sys.argv[1]);"
        "print(encoder(np.zeros((2, *encoder.image_shape), np.float32)).shape)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    for path, words in (("", "there is no module 'parts_"), (tmp_path, "(2, 8)")):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert words in done.stdout + done.stderr


def test_images_of_ones_own_are_trained_on_and_embedded(parts, tmp_path, capsys):
    flags = {**SMALL, "epochs": 1, "limit": "none", "dataset": f"{parts}:photos"}
    result = run_quietly(instdisc, tmp_path / "run", flags)
    assert result["table"]
    words = [str(tmp_path / "run"), f"{parts}:photos", str(tmp_path / "rows")]
    assert embed_main(words) == 0
    found = read_embeddings(tmp_path / "rows").load()
    assert len(found.embeddings) == 60 and set(found.labels) == {0, 1, 2}
    assert found.ids[0].startswith("photos")


@pytest.mark.parametrize(
    "name, message",
    [
        ("{parts}:wrong_photos", "must be images .*with the keys .*pictures"),
        ("{parts}:number", "a dictionary of arrays.*which is a int"),
        ("{parts}:nothing", "nothing"),
        ("fodler:photos", "Did you mean folder:PATH"),
        ("no.such_module:photos", "no module 'no'"),
    ],
)
def test_what_is_no_source_is_told(name, message, parts):
    with pytest.raises((ValueError, TypeError), match=message):
        load_images(name.format(parts=parts))


@pytest.mark.parametrize(
    "name, message",
    [
        ("nothing", "returns a NoneType"),
        ("number", "which is a int"),
        ("Contrast", "returns a Contrast"),
        ("netwrk", "Did you mean .*:network"),
    ],
)
def test_what_is_no_backbone_is_told(name, message, parts):
    with pytest.raises(ValueError, match=message):
        build_backbone(f"{parts}:{name}", (16, 16, 3))
    with pytest.raises(ValueError, match="module:function, brings its own"):
        build_backbone(f"{parts}:network", (16, 16, 3), weights="imagenet")


def test_losses_and_miners_of_ones_own_are_what_they_are_classes_of(parts):
    found = objective_of(loss=f"{parts}:Contrast", loss_options="weight=3.0")
    assert found.loss.weight == 3.0 and not found.labelled
    found = objective_of(loss=f"{parts}:OnProxies", per_class=1)
    assert found.outputs.shape[1] == 3 and not found.labelled
    found = objective_of(loss=f"{parts}:Endpoint")
    assert found.loss is None and found.labelled
    for name in ("Mine", "hard"):
        found = objective_of(loss="contrastive", miner=f"{parts}:{name}")
        assert isinstance(found.loss.miner, HardMiner)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"loss": "{parts}:number"}, "must name a class.*'parts_.*:number', a int"),
        ({"loss": "{parts}:Contrst"}, "Did you mean parts_.*:Contrast"),
        ({"loss": "nowhere.at_all:Loss"}, "no module 'nowhere'"),
        ({"loss": "{parts}:Contrast", "loss_options": "wieght=1"}, "mean weight"),
        ({"loss": "contrastiv"}, "`loss` must be one of .*Did you mean contrastive"),
        ({"loss": "no/path.py:Loss"}, "`loss` must be one of"),
        ({"loss": "contrastive", "miner": "hrd"}, "Did you mean hard"),
        ({"loss": "{parts}:Contrast", "miner": "hard"}, "takes no miner"),
        ({"loss": "{parts}:OnProxies", "per_class": 2}, "one proxy a class"),
    ],
)
def test_what_is_no_loss_is_told(settings, message, parts):
    settings = {key: str(value).format(parts=parts) for key, value in settings.items()}
    settings.update({"per_class": 2} if "per_class" in settings else {})
    with pytest.raises(ValueError, match=message):
        objective_of(**settings)


def test_installed_packages_offer_losses_by_name(parts, installed):
    offered = f"[tfembed.losses]\ntheirs = {parts}:Contrast\ncontrastive = {parts}:no\n"
    installed("their-losses", offered)
    assert "theirs" in LOSSES and list(LOSSES)[-1] == "theirs"
    assert parts not in sys.modules  # to be listed, it is not imported
    assert objective_of(loss="theirs").loss.name == "contrast"
    assert type(objective_of(loss="contrastive").loss) is Contrastive  # the package's
    with pytest.raises(ValueError, match="Did you mean theirs"):
        supervised.Config(loss="their")
