"""Weight decay inside the gradient, and the schedules, against plain loops."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.training import (
    DecayedSGD,
    LearningRate,
    build_optimizer,
    build_schedule,
)

ADDONS = not compat.KERAS_3  # tensorflow-addons cannot be imported on Keras 3


def test_decayed_sgd_is_the_papers_sgd(run):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=4), rng.normal(size=(5, 4))
    weight, velocity = start.copy(), np.zeros(4)
    for gradient in gradients:  # PyTorch's SGD: decay in the gradient, then momentum
        velocity = 0.9 * velocity + gradient + 0.01 * weight
        weight = weight - 0.1 * velocity
    variable = tf.Variable(start, dtype=tf.float32)
    optimizer = DecayedSGD(l2=0.01, learning_rate=0.1, momentum=0.9)
    compat.build_optimizer(optimizer, [variable])
    for gradient in gradients:
        run(
            lambda g: optimizer.apply_gradients([(g, variable)]),
            tf.constant(gradient, tf.float32),
        )
    np.testing.assert_allclose(variable, weight, rtol=1e-5)


def test_two_replicas_decay_once(strategy):
    def trained():
        model = keras.Sequential(
            [keras.layers.Dense(2, kernel_initializer="ones", use_bias=False)]
        )
        model.build((None, 3))
        model.compile(DecayedSGD(l2=0.3, learning_rate=0.1, momentum=0.9), "mse")
        return model

    images = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    targets = np.ones((8, 2), "float32")
    single = trained()
    with strategy.scope():
        double = trained()
    for model in (single, double):
        model.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        single.get_weights()[0], double.get_weights()[0], rtol=1e-5
    )


def test_config_round_trip():
    schedule = LearningRate("cosine", 0.1, 100, 10, 5)
    optimizer = DecayedSGD(l2=0.01, learning_rate=schedule, momentum=0.9)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, DecayedSGD)
    assert copy.l2 == 0.01
    assert LearningRate.from_config(schedule.get_config()).get_config() == (
        schedule.get_config()
    )


@pytest.mark.parametrize("warmup", [0, 20])
def test_schedules(warmup):
    steps, per_epoch, rate = 200, 10, 0.03
    for step in (0, 1, 19, 20, 100, 119, 120, 159, 160, 199, 200):
        warm = min(1.0, (step + 1) / warmup) if warmup else 1.0
        cosine = build_schedule("cosine", rate, steps, per_epoch, warmup)(step)
        done = np.clip((step - warmup) / (steps - warmup), 0, 1)
        assert float(cosine) == pytest.approx(
            rate * warm * 0.5 * (1 + np.cos(np.pi * done)), rel=1e-4, abs=1e-9
        )
        drops = (step >= 120) + (step >= 160)
        stepped = build_schedule("step", rate, steps, per_epoch, warmup)(step)
        assert float(stepped) == pytest.approx(rate * warm * 0.1**drops, rel=1e-5)
    assert build_schedule("constant", rate, steps, per_epoch) == rate
    with pytest.raises(ValueError, match="`schedule` must be one of"):
        build_schedule("linear", rate, steps, per_epoch)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lamb", "sgdw"])
def test_optimizers_by_name_train(name):
    if name in ("lamb", "sgdw") and not ADDONS:
        with pytest.raises(ImportError, match="tensorflow-addons, which cannot be"):
            build_optimizer(name, 0.1)
        return
    decay = 0.0 if name == "adam" else 0.01
    schedule = build_schedule("cosine", 0.05, 40, 4)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build((None, 3))
    model.compile(build_optimizer(name, schedule, weight_decay=decay), "mse")
    compat.build_optimizer(model.optimizer, model.trainable_variables)
    images = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    targets = images.sum(axis=1, keepdims=True)
    losses = model.fit(images, targets, batch_size=8, epochs=10, verbose=0).history
    assert losses["loss"][-1] < losses["loss"][0]
    assert len(compat.optimizer_variables(model.optimizer)) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rmsprop", 0.1), "`optimizer` must be one of"),
        (("adam", 0.1, 0.9, 0.1), "take optimizer='adamw'"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(*arguments)
