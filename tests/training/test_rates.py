"""Rates by group, frozen steps, and averages of the weights, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.training import averaged, begin_averages, build_optimizer, with_groups


def network():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, use_bias=False, name="first"),
            keras.layers.Dense(2, use_bias=False, name="second"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def trained(model, optimizer, steps, epochs=1):
    """Trains on the same batches each time; returns the weights after each epoch."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8 * steps, 3)).astype("float32")
    y = rng.normal(size=(8 * steps, 2)).astype("float32")
    model.compile(optimizer, loss="mse", jit_compile=False)
    kept = []
    for epoch in range(epochs):
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        model.fit(data, epochs=epoch + 1, initial_epoch=epoch, verbose=0)
        kept.append(model.get_weights())
    return kept


OPTIMIZERS = [("sgd", 0.0), ("sgd", 0.1), ("adam", 0.0), ("adamw", 0.1)]


@pytest.mark.parametrize(("name", "decay"), OPTIMIZERS)
def test_one_step_is_multiplied_decay_and_all(name, decay):
    start = network().get_weights()
    (plain,) = trained(network(), build_optimizer(name, 0.05, 0.9, decay), 1)
    model = network()
    optimizer = build_optimizer(name, 0.05, 0.9, decay)
    optimizer = with_groups(optimizer, [(model.layers[0].weights, 0.25, 0)])
    (rated,) = trained(model, optimizer, 1)
    np.testing.assert_allclose(rated[1], plain[1], atol=1e-6)
    np.testing.assert_allclose(
        rated[0] - start[0], 0.25 * (plain[0] - start[0]), atol=1e-6
    )
    assert np.abs(plain[0] - start[0]).min() > 1e-4


@pytest.mark.parametrize(("name", "decay"), OPTIMIZERS)
def test_until_its_first_step_a_group_stays(name, decay):
    model = network()
    start = model.get_weights()
    optimizer = build_optimizer(name, 0.05, 0.9, decay)
    optimizer = with_groups(optimizer, [(model.layers[0].weights, 1.0, 6)])
    after = trained(model, optimizer, 3, epochs=3)
    for epoch in (0, 1):
        np.testing.assert_array_equal(after[epoch][0], start[0])
    assert np.abs(after[2][0] - start[0]).min() > 1e-4
    assert np.abs(after[0][1] - start[1]).min() > 1e-4


def test_proxies_decay_by_their_rate():
    """A rate by name multiplies Keras' own, decoupled decay, too."""
    start = network().get_weights()
    (plain,) = trained(network(), build_optimizer("adamw", 0.05, 0.9, 0.5), 1)
    optimizer = build_optimizer("adamw", 0.05, 0.9, 0.5, {"kernel": 10.0})
    (rated,) = trained(network(), optimizer, 1)
    for before, one, ten in zip(start, plain, rated):
        np.testing.assert_allclose(ten - before, 10 * (one - before), atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_replicas_share_the_rates(name, strategy):
    def made():
        model = network()
        optimizer = build_optimizer(name, 0.05, 0.9, 0.1, ema=0.5)
        return model, with_groups(optimizer, [(model.layers[0].weights, 0.25, 2)])

    one, optimizer = made()
    expected = trained(one, optimizer, 3, epochs=2)
    with strategy.scope():
        two, optimizer = made()
        found = trained(two, optimizer, 3, epochs=2)
    for left, right in zip(expected[-1], found[-1]):
        np.testing.assert_allclose(left, right, atol=1e-5)
    with averaged(one), averaged(two):
        for left, right in zip(one.get_weights(), two.get_weights()):
            np.testing.assert_allclose(left, right, atol=1e-5)


def test_averages_are_those_of_the_weights_and_go_again():
    model = network()
    start = model.get_weights()
    after = trained(model, build_optimizer("sgd", 0.05, ema=0.75), 1, epochs=4)
    # Keras 2 begins with the weights before the first step, Keras 3 after it.
    mean = after[0] if compat.KERAS_3 else start
    for weights in after[compat.KERAS_3 :]:
        mean = [0.75 * a + 0.25 * b for a, b in zip(mean, weights)]
    with averaged(model):
        for found, expected in zip(model.get_weights(), mean):
            np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.abs(model.get_weights()[0] - after[-1][0]).max() > 1e-4
    for found, expected in zip(model.get_weights(), after[-1]):
        np.testing.assert_array_equal(found, expected)


def test_averages_begin_anew_with_other_weights():
    model = network()
    model.compile(build_optimizer("sgd", 0.0, ema=0.9), "mse", jit_compile=False)
    compat.build_optimizer(model.optimizer, model.trainable_variables)
    model.set_weights([np.full_like(w, 5.0) for w in model.get_weights()])
    begin_averages(model)
    model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    with averaged(model):
        np.testing.assert_allclose(model.get_weights()[0], 5.0, rtol=1e-6)


def test_without_averages_nothing_changes():
    model = network()
    (after,) = trained(model, build_optimizer("sgd", 0.05), 1)
    with averaged(model):
        np.testing.assert_array_equal(model.get_weights()[0], after[0])


def test_addons_optimizers_average_nothing():
    with pytest.raises(ValueError, match="`ema` goes with Keras' optimizers"):
        build_optimizer("lamb", 0.1, ema=0.9)
