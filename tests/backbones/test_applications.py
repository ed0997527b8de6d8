"""Keras' own networks: its features, its files, its cache, its hashes; no network."""

import hashlib
import http.server
import inspect
import os
import re
import threading

import numpy as np
import pytest
from peers.torch_weights import draw_images
from tensorflow import keras

from tfembed.backbones import BACKBONES, applications, build_backbone, find_weights
from tfembed.backbones.applications import APPLICATIONS

MODULES = {
    "ResNet": "resnet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3": "mobilenet_v3",
    "EfficientNetV2": "efficientnet_v2",
    "ConvNeXt": "convnext",
    "DenseNet": "densenet",
}


def module_of(name):
    """Returns Keras' module of a network, with its `preprocess_input`."""
    (found,) = [each for prefix, each in MODULES.items() if name.startswith(prefix)]
    return getattr(keras.applications, found)


def source_of(name):
    constructor = getattr(keras.applications, name)
    return inspect.getsource(inspect.getmodule(inspect.unwrap(constructor)))


def write_h5(model, path):
    """Writes weights as Keras' ImageNet files hold them, which Keras 3 only reads."""
    import h5py

    layers = [layer for layer in model.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for layer in layers:
            group = file.create_group(layer.name)
            weights = layer.trainable_weights + layer.non_trainable_weights
            names = [f"{layer.name}/{n}:0" for n in range(len(weights))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights):
                group[name] = np.asarray(weight)


def jolted(model, seed=0):
    """Moves every weight of a model, so that no initial constant hides a mistake."""
    rng = np.random.default_rng(seed)
    weights = []
    for value in model.get_weights():
        noise = rng.standard_normal(value.shape)
        if value.ndim == 1:  # scales and variances stay positive
            weights.append(value + 0.1 * np.abs(noise))
        else:
            weights.append(value * (1 + 0.2 * noise))
    model.set_weights(weights)
    return model


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV3Small",
        pytest.param("MobileNetV2", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2S", marks=pytest.mark.slow),
        pytest.param("DenseNet121", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
        pytest.param("ResNet50", marks=pytest.mark.slow),
    ],
)
def test_the_features_are_keras(name, tmp_path):
    """The file that Keras writes gives the features that Keras gives, 0..255 in."""
    official = jolted(
        getattr(keras.applications, name)(
            include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
        )
    )
    path = tmp_path / "given.h5"
    write_h5(official, path)
    model = build_backbone(f"applications:{name}", (64, 64, 3), weights=path)
    images = draw_images(1, (2, 64, 64, 3))
    expected = official(module_of(name).preprocess_input(images.copy()), training=False)
    scale = np.abs(expected).max()
    assert np.std(expected) > 0
    np.testing.assert_allclose(model(images), expected, atol=1e-4 * scale)


def test_names_addresses_and_hashes_are_those_of_the_installed_keras():
    for name, application in APPLICATIONS.items():
        source = source_of(name)
        assert f"/{application.folder}/" in source
        parts = re.split(r"(?<=_)1\.0_224_|_notop|_no_top", application.file)
        assert parts[0].split("_weights")[0][:7] in source
        if application.hash:
            assert application.hash in source, name
        else:
            assert not re.search(r"\b[0-9a-f]{32}\b", source), name
        assert f"applications:{name}" in BACKBONES


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on loopback for what the tests write; the cache is empty."""
    files, asked = tmp_path / "files", []
    files.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(files))

        def do_GET(self):
            asked.append(self.path)
            if (files / "cut").exists():  # says more than it sends
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"abc")
                return
            super().do_GET()

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setattr(
        applications, "SERVER", f"http://127.0.0.1:{running.server_port}"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    yield files, asked, tmp_path / "home" / ".keras" / "models"
    running.shutdown()
    running.server_close()


def publish(files, name, content, monkeypatch, hashed="md5"):
    """Puts a file on the server, and its hash where Keras' stands."""
    application = APPLICATIONS[name]
    digest = hashed and hashlib.new(hashed, content).hexdigest()
    application = application._replace(hash=digest)
    monkeypatch.setitem(APPLICATIONS, name, application)
    folder = files / application.folder
    folder.mkdir(exist_ok=True)
    (folder / application.file).write_bytes(content)
    return application


@pytest.mark.parametrize("hashed", ["md5", "sha256", None])
def test_downloads_once_with_progress(hashed, server, monkeypatch):
    files, asked, cache = server
    application = publish(files, "ResNet50", b"weights", monkeypatch, hashed)
    said = []
    found = find_weights("applications:ResNet50", "imagenet", said.append)
    assert said == [f"downloading {application.file}, 0.0 MB"]
    assert found.path == str(cache / application.file)
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert found.source.endswith(f"/resnet/{application.file}")
    kind = {"md5": "MD5", "sha256": "SHA-256", None: "unverified"}[hashed]
    assert found.checked.startswith(kind)
    assert find_weights("applications:ResNet50", "imagenet", said.append) == found
    assert len(asked) == len(said) == 1
    assert sorted(os.listdir(cache)) == [application.file]


def test_keras_home_comes_first_and_the_default_is_looked_into(server, monkeypatch):
    files, asked, cache = server
    application = publish(files, "ResNet50", b"weights", monkeypatch)
    home = cache.parents[1] / "elsewhere"
    monkeypatch.setenv("KERAS_HOME", str(home))
    found = find_weights("applications:ResNet50", "imagenet", print)
    assert found.path == str(home / "models" / application.file)
    cache.mkdir(parents=True)
    os.rename(found.path, cache / application.file)
    found = find_weights("applications:ResNet50", "imagenet", print)
    assert found.path == str(cache / application.file)
    assert len(asked) == 1


def test_a_broken_file_in_the_cache_is_downloaded_again(server, monkeypatch):
    files, asked, cache = server
    application = publish(files, "ResNet50", b"weights", monkeypatch)
    cache.mkdir(parents=True)
    (cache / application.file).write_bytes(b"half")
    found = find_weights("applications:ResNet50", "imagenet", print)
    assert (cache / application.file).read_bytes() == b"weights"
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("another", "does not have the hash"),
        ("missing", "the server says 404"),
        ("cut", "the download ended after 3 of 1,000 bytes"),
        ("down", "refused"),
    ],
)
def test_a_download_that_fails_says_what_to_do(change, reason, server, monkeypatch):
    files, _, cache = server
    application = publish(files, "ResNet50", b"weights", monkeypatch)
    if change == "another":
        (files / "resnet" / application.file).write_bytes(b"weightz")
    elif change == "missing":
        (files / "resnet" / application.file).unlink()
    elif change == "cut":
        (files / "cut").touch()
    else:
        monkeypatch.setattr(applications, "SERVER", "http://127.0.0.1:9")
    cache.mkdir(parents=True)
    for there in ("none in", "another file of that name in"):
        with pytest.raises(ValueError, match=reason) as caught:
            find_weights("applications:ResNet50", "imagenet", print)
        told = str(caught.value)
        assert application.file in told
        assert f"MD5 is {application.hash}" in told
        assert there in told
        assert f"put it into {cache}" in told
        assert "\n" not in told
        left = [name for name in os.listdir(cache) if name != application.file]
        assert not left
        (cache / application.file).write_bytes(b"half")


