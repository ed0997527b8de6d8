"""A small export of an encoder that takes images of any size, and its brute force."""

import shutil

import numpy as np
import tensorflow as tf
from shared import without_lines
from tensorflow import keras

from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import load_head
from tfembed.export.run_directory import make_gallery
from tfembed.export.search_model import SearchModel

SHAPE, DIM, SIZE, K = (2, 4, 1), 8, 300, 6
NAMES = np.array(["red", "blau\\grün", "two\nlines"])
ODD = ["a\nb", "\\", "\\n", "\n\\", "\\\\n", "\n", "C:\\new\\b", "x\r", "ä\n\nö", "%0A"]


def encoder():
    """Returns one that embeds an image of `SHAPE` as its pixels, less their middle."""
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Rescaling(1, -127.5)(inputs)
    pixels = keras.layers.Conv2D(DIM, SHAPE[:2], use_bias=False)
    x = keras.layers.GlobalAveragePooling2D()(pixels(x))
    pixels.set_weights([np.eye(DIM, dtype=np.float32).reshape(*SHAPE, DIM)])
    return keras.Model(inputs, keras.layers.UnitNormalization()(x))


def gallery():
    """Returns the gallery; some of its ids and names are odd."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(SIZE, DIM)).astype(np.float32)
    ids = [*ODD, *(f"id {row}" for row in range(len(ODD), SIZE))]
    return make_gallery(
        {
            "embeddings": rows / np.linalg.norm(rows, axis=1, keepdims=True),
            "labels": np.arange(SIZE) % len(NAMES),
            "ids": np.array(ids),
            "class_names": NAMES,
        }
    )


def write(folder):
    """Writes version 1 of a model `new`, and of `old`, which takes no lines."""
    model = encoder()
    state = gallery_state(gallery(), load_head("exact").build(gallery().embeddings))
    served = SearchModel(model, model.variables, SHAPE, DIM, "exact", state, K)
    tf.saved_model.save(served, str(folder / "new/1"), signatures=served.signatures)
    shutil.copytree(folder / "new/1", folder / "old/1")
    without_lines(folder / "old/1")
