"""Losses with a temperature or a scale: cold, and driven from outside."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed import losses

COLD = {
    "NCA": lambda: losses.NCA(temperature=0.01),
    "NCA expected": lambda: losses.NCA(temperature=0.01, form="expected"),
    "SoftNearestNeighbor": lambda: losses.SoftNearestNeighbor(temperature=0.01),
    "SupCon in": lambda: losses.SupCon(temperature=0.01, form="in"),
    "NTXent": lambda: losses.NTXent(temperature=0.01),
    "InvariantSpread paper": lambda: losses.InvariantSpread(0.01, form="paper"),
    "Circle": lambda: losses.Circle(gamma=1024.0),
    "TupletMargin": lambda: losses.TupletMargin(scale=1024.0),
    "BinomialDeviance": lambda: losses.BinomialDeviance(alpha=200.0, beta=5000.0),
    "Angular": lambda: losses.Angular(alpha=89.0),
}


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32])
@pytest.mark.parametrize("name", COLD)
def test_finite_when_cold(name, dtype):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 2)
    far = np.eye(8)[rng.permutation(8)]
    for x in (far, -far[:1] + 0 * far, np.zeros((8, 8)), rng.normal(size=(8, 8))):
        x = tf.cast(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            rows = COLD[name]().per_row(labels, x)
        assert np.isfinite(rows).all()
        assert np.isfinite(np.float32(tape.gradient(rows, x))).all()


DRIVEN = {
    "SupCon": (losses.SupCon, "temperature"),
    "NTXent": (losses.NTXent, "temperature"),
    "NCA": (losses.NCA, "temperature"),
    "SoftNearestNeighbor": (losses.SoftNearestNeighbor, "temperature"),
    "InvariantSpread": (losses.InvariantSpread, "temperature"),
    "Circle": (losses.Circle, "gamma"),
    "TupletMargin": (losses.TupletMargin, "scale"),
}


@pytest.mark.parametrize("name", DRIVEN)
def test_a_variable_drives_it(name):
    """A compiled step follows the variable, in float64 too, chunked or not."""
    make, argument = DRIVEN[name]
    rng = np.random.default_rng(1)
    labels, x = np.repeat(np.arange(4), 2), rng.normal(size=(8, 5))
    variable = tf.Variable(1.0, trainable=False)
    loss = make(**{argument: variable}, row_chunk=3)
    step = tf.function(lambda x: loss.per_row(labels, x))
    for value in (0.5, 2.0):
        variable.assign(value)
        np.testing.assert_allclose(
            step(tf.constant(x)),
            make(**{argument: value}).per_row(labels, x),
            rtol=1e-9,
        )
    assert loss.get_config()[argument] == 2.0