def test_from_the_server_into_the_network(server, monkeypatch, tmp_path):
    files, _, _ = server
    official = jolted(
        keras.applications.MobileNetV3Small(
            include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
        )
    )
    path = tmp_path / "written.h5"
    write_h5(official, path)
    publish(files, "MobileNetV3Small", path.read_bytes(), monkeypatch)
    model = build_backbone(
        "applications:MobileNetV3Small",
        (32, 32, 1),
        synchronized=True,
        weights="imagenet",
    )
    norms = [x for x in model._flatten_layers() if "BatchNorm" in type(x).__name__]
    assert norms and all(norm.synchronized for norm in norms)
    images = draw_images(1, (2, 32, 32, 1))
    expected = official(np.repeat(images, 3, axis=3), training=False)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model(images), expected, atol=1e-4 * scale)
    other = files / "other.h5"
    write_h5(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), other)
    with pytest.raises(ValueError, match="other.h5.*MobileNetV3Small.*include_top"):
        build_backbone("applications:MobileNetV3Small", (32, 32, 3), weights=other)


def test_too_small_an_image_is_named():
    with pytest.raises(ValueError, match="32 or more.*Received"):
        build_backbone("applications:ResNet50", (28, 28, 3))


def test_keras_cvs_presets(tmp_path, monkeypatch):
    pytest.importorskip("keras_cv")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="Received: keras_cv:resnet18"):
        find_weights("keras_cv:resnet18", "imagenet")
    with pytest.raises(ValueError, match="model.weights.h5.*put it into") as caught:
        find_weights("keras_cv:resnet50_v2", "imagenet")
    folder = tmp_path / "models" / "keras/resnetv2/keras/resnet50_v2_imagenet/2"
    assert str(folder) in str(caught.value)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.weights.h5").write_bytes(b"abc")
    found = find_weights("keras_cv:resnet50_v2", "imagenet")
    assert found.path == str(folder / "model.weights.h5")
    assert found.checked == "unverified"


@pytest.mark.slow
def test_a_file_of_keras_cv_gives_its_features(tmp_path):
    keras_cv = pytest.importorskip("keras_cv")
    official = jolted(
        keras_cv.models.DenseNetBackbone(
            stackwise_num_repeats=[6, 12, 24, 16],
            include_rescaling=True,
            input_shape=(32, 32, 3),
        )
    )
    path = tmp_path / "mine.weights.h5"
    official.save_weights(path)
    model = build_backbone(
        "keras_cv:densenet121", (32, 32, 1), synchronized=True, weights=path
    )
    images = draw_images(1, (2, 32, 32, 1))
    expected = np.mean(official(np.repeat(images, 3, axis=3)), axis=(1, 2))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model(images), expected, atol=1e-4 * scale)
