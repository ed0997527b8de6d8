"""A small search model whose gallery has every row twice, for each head."""

import functools

import numpy as np
from tensorflow import keras

from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import load_head, trait
from tfembed.export.run_directory import make_gallery
from tfembed.export.search_model import SearchModel

SHAPE, DIM, SIZE, K = (2, 4, 1), 8, 1500, 6
NAMES = ["red", "blau", "grün", "rouge", ""]  # a class may be named by nothing


def make_gallery_of(rows, labels):
    """A gallery of rows, divided by their lengths, with all else that it has."""
    rows = np.asarray(rows, np.float32)
    return make_gallery(
        {
            "embeddings": rows / np.linalg.norm(rows, axis=1, keepdims=True),
            "labels": labels,
            "ids": np.array([f"id {row} ä" for row in range(len(rows))]),
            "class_names": np.array(NAMES),
            "known_threshold": 0.6,
            "vote_k": 9,
        }
    )


def make_twins():
    """The gallery; twins may have different labels."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(SIZE, DIM)).astype(np.float32)
    rows[SIZE // 2 :] = rows[: SIZE // 2]  # each twice: ties
    return make_gallery_of(rows, rng.integers(-1, len(NAMES), SIZE))


def make_model(head, max_score_bytes=1 << 20, gallery=None):
    """Returns a model, its gallery, its rows as it keeps them, and its head's arrays.

    Its encoder takes an image of `SHAPE` as its pixels, less their middle.
    """
    gallery = make_twins() if gallery is None else gallery
    head_state = load_head(head).build(gallery.embeddings)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1, -127.5)(inputs))
    encoder = keras.Model(inputs, keras.layers.UnitNormalization()(x))
    state = gallery_state(gallery, head_state)
    model = SearchModel(
        encoder, encoder.variables, SHAPE, DIM, head, state, K, max_score_bytes
    )
    return model, gallery, kept(gallery, head), head_state.arrays


def kept(gallery, head):
    """The rows as a head keeps them, of which its scores are."""
    of = trait(load_head(head), "kept")
    return np.float32(gallery.embeddings if of is None else of(gallery.embeddings))


@functools.cache
def model_of(head):
    """As `make_model`, made once for each head."""
    return make_model(head)


def queries(count, seed=5):
    """Embeddings of length 1."""
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
