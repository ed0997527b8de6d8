"""The whole way: a run directory, its export, the local server, the client."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.export import export_model
from tfembed.serving import Client, LocalServer

SHAPE, SIZE, K = (9, 8, 1), 300, 6
NAMES = np.array(["Ankle boot", "T-shirt/top", "Überzieher"])


@pytest.fixture(scope="module")
def encoder():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(6, 3, activation="relu")(x)
    x = keras.layers.Dense(12)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.UnitNormalization(dtype="float32")(x))


@pytest.fixture(scope="module")
def gallery(encoder):
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (SIZE, *SHAPE)).astype(np.float32)
    embeddings = encoder.predict(images, verbose=0)
    others = draw.integers(0, 256, (31, *SHAPE)).astype(np.float32)
    nearest = (encoder.predict(others, verbose=0) @ embeddings.T).max(axis=1)
    return {
        "embeddings": embeddings,
        "labels": draw.integers(0, len(NAMES), SIZE),
        "ids": np.array([f"set/train/{row:05d}" for row in range(SIZE)]),
        "class_names": NAMES,
        "known_threshold": np.median(nearest),
        "vote_temperature": np.float32(0.1),
        "vote_k": np.int64(20),
    }


@pytest.fixture(scope="module")
def served(encoder, gallery, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    encoder.save(folder / "model.keras")
    np.savez(folder / "gallery.npz", **gallery)
    base = folder / "models"
    export_model(folder, base, k=K, report=None)
    with LocalServer(base, name="shoes", port=0, rest_port=0) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_served_answer_is_brute_force(served, encoder, gallery, protocol, rng):
    images = rng.integers(0, 256, (40, *SHAPE), np.uint8)
    embeddings = encoder.predict(images.astype(np.float32), verbose=0)
    scores = embeddings.astype(np.float64) @ gallery["embeddings"].T.astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")
    weights = np.exp(np.take_along_axis(scores, order[:, :20], 1) / 0.1)
    votes = np.zeros([len(images), len(NAMES)])
    for label in range(len(NAMES)):
        chosen = gallery["labels"][order[:, :20]] == label
        votes[:, label] = np.where(chosen, weights, 0).sum(1) / weights.sum(1)
    address = served.grpc_address if protocol == "grpc" else served.rest_address
    png = [tf.io.encode_png(image).numpy() for image in images]
    with Client(address, name="shoes") as client:
        for given in (images, png):
            result = client.search(given)
            found = np.sort(scores, axis=1)[:, ::-1][:, :K]
            np.testing.assert_allclose(result.scores, found, atol=1e-5)
            rows = np.array([[int(name[-5:]) for name in ids] for ids in result.ids])
            own = np.take_along_axis(scores, rows, 1)
            np.testing.assert_allclose(own, found, atol=1e-5)
            assert (result.labels == NAMES[gallery["labels"][rows]]).all()
            assert result.vote.tolist() == NAMES[votes.argmax(1)].tolist()
            np.testing.assert_allclose(result.vote_probability, votes.max(1), atol=1e-4)
            assert set(result.known) == {True, False}
            known = found[:, 0] >= gallery["known_threshold"]
            assert result.known.tolist() == known.tolist()
            assert result.valid.all()
            embedded = client.embed(given)
            np.testing.assert_allclose(embedded.embeddings, embeddings, atol=1e-5)
        mixed = client.search([png[0], b"junk", png[1]])
        assert mixed.valid.tolist() == [True, False, True]
        expected = client.search(png[:2])
        assert mixed.ids[[0, 2]].tolist() == expected.ids.tolist()
