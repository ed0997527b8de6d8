"""Small encoders and galleries, run directories made of them, and one export."""

import json

import numpy as np
import pytest
import tensorflow as tf
from shared import written_once
from tensorflow import keras

from tfembed.export import export_model

CLASS_NAMES = ["boot", "bag", "Überzieher"]


def build_encoder(image_shape=(12, 10, 1), dim=16):
    """A network with what must not survive into an export: random layers."""
    inputs = keras.Input(image_shape)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.RandomFlip("horizontal", seed=1)(x)
    x = keras.layers.RandomContrast(0.5, seed=2)(x)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.5, seed=3)(x)
    x = keras.layers.Dense(dim)(x)
    x = keras.layers.UnitNormalization(dtype="float32")(x)
    return keras.Model(inputs, x)


def build_gallery(encoder, size=700, seed=0, **extras):
    """The arrays of a gallery.npz, with repeated rows and unknown labels."""
    rng = np.random.default_rng(seed)
    shape = (size, *encoder.inputs[0].shape[1:])
    images = rng.integers(0, 256, shape).astype(np.float32)
    embeddings = encoder.predict(images, verbose=0).astype(np.float32)
    half = size // 2
    embeddings[half : 2 * half] = embeddings[:half]  # every row twice
    return {
        "embeddings": embeddings,
        "labels": rng.integers(-1, len(CLASS_NAMES), size),
        "ids": np.array([f"train/ü{row:04d}" for row in range(size)]),
        "class_names": np.array(CLASS_NAMES),
        "known_threshold": np.float32(0.5),
        "vote_temperature": np.float32(0.07),
        "vote_k": np.int64(20),
        **extras,
    }


def write_run(folder, encoder, gallery, images=()):
    """Writes a run directory as a recipe leaves it."""
    (folder / "queries").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"recipe": "instdisc"}))
    (folder / "result.json").write_text("{}")
    encoder.save(folder / "model.keras")
    np.savez(folder / "gallery.npz", **gallery)
    for number, image in enumerate(images):
        png = tf.io.encode_png(image).numpy()
        (folder / "queries" / f"boot-{number}.png").write_bytes(png)
    return folder


class Exported:
    """One run and its first version, as `write` leaves them."""

    image_shape = (12, 10, 1)

    def __init__(self, folder):
        self.run_dir, self.base = folder / "run", folder / "base"
        self.path = self.base / "1"
        self.encoder = keras.models.load_model(self.run_dir / "model.keras")
        with np.load(self.run_dir / "gallery.npz") as arrays:
            self.gallery = dict(arrays)
        self.images = self._images()
        self.lines = (folder / "lines.txt").read_text("utf-8").splitlines()

    @classmethod
    def write(cls, folder):
        """Exports with k = 7."""
        keras.utils.set_random_seed(0)
        encoder = build_encoder(cls.image_shape)
        images = cls._images()[:5]
        run_dir = write_run(folder / "run", encoder, build_gallery(encoder), images)
        lines = []
        export_model(run_dir, folder / "base", k=7, report=lines.append)
        (folder / "lines.txt").write_text("\n".join(lines), "utf-8")

    @classmethod
    def _images(cls):
        shape = (17, *cls.image_shape)
        return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)

    def embeddings(self, images):
        """What Python's encoder says, whatever the batch size."""
        if not len(images):
            return np.zeros((0, 16), np.float32)
        return np.asarray(self.encoder(images.astype(np.float32), training=False))

    def png(self, images):
        """The images as PNG files, in an array of bytes."""
        return np.array([tf.io.encode_png(each).numpy() for each in images], object)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A run exported with k = 7, once for all tests."""
    return Exported(written_once(tmp_path_factory, "exported", Exported.write))


@pytest.fixture
def make_encoder():
    """Builds one under the global policy: `make_encoder()`."""
    return build_encoder


@pytest.fixture
def encoder():
    """A freshly built encoder of 12 x 10 gray images."""
    return build_encoder()


@pytest.fixture
def make_run(tmp_path):
    """Writes a run directory: `make_run(encoder, **gallery_extras)`."""

    def make(encoder, images=(), **extras):
        gallery = build_gallery(encoder, **extras)
        return write_run(tmp_path / "run", encoder, gallery, images)

    return make
