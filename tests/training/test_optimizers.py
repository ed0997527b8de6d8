"""Weight decay inside the gradient, and the schedules, against plain loops."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.training import (
    DecayedSGD,
    LearningRate,
    averaged,
    begin_averages,
    build_optimizer,
    build_schedule,
)
from tfembed.training.optimizers import OPTIMIZERS, MultipleOfRate

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


SCHEDULES = {
    "constant": lambda: 0.05,
    "ours": lambda: build_schedule("cosine", 0.05, 40, 4, 3),
    "cosine": lambda: keras.optimizers.schedules.CosineDecay(0.05, 40),
    "exponential": lambda: keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5),
    "piecewise": lambda: keras.optimizers.schedules.PiecewiseConstantDecay(
        [2, 4], [0.05, 0.01, 0.02]
    ),
}


def trained(optimizer, gradients):
    """The weights `proxies` and `kernel` after steps of given gradients."""
    start = np.float32([[1.0, -2.0, 3.0]] * 2)
    weights = [
        keras.Variable(row, name=name)
        if compat.KERAS_3
        else tf.Variable(row, name=name)
        for row, name in zip(start, ("proxies", "kernel"))
    ]
    compat.build_optimizer(optimizer, weights)
    for pair in gradients:
        optimizer.apply_gradients(list(zip(map(tf.constant, pair), weights)))
    return [np.array(compat.variable(weight)) for weight in weights]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rate", [100.0, 0.1])
def test_a_rate_is_a_learning_rate_decay_and_all(name, schedule, rate):
    if name in ("lamb", "sgdw"):
        with pytest.raises(ValueError, match="`rates` go with Keras' optimizers"):
            build_optimizer(name, SCHEDULES[schedule](), rates={"proxies": rate})
        return
    decay = 0.0 if name == "adam" else 0.02
    gradients = np.float32(np.random.default_rng(0).normal(size=(6, 2, 3)))

    def build(schedule, **options):
        return build_optimizer(name, schedule, weight_decay=decay, **options)

    learning_rate = SCHEDULES[schedule]()
    if callable(learning_rate):
        multiple = MultipleOfRate(learning_rate, rate)
    else:
        multiple = learning_rate * rate
    proxies, kernel = trained(build(learning_rate, rates={"proxies": rate}), gradients)
    np.testing.assert_allclose(kernel, trained(build(learning_rate), gradients)[1])
    np.testing.assert_allclose(
        proxies, trained(build(multiple), gradients)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_alone_is_multiplied(name):
    """Without a gradient, from the formula."""
    gradients = np.zeros((1, 2, 3), "float32")
    optimizer = build_optimizer(
        name, 0.01, momentum=0.0, weight_decay=0.1, rates={"proxies": 100.0}
    )
    proxies, kernel = trained(optimizer, gradients)
    start = np.float32([1.0, -2.0, 3.0])
    np.testing.assert_allclose(kernel, start * (1 - 0.01 * 0.1), rtol=1e-6)
    np.testing.assert_allclose(proxies, start * (1 - 100 * 0.01 * 0.1), rtol=1e-5)


@pytest.mark.skipif(not ADDONS, reason="tensorflow-addons is of the other stack")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_sgdw_takes_any_schedule(schedule):
    rate = SCHEDULES[schedule]()
    gradients = np.float32(np.random.default_rng(0).normal(size=(6, 2, 3)))
    weight, velocity = np.float64([1.0, -2.0, 3.0]), np.zeros(3)
    for step, (gradient, _) in enumerate(gradients):
        now = float(rate(step)) if callable(rate) else rate
        weight = weight - 0.1 * now * weight
        velocity = 0.9 * velocity - now * gradient
        weight = weight + velocity
    optimizer = build_optimizer("sgdw", rate, weight_decay=0.1)
    np.testing.assert_allclose(trained(optimizer, gradients)[0], weight, rtol=1e-5)


def test_a_multiple_of_a_schedule_round_trip():
    schedule = MultipleOfRate(keras.optimizers.schedules.CosineDecay(0.05, 40), 0.1)
    wire = keras.optimizers.schedules.serialize(schedule)
    copy = keras.optimizers.schedules.deserialize(wire)
    assert float(copy(10)) == float(schedule(10)) > 0


def test_the_state_is_there_before_the_first_step():
    optimizers = [keras.optimizers.SGD(0.1, momentum=0.9)]
    if ADDONS:
        optimizers.append(keras.optimizers.legacy.SGD(0.1, momentum=0.9))
    for optimizer in optimizers:
        weight = tf.Variable([1.0, 2.0])
        compat.build_optimizer(optimizer, [weight])
        before = [value.shape for value in compat.optimizer_variables(optimizer)]
        assert weight.shape in before  # the velocity
        optimizer.apply_gradients([(tf.constant([1.0, 1.0]), weight)])
        after = [value.shape for value in compat.optimizer_variables(optimizer)]
        assert before == after


def test_averages_of_an_optimizer_that_is_not_built():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(build_optimizer("sgd", 0.1, ema=0.9), "mse")
    before = model.get_weights()
    with averaged(model):  # there are none: the weights are their own
        for one, other in zip(model.get_weights(), before):
            np.testing.assert_array_equal(one, other)
    begin_averages(model)
    model.set_weights([np.zeros_like(each) for each in before])
    with averaged(model):
        for one, other in zip(model.get_weights(), before):
            np.testing.assert_allclose(one, other)
    model.compile(build_optimizer("sgd", 0.1), "mse")
    begin_averages(model)  # nothing to begin
