"""Hyperparameters that are trained: their gradient, in blocks of rows and without."""

import numbers

import numpy as np
import pytest
import tensorflow as tf
from losses.test_loss_contracts import SAMPLES, batch_for
from tensorflow import keras

from tfembed import compat, losses

FIXED = {"tolerance"}  # numbers that are no parameters
# What is read once, as a number, and refuses anything else.
UNTRAINED = {
    (losses.Angular, "alpha"),
    (losses.ArcFace, "margin"),
    (losses.InvariantSpread, "negative_weight"),
    (losses.TupletMargin, "margin"),
}


def parameters(sample):
    """The numbers among the hyperparameters, by name."""
    return {
        name: float(value)
        for name, value in sample.make().hyperparameters.items()
        if isinstance(value, numbers.Real)
        and not isinstance(value, (bool, int))
        and name not in FIXED
        and value not in (0, 1)  # mostly ends of what is allowed
    }


CASES = [
    pytest.param(*param.values, name, id=f"{param.id}-{name}")
    for param in SAMPLES
    for name in parameters(param.values[0])
]


@pytest.mark.thin(2)
@pytest.mark.parametrize(("sample", "name"), CASES)
def test_row_blocks_equal_no_blocks_and_both_the_differences(sample, name):
    labels, x, _, _ = batch_for(sample, 12, 3, 1.2)
    value = parameters(sample)[name]
    weights = np.random.default_rng(1).uniform(0.5, 1.5, 12)

    def total(given, **options):
        rows = sample.make(**{name: given}, **options).per_row(labels, tf.constant(x))
        return tf.reduce_sum(rows * weights)

    step = 1e-6 * max(abs(value), 1)
    expected = (float(total(value + step)) - float(total(value - step))) / (2 * step)
    variable = tf.Variable(value, dtype=tf.float64)
    if (type(sample.make()), name) in UNTRAINED:
        with pytest.raises((TypeError, ValueError), match=f"`{name}`.*Received"):
            total(variable)
        return
    for options in ({}, {"row_chunk": 5}) if sample.chunks else ({},):
        for kind in ("variable", "tensor"):
            with tf.GradientTape() as tape:
                given = (
                    variable if kind == "variable" else tf.exp(tf.math.log(variable))
                )
                loss = total(given, **options)
            found = tape.gradient(
                loss, variable, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            np.testing.assert_allclose(
                found, expected, rtol=1e-4, atol=1e-5, err_msg=f"{kind}, {options}"
            )


@pytest.mark.parametrize(
    ("make", "jit"), [(losses.SupCon, True), (losses.SmoothAP, False)]
)
def test_blocks_in_a_graph(make, jit):
    labels = np.arange(12) % 4
    x = tf.constant(np.random.default_rng(0).normal(size=(12, 5)))
    variable = tf.Variable(0.3, dtype=tf.float64)

    def gradients(row_chunk, kind):
        def both():
            with tf.GradientTape() as tape:
                tape.watch(x)
                given = variable if kind == "variable" else 2 * variable
                loss = make(temperature=given, row_chunk=row_chunk)
                total = tf.reduce_sum(loss.per_row(labels, x))
            return tape.gradient(total, [variable, x])

        return tf.function(both, jit_compile=jit)()

    for kind in ("variable", "tensor"):
        for one, other in zip(gradients(5, kind), gradients(None, kind)):
            assert np.any(other)
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_a_layer_trains_a_temperature_in_blocks():
    """As a user writes it: the temperature is a weight of a model."""

    class Learned(keras.layers.Layer):
        def build(self, shape):
            self.log = self.add_weight(name="log", shape=(), initializer="zeros")
            self.built = True

        def call(self, inputs):
            embeddings, labels = inputs
            loss = losses.SupCon(
                temperature=tf.exp(tf.convert_to_tensor(self.log)), row_chunk=self.rows
            )
            self.add_loss(tf.reduce_mean(loss.per_row(labels, embeddings)))
            return embeddings

    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    ends = []
    for rows in (None, 3):
        layer = Learned()
        layer.rows = rows
        inputs = keras.Input((4,)), keras.Input((), dtype="int64")
        model = keras.Model(list(inputs), layer(list(inputs)))
        model.compile(keras.optimizers.SGD(0.5))
        model.fit([x, np.arange(8) % 3], batch_size=8, epochs=2, verbose=0)
        ends.append(compat.number(compat.variable(layer.log)))
    assert ends[0] != 0
    np.testing.assert_allclose(*ends, rtol=1e-5)
