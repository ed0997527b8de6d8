"""Versions of small galleries, without a graph of signatures: what updates read."""

import json

import numpy as np
import tensorflow as tf

from tfembed.export.card import write_card
from tfembed.export.gallery_state import gallery_sha256, gallery_state, variable_shape
from tfembed.export.heads import build_head
from tfembed.export.run_directory import Gallery

ROWS, DIM = 2048, 8


def unit_rows(count, seed):
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def a_gallery(count=ROWS, seed=0, first=0):
    labels = np.arange(count) % 2
    ids = np.array([f"row-{row}" for row in range(first, first + count)])
    return Gallery(unit_rows(count, seed), labels, ids, np.array(["boot", "bag"]))


def write_version(path, head, gallery):
    """A version's variables and card, without its graph of signatures."""
    built = build_head(head, gallery.embeddings, recall=0.8, k=5)
    module = tf.Module()
    module.encoder_variables = [tf.Variable([1.0, 2.0])]
    for name, value in gallery_state(gallery, built).items():
        shape = variable_shape(value)
        setattr(module, name, tf.Variable(tf.constant(value), shape=shape))
    tf.saved_model.save(module, str(path))
    card = {
        "encoder": {"sha256": "one", "dim": DIM, "image_shape": [4, 4, 1]},
        "gallery": {"size": gallery.size, "sha256": gallery_sha256(gallery)},
        "head": built.card,
        "k": 5,
        "known": {},
        "vote": {"k": 200, "temperature": 0.07},
    }
    write_card(path, card)


def card_of(path):
    return json.loads((path / "card.json").read_text(encoding="utf-8"))


def save_rows(path, gallery):
    np.savez(
        path, embeddings=gallery.embeddings, ids=gallery.ids, labels=gallery.labels
    )
    return path
