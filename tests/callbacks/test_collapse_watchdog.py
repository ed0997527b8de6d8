"""The collapse watchdog in a real `fit`: sees a collapse, and touches nothing."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.callbacks import CollapseWatchdog
from tfembed.metrics import embed, spread

DIM = 6


@keras.utils.register_keras_serializable("tests")
class PullTogether(keras.losses.Loss):
    """Has no negatives: its minimum is one point."""

    def call(self, y_true, y_pred):
        unit = tf.math.l2_normalize(y_pred, axis=1)
        return 1 - tf.reduce_sum(unit * tf.roll(unit, 1, 0), axis=1)


def network(loss="mse", rate=0.0):
    keras.utils.set_random_seed(3)
    images = keras.Input((DIM,))
    x = keras.layers.Dense(8, activation="tanh")(images)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(images, keras.layers.Dense(DIM, name="last")(x))
    model.compile(keras.optimizers.Adam(rate), loss)
    return model


def images(rows=32):
    return np.float32(np.random.default_rng(0).normal(size=(rows, DIM)))


def test_warns_of_a_loss_without_negatives_and_touches_nothing():
    x = images()
    y = np.zeros((32, DIM), np.float32)
    model = network(PullTogether(), 0.05)
    watchdog = CollapseWatchdog(model, x[:16])
    with pytest.warns(UserWarning, match="mean cosine of two") as caught:
        history = model.fit(
            x, y, batch_size=8, epochs=12, verbose=0, callbacks=[watchdog]
        ).history
    told = [str(each.message) for each in caught if "mean cosine" in str(each.message)]
    assert len(told) == 1 and "--head-norm" in told[0]
    found = spread(embed(model, [x[:16]]))
    assert history["mean_cosine"][-1] == pytest.approx(found.mean_cosine, abs=1e-6)
    assert history["mean_cosine"][-1] > 0.9
    assert history["effective_rank"][-1] == pytest.approx(found.effective_rank)
    assert history["mean_norm"][-1] == pytest.approx(found.norms.mean(), rel=1e-6)

    plain = network(PullTogether(), 0.05)
    plain.fit(x, y, batch_size=8, epochs=12, verbose=0)
    for a, b in zip(plain.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)


def warned(watchdog, epochs=1):
    """Ends epochs by hand; returns what was warned of, and the last logs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watchdog.on_train_begin()
        logs = [{} for _ in range(epochs)]
        for epoch in range(epochs):
            watchdog.on_epoch_end(epoch, logs[epoch])
    return [str(e.message) for e in caught if e.category is UserWarning], logs


@pytest.fixture(scope="module")
def linear():
    """An encoder that is one matrix, to set."""
    inputs = keras.Input((DIM,))
    outputs = keras.layers.Dense(DIM, use_bias=False)(inputs)
    return keras.Model(inputs, outputs)


def test_is_silent_on_a_healthy_encoder(linear):
    linear.set_weights([np.eye(DIM)])
    told, logs = warned(CollapseWatchdog(linear, images(), every=2), epochs=2)
    assert not told
    assert set(logs[0]) == set(logs[1])
    told, logs = warned(CollapseWatchdog(linear, images(), every=2), epochs=4)
    assert not told and logs[2] == {} and set(logs[1]) == set(logs[3])
    assert logs[1]["effective_rank"] == pytest.approx(
        spread(images()).effective_rank, rel=1e-6
    )


def test_sees_few_directions(linear):
    linear.set_weights([np.diag([1.0, 1, 0, 0, 0, 0])])
    told, logs = warned(CollapseWatchdog(linear, images()), epochs=3)
    assert len(told) == 1 and "effective rank is" in told[0]
    assert logs[0]["effective_rank"] < 2 < 0.5 * DIM
    told, _ = warned(CollapseWatchdog(linear, images(), min_rank=1))
    assert not told


def test_knows_what_a_sample_can_show(linear):
    linear.set_weights([np.diag([1.0, 1, 0, 0, 0, 0])])
    assert warned(CollapseWatchdog(linear, images(DIM + 1)))[0]
    assert not warned(CollapseWatchdog(linear, images(DIM)))[0]
    assert warned(CollapseWatchdog(linear, images(DIM), min_rank=2.5))[0]


def test_a_subclassed_encoder():
    class Encoder(keras.Model):
        def call(self, inputs):
            return inputs * tf.constant([1.0, 1, 0, 0, 0, 0])

    told, logs = warned(CollapseWatchdog(Encoder(), images()))
    assert len(told) == 1 and f"of {DIM} after epoch 1" in told[0]
    assert logs[0]["effective_rank"] < 2


@pytest.mark.parametrize(
    ("scale", "words"),
    [(1e-5, "mean length"), (1e5, "mean length"), (np.nan, "finite")],
)
def test_sees_lengths_that_vanish_explode_or_break(linear, scale, words):
    linear.set_weights([np.eye(DIM)])
    watchdog = CollapseWatchdog(linear, images())
    watchdog.on_train_begin()
    linear.set_weights([np.eye(DIM) * scale])
    with pytest.warns(UserWarning, match=words):
        watchdog.on_epoch_end(0, {})


def test_does_not_warn_of_what_is_coming_apart(linear):
    x = images() + 100 * np.float32(np.eye(DIM)[0])
    linear.set_weights([np.eye(DIM)])
    watchdog = CollapseWatchdog(linear, x, min_rank=0)
    watchdog.on_train_begin()
    # The common part is still large, and shrinks.
    linear.set_weights([np.diag([0.049, 0.5, 0.5, 0.5, 0.5, 0.5])])
    logs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watchdog.on_epoch_end(0, logs)
    assert 0.9 < logs["mean_cosine"] < 0.99
    with pytest.warns(UserWarning, match="collapses"):  # no further
        watchdog.on_epoch_end(1, {})


@pytest.mark.parametrize(
    "arguments",
    [{"images": np.zeros((1, 3))}, {"every": 0}, {"max_cosine": 1.5}, {"min_rank": -1}],
)
def test_bad_input_gets_a_sentence(linear, arguments):
    with pytest.raises(ValueError, match=f"`{list(arguments)[0]}` must"):
        CollapseWatchdog(**{"encoder": linear, "images": images(), **arguments})
