"""Callbacks that measure every so many epochs, beside Keras' that wait for a number."""

import csv
import inspect
import math

import numpy as np
import pytest
from tensorflow import keras

from tfembed import callbacks, compat
from tfembed.callbacks.epoch_metrics import EpochMetrics

ROWS, DIM = 12, 3
IMAGES = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype("float32")
LABELS = np.arange(ROWS) % 3
MEASURING = {
    "RetrievalQuality": lambda encoder: callbacks.RetrievalQuality(
        encoder, [IMAGES], LABELS, every=3
    ),
    "NeighborAccuracy": lambda encoder: callbacks.NeighborAccuracy(
        encoder, [IMAGES], LABELS, [IMAGES], LABELS, ks=(3,), every=3
    ),
    "CollapseWatchdog": lambda encoder: callbacks.CollapseWatchdog(
        encoder, IMAGES, every=3, max_cosine=0.999, min_rank=0
    ),
}
MONITORED = {
    "RetrievalQuality": "MAP@R",
    "NeighborAccuracy": "knn_3",
    "CollapseWatchdog": "mean_norm",
}


def test_every_callback_that_takes_every_is_here():
    taking = {
        name
        for name in callbacks.__all__
        if "every" in inspect.signature(vars(callbacks)[name]).parameters
        and name != "KeepBest"  # it has another callback measure
    }
    assert taking == set(MEASURING)
    assert {each.__name__ for each in EpochMetrics.__subclasses__()} <= taking


@pytest.mark.parametrize("first_epoch", [0, 1, 3])
@pytest.mark.parametrize("name", MEASURING)
@pytest.mark.filterwarnings("ignore:.*not available")
def test_waiting_callbacks_see_numbers_alone(name, first_epoch, tmp_path):
    """The number improves at each measurement: nothing may stop or slow down."""
    inputs = keras.Input((DIM,))
    encoder = keras.Model(inputs, keras.layers.Dense(DIM)(inputs))
    encoder.compile(keras.optimizers.SGD(0.01), "mse")
    measuring, best = MEASURING[name](encoder), iter(range(1, 99))
    method = "evaluate" if isinstance(measuring, EpochMetrics) else "measure"
    real = getattr(measuring, method)
    setattr(measuring, method, lambda: {key: next(best) for key in real()})
    monitored = {"monitor": MONITORED[name], "mode": "max"}
    stopping = keras.callbacks.EarlyStopping(patience=1, **monitored)
    slowing = keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, **monitored)
    history = encoder.fit(
        IMAGES,
        IMAGES,
        epochs=8,
        initial_epoch=first_epoch,
        verbose=0,
        callbacks=[
            measuring,
            stopping,
            slowing,
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        ],
    ).history
    assert len(history["loss"]) == 8 - first_epoch
    assert compat.number(encoder.optimizer.learning_rate) == np.float32(0.01)
    measured = {first_epoch, 2, 5} - set(range(first_epoch))
    found = history[MONITORED[name]]
    assert len(found) == len(measured) and all(map(math.isfinite, found))
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    numbers = {int(row["epoch"]) for row in rows if row[MONITORED[name]] != "NA"}
    assert numbers == measured
