"""Galleries of one point, told at export; scores that are cosines."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.export.alikeness import describe_alikeness, mean_cosine
from tfembed.export.card import render_card
from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import HEADS, load_head
from tfembed.export.run_directory import make_gallery
from tfembed.export.search_model import SearchModel


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def a_gallery(embeddings):
    return make_gallery(
        {
            "embeddings": embeddings,
            "labels": np.arange(len(embeddings)) % 3,
            "ids": np.arange(len(embeddings)).astype(str),
        }
    )


def test_mean_cosine_is_numpys(rng, monkeypatch):
    monkeypatch.setattr("tfembed.export.alikeness._ROWS", 7)
    for rows in (rng.normal(size=(40, 5)), 1 + 0.1 * rng.normal(size=(20, 5))):
        rows = unit(rows)
        cosines = np.float64(rows) @ np.float64(rows).T
        others = cosines[~np.eye(len(rows), dtype=bool)]
        assert mean_cosine(rows) == pytest.approx(others.mean(), abs=1e-9)
    assert mean_cosine(np.tile(unit(np.ones((1, 3))), (9, 1))) <= 1
    assert mean_cosine(rows[:1]) is None


def test_a_collapsed_gallery_is_warned_of(rng):
    lines = []
    collapsed = a_gallery(unit(1 + 1e-7 * rng.normal(size=(50, 16))))
    mean, warning = describe_alikeness(collapsed, lines.append, False)
    assert mean > 1 - 1e-7 and "nearly all alike" in warning
    assert lines == [f"WARNING: {warning}"]
    with pytest.warns(UserWarning, match="nearly all alike"):
        describe_alikeness(collapsed, lambda line: None, True)
    page = render_card({"warnings": [warning], "gallery": {"mean_cosine": mean}})
    assert "**Warning.** The rows of the gallery are nearly all alike" in page
    spread_out, two = (a_gallery(unit(rng.normal(size=(n, 16)))) for n in (50, 2))
    for each in (spread_out, two):
        assert describe_alikeness(each, lines.append, True)[1] is None
    assert len(lines) == 1


@pytest.mark.parametrize("head", HEADS)
def test_scores_are_cosines_and_ties_stay_with_the_lowest_row(rng, head):
    """Rows a little longer than 1, as a gallery may have them, and their opposites."""
    directions = unit(rng.normal(size=(4, 8)))
    rows = np.concatenate([directions, -directions])[np.arange(48) % 8]
    rows = (rows * rng.uniform(1.004, 1.0095, (48, 1))).astype(np.float32)
    gallery = a_gallery(rows)
    image = keras.Input((4, 4, 1))
    encoder = keras.Model(image, keras.layers.Dense(8)(keras.layers.Flatten()(image)))
    state = gallery_state(gallery, load_head(head).build(rows, recall=1.0))
    model = SearchModel(encoder, encoder.weights, (4, 4, 1), 8, head, state, k=48)
    found = {k: v.numpy() for k, v in model.search(tf.constant(directions)).items()}
    ids = found["ids"].astype(int)
    assert found["scores"].max() == 1 and found["scores"].min() == -1
    for number in range(4):
        assert (found["scores"][number, :6] == 1).all()
        assert ids[number, :6].tolist() == list(range(number, 48, 8))
        assert (found["scores"][number, -6:] == -1).all()
        assert ids[number, -6:].tolist() == list(range(number + 4, 48, 8))
    asked = tf.constant(np.tile(gallery.ids.astype(object), (4, 1)))
    scores = model.score(tf.constant(directions), asked)["scores"].numpy()
    assert scores.max() == 1 and scores.min() == -1
    inside = np.abs(scores) < 0.9
    exact = np.float64(directions) @ np.float64(rows).T
    np.testing.assert_allclose(scores[inside], exact[inside], atol=1e-2)
