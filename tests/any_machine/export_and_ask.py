"""Exports a convolutional encoder, asks the export, and writes what it said.

    PYTHONPATH=.:tests python tests/any_machine/export_and_ask.py FOLDER

With what is set in the environment, `ONEDNN_MAX_CPU_ISA` for one.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tfembed.export import export
from tfembed.layers import InstanceSoftmax

SHAPE = (16, 16, 3)


def encoder():
    """Convolutions with what oneDNN fuses to them, and depthwise ones."""
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 64, offset=-2)(images)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(8, 3, use_bias=False)(x)
    x = keras.layers.BatchNormalization(
        beta_initializer="glorot_uniform", moving_variance_initializer="ones"
    )(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.DepthwiseConv2D(3, activation="relu")(x)
    x = keras.layers.Conv2D(8, 1)(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(8)(x)
    return keras.Model(images, keras.layers.UnitNormalization(dtype="float32")(x))


def main(folder):
    """Exports, which checks the answers in other processes; asks once more."""
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    images = patches.repeat(4, axis=1).repeat(4, axis=2)
    network = encoder()
    embeddings = np.asarray(network(images[:32].astype(np.float32), training=False))
    gallery = {
        "embeddings": embeddings,
        "labels": np.arange(32) % 4,
        "ids": np.array([f"image {row}" for row in range(32)]),
        "class_names": np.array(["a", "b", "c", "d"]),
    }
    samples = [tf.io.encode_png(image).numpy() for image in images[32:]]
    version = export(network, gallery, folder, samples=samples, k=3)
    model = tf.saved_model.load(str(version))
    asked = images.astype(np.float32)
    answer = model.signatures["search_images"](tf.constant(asked))
    none = model.signatures["search_images"](tf.constant(asked[:0]))
    assert all(value.shape[0] == 0 for value in none.values()), none
    layer = InstanceSoftmax(9, seed=0)
    layer.build([(None, 4), (None,)])
    loss = tf.function(
        lambda rows, ids: (layer([rows, ids], training=True), tf.add_n(layer.losses)),
        input_signature=[tf.TensorSpec((None, 4)), tf.TensorSpec((None,), tf.int64)],
    )
    assert float(loss(tf.zeros((0, 4)), tf.zeros((0,), tf.int64))[1]) == 0
    np.savez(
        Path(folder, "said.npz"),
        embeddings=model.signatures["embed"](tf.constant(asked))["embeddings"],
        scores=answer["scores"],
        loss=loss(tf.eye(4), tf.range(4, dtype=tf.int64))[1],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
