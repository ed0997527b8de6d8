"""What it logs is what the metric says, and training does not notice."""

import random

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.callbacks import RetrievalQuality
from tfembed.metrics import embed, retrieval

ROWS, DIM = 24, 5
NAMES = ["R@1", "R@3", "R-precision", "MAP@R", "MRR"]
IMAGES = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype("float32")
LABELS = np.arange(ROWS) % 5


def fit(callback, epochs=2):
    """Trains anew, with every kind of state; returns the model, encoder, history."""
    keras.utils.set_random_seed(3)
    images = keras.Input((DIM,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4)(images))
    embeddings = keras.layers.Dense(3)(keras.layers.Dropout(0.5)(hidden))
    model = keras.Model(images, keras.layers.Dense(5)(embeddings))
    encoder = keras.Model(images, embeddings)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).shuffle(ROWS).batch(8)
    callbacks = [callback(encoder)] if callback else []
    history = model.fit(data, epochs=epochs, verbose=0, callbacks=callbacks).history
    return model, encoder, history


def state(model):
    """Returns all that the next step depends on."""
    variables = [compat.variable(each) for each in model.variables]
    variables += compat.optimizer_variables(model.optimizer)
    arrays = [tf.convert_to_tensor(each).numpy() for each in variables]
    draws = [random.random(), np.random.random(), tf.random.uniform([]).numpy()]
    return arrays, draws


def test_training_ends_the_same_to_the_last_bit():
    plain, _, losses = fit(None)
    arrays, draws = state(plain)
    watched, encoder, history = fit(
        lambda encoder: RetrievalQuality(
            encoder, [IMAGES[:16], {"images": IMAGES[16:]}], LABELS, ks=(1, 3)
        )
    )
    found, found_draws = state(watched)
    assert losses["loss"] == history["loss"] and draws == found_draws
    assert len(arrays) == len(found)
    for a, b in zip(arrays, found):
        np.testing.assert_array_equal(a, b)
    means = retrieval(embed(encoder, [IMAGES]), LABELS, ks=(1, 3)).means()
    for name in NAMES:
        assert history[name][-1] == means[name]
    assert set(history) == {"loss", *NAMES}


def test_a_gallery_every_second_epoch_under_a_prefix():
    encoder = keras.Sequential([keras.layers.Dense(3)])
    callback = RetrievalQuality(
        encoder,
        [IMAGES[:10]],
        LABELS[:10],
        gallery=[IMAGES],
        gallery_labels=LABELS,
        ids=range(10),
        gallery_ids=range(ROWS),
        every=2,
        prefix="val_",
    )
    logs = [{"loss": 1.0}, {"loss": 1.0}]
    for epoch in range(2):
        callback.on_epoch_end(epoch, logs[epoch])
    found = embed(encoder, [IMAGES])
    means = retrieval(
        found[:10], LABELS[:10], found, LABELS, range(10), range(ROWS), ks=(1,)
    ).means()
    assert set(logs[0]) == set(logs[1])  # the columns of a CSV log
    callback.on_epoch_end(2, third := {"loss": 1.0})
    assert set(third) == {"loss"}
    for name in ("R@1", "R-precision", "MAP@R", "MRR"):
        assert logs[1]["val_" + name] == means[name]


def test_what_diverged_is_not_measured():
    callback = RetrievalQuality(None, [IMAGES], LABELS)
    logs = {"loss": float("nan")}
    callback.on_epoch_end(0, logs)
    assert set(logs) == {"loss"} and callback.on_epoch_end(0, None) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"every": 0}, "every"), ({"gallery": [IMAGES]}, "gallery_labels")],
)
def test_bad_input_gets_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        RetrievalQuality(None, [IMAGES], LABELS, **arguments)
    assert "Received" in str(error.value)
