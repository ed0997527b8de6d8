"""Names of other packages' parts: offered beside ours, imported only to be used."""

import json
import sys

import numpy as np
import pytest
from shared import in_a_fresh_process
from small_runs import run_quietly

from tfembed.backbones import BACKBONES, build_backbone, open_encoder
from tfembed.backbones.named import is_backbone
from tfembed.data import SOURCES, load_images, read_embeddings
from tfembed.embed import main as embed_main
from tfembed.recipes import instdisc
from tfembed.recipes.objectives import LOSSES
from tfembed.registry import Registry, is_findable, is_own

PARTS = """
import numpy as np
from tensorflow import keras


@keras.utils.register_keras_serializable(package="theirs")
class Halved(keras.layers.Layer):
    def call(self, images):
        return images / 2.0


def network(image_shape):
    images = keras.Input(image_shape)
    ones = keras.initializers.Constant(0.01)
    features = keras.layers.Conv2D(6, 3, kernel_initializer=ones)(Halved()(images))
    return keras.Model(images, features)


def photos():
    draw = np.random.default_rng(0).integers
    images = draw(0, 256, (60, 16, 16, 3), np.uint8)
    return {"images": images, "labels": np.arange(60) % 3}
"""
OFFERED = """
[tfembed.sources]
their_photos = {module}:photos
synthetic = {module}:photos
folder = {module}:photos
npz:photos = {module}:photos
lost_photos = {module}:photoss

[tfembed.backbones]
their_net = {module}:network
resnet18 = {module}:network
keras_cv = {module}:network
run = {module}:network
"""
SMALL = {
    "dataset": "their_photos",
    "limit": 40,
    "test_limit": 20,
    "image_size": 16,
    "epochs": 1,
    "batch_size": 20,
    "backbone": "their_net",
    "dim": 8,
    "linear_probe": False,
}


@pytest.fixture
def theirs(importable, installed):
    """The module of a package that offers a source and a backbone."""
    module = importable("their_parts", PARTS)
    installed("their-package", OFFERED.format(module=module))
    return module


def test_sources_and_backbones_are_listed_after_ours_without_an_import(theirs):
    assert list(SOURCES)[-2:] == ["lost_photos", "their_photos"]
    assert list(BACKBONES)[-1] == "their_net" and "their_net" in BACKBONES
    assert SOURCES["their_photos"] == f"of another package, {theirs}:photos"
    assert len(dict(BACKBONES)) == len(BACKBONES)
    assert theirs not in sys.modules


def test_ours_and_the_prefixes_in_use_go_before_theirs(theirs):
    assert SOURCES.others().keys() == {"their_photos", "lost_photos"}
    assert BACKBONES.others().keys() == {"their_net"}
    assert BACKBONES["resnet18"] == BACKBONES.parts["resnet18"]
    assert load_images("synthetic").train.size == 2000
    with pytest.raises(ValueError, match="folder:PATH"):
        load_images("folder")
    assert theirs not in sys.modules


@pytest.mark.parametrize("prefix", ["keras", "folder", "tfds", "run", "images"])
def test_a_prefix_in_use_is_no_module(prefix):
    assert not is_own(f"{prefix}:name") and not is_findable(f"{prefix}:name")
    assert f"{prefix}:name" not in LOSSES


def test_a_run_on_their_images_and_network_is_loaded_elsewhere(theirs, tmp_path):
    run = tmp_path / "run"
    assert run_quietly(instdisc, run, SMALL)["table"]
    config = json.loads((run / "config.json").read_text())
    assert config["dataset"] == "their_photos" and config["backbone"] == "their_net"
    # In another process its layers are found by the name of the backbone.
    code = (
        "import sys, numpy as np; from tfembed.backbones import open_encoder;"
        "encoder = open_encoder(sys.argv[1]);"
        "print(encoder(np.zeros((2, 16, 16, 3), np.float32)).shape)"
    )
    done = in_a_fresh_process(["-c", code, run], tmp_path)
    assert "(2, 8)" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("own", [True, False], ids=["own", "installed"])
def test_a_network_that_nobody_trained_here_embeds(theirs, own, tmp_path, capsys):
    name = f"{theirs}:network" if own else "their_net"
    assert is_backbone(name)
    words = [name, "their_photos", str(tmp_path / "rows"), "--image-size", "16"]
    assert embed_main(words) == 0, capsys.readouterr()
    found = read_embeddings(tmp_path / "rows").load()
    pixels = sys.modules[theirs].photos()["images"].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3, 3), (1, 2, 3))
    means = 0.005 * windows.sum(axis=(-3, -2, -1)).mean(axis=(1, 2, 3))
    wanted = np.repeat(means[:, None], 6, axis=1)
    np.testing.assert_allclose(
        np.sort(found.embeddings, 0), np.sort(wanted, 0), rtol=1e-4
    )


def test_what_brings_its_weights_takes_none(theirs):
    with pytest.raises(ValueError, match="brings its own"):
        open_encoder("their_net", "imagenet")
    with pytest.raises(ValueError, match="brings its own"):
        build_backbone(f"{theirs}:network", (16, 16, 3), weights="imagenet")
    with pytest.raises(ValueError, match="`weights` must name"):
        open_encoder("resnet18")


@pytest.mark.parametrize("name", ["their_nett", "thier_net", "resnt50"])
def test_near_misses_of_backbones_are_named(theirs, name):
    guess = "resnet50" if name == "resnt50" else "their_net"
    message = rf"must be one of small_conv, .*their_net.*Did you mean {guess}"
    with pytest.raises(ValueError, match=message):
        build_backbone(name, (16, 16, 3))
    with pytest.raises(ValueError, match=f"`backbone` {message}"):
        instdisc.Config(backbone=name)
    with pytest.raises(ValueError, match=f"Did you mean {guess}"):
        open_encoder(name)
    assert theirs not in sys.modules


def test_near_misses_of_sources_are_named(theirs):
    message = "`name` must be one of .*their_photos.*Did you mean their_photos"
    with pytest.raises(ValueError, match=message):
        load_images("their_photo")
    assert theirs not in sys.modules


def test_what_is_offered_and_is_not_there_is_told(theirs):
    with pytest.raises(ValueError, match=f"Did you mean {theirs}:photos"):
        load_images("lost_photos")


def test_a_name_without_a_part_is_the_module(importable, installed):
    module = importable("whole", "number = 3")
    installed("whole-package", f"[tfembed.things]\nwhole = {module}\n")
    assert Registry("thing", "tfembed.things", {})["whole"].number == 3
    with pytest.raises(KeyError):
        Registry("thing", "tfembed.things", {})["hole"]


@pytest.mark.parametrize(
    "module, words",
    [
        ("tfembed.recipes.instdisc", ("their_photos", "their_net")),
        ("tfembed.embed", ("their_photos",)),
        ("tfembed.evaluate", ("their_photos",)),
        ("tfembed.publish", ("their_photos",)),
    ],
)
def test_help_lists_them_and_imports_nothing(theirs, tmp_path, module, words):
    done = in_a_fresh_process(["-X", "importtime", "-m", module, "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in words)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tfembed.registry" in imported
    assert not imported & {"tensorflow", theirs}
