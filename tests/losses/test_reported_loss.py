"""`fit` and `evaluate` report the mean over rows, whatever the replicas hold."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import losses

ROWS, BATCH, DIM = 11, 8, 5  # batches of 8 and 3; on two replicas 4 + 4 and 2 + 1
LOSSES = {
    "pairs": losses.MultiSimilarity,
    "proxies": losses.NormSoftmax,
    "closed set": losses.AffinityFrobenius,
    "plain Keras": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
}


def of_rows(loss, labels, x):
    if hasattr(loss, "per_row"):
        return loss.per_row(labels, x).numpy()
    return loss.call(labels, x).numpy()


def batches(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH)


def model_for(loss):
    model = keras.Sequential(
        [keras.Input((DIM,)), keras.layers.Dense(DIM, kernel_initializer="identity")]
    )
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_val_loss(name, strategy):
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.9, 0.9, size=(2, ROWS, DIM)).astype("float32")
    y = rng.integers(0, 3, size=(2, ROWS))
    weights = rng.uniform(size=ROWS).astype("float32")
    loss = LOSSES[name]()
    parts = slice(0, BATCH), slice(BATCH, None)

    def expected(which, weights=1.0):
        rows = [of_rows(loss, y[which][part], x[which][part]) for part in parts]
        return np.mean(np.concatenate(rows) * weights)

    with strategy.scope():
        double = model_for(LOSSES[name]())
    for model in (model_for(loss), double):
        history = model.fit(
            batches(x[0], y[0]), validation_data=batches(x[1], y[1]), verbose=0
        ).history
        np.testing.assert_allclose(history["loss"], [expected(0)], rtol=1e-5)
        np.testing.assert_allclose(history["val_loss"], [expected(1)], rtol=1e-5)
    found = double.evaluate(batches(x[0], y[0], weights), verbose=0)
    np.testing.assert_allclose(found, expected(0, weights), rtol=1e-5)
