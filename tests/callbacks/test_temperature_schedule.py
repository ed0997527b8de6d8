"""TemperatureSchedule: in compiled graphs, on replicas, resumed, in the config."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import layers, losses
from tfembed.callbacks import Backup, TemperatureSchedule

CLASSES, DIM, ROWS, BATCH = 4, 3, 16, 8


def data():
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal(size=(ROWS, DIM)))
    labels = np.arange(ROWS) % CLASSES
    return tf.data.Dataset.from_tensor_slices((x, labels)).batch(BATCH)


def network(loss, optimizer=None, **settings):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((DIM,)), keras.layers.Dense(DIM), layers.Proxies(CLASSES)]
    )
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss=loss, **settings)
    return model


def halved(epoch):
    return 0.5 / 2**epoch


def by_hand(epochs, make, attribute, values):
    """The same training, compiled anew for each epoch with a plain number."""
    model = network(make())
    for epoch in range(epochs):
        loss = make()
        setattr(loss, attribute, values(epoch))
        model.compile(model.optimizer, loss=loss)
        model.fit(data(), verbose=0)
    return model.get_weights()


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("make", "attribute"),
    [(losses.NormSoftmax, "temperature"), (losses.CosFace, "scale")],
    ids=["temperature", "scale"],
)
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_each_epoch_has_its_value(make, attribute, jit):
    loss = make()
    model = network(loss, jit_compile=jit)
    schedule = TemperatureSchedule(loss, halved)
    history = model.fit(data(), epochs=3, verbose=0, callbacks=[schedule]).history
    np.testing.assert_allclose(history[attribute], [0.5, 0.25, 0.125])
    for a, b in zip(model.get_weights(), by_hand(3, make, attribute, halved)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert getattr(loss, attribute) == 0.125


def test_the_config_gives_a_number_while_it_runs(tmp_path):
    loss = losses.NormSoftmax()
    model = network(loss)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(loss.get_config()["temperature"])
            self.model.save(tmp_path / f"{epoch}.keras")

    schedule = TemperatureSchedule(loss, {0: 0.5, 2: 0.25})
    model.fit(data(), epochs=3, verbose=0, callbacks=[schedule, Look()])
    assert seen == [0.5, 0.5, 0.25]
    loaded = keras.models.load_model(tmp_path / "2.keras")
    assert loaded.loss.temperature == 0.25


def test_by_step_and_in_validation():
    loss = losses.NormSoftmax()
    model = network(loss)
    seen = []

    def by_step(step):
        seen.append(step)
        return 0.5 / (1 + step)

    schedule = TemperatureSchedule(loss, by_step, unit="step")
    history = model.fit(
        data(), validation_data=data(), epochs=2, verbose=0, callbacks=[schedule]
    ).history
    assert seen == [0, 1, 2, 3]
    np.testing.assert_allclose(history["temperature"], [0.25, 0.125])
    expected = model.evaluate(data(), verbose=0)
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert loss.temperature == 0.125


def test_a_second_fit_and_a_model_that_was_traced_before():
    loss = losses.NormSoftmax()
    model = network(loss, keras.optimizers.SGD(0.0))
    model.fit(data(), verbose=0)  # traced with a number
    found = []
    for value in (0.5, 0.1):
        schedule = TemperatureSchedule(loss, lambda epoch, value=value: value)
        fitted = model.fit(data(), verbose=0, callbacks=[schedule]).history
        found.append(fitted["loss"][0])
        plain = network(losses.NormSoftmax(value))
        plain.set_weights(model.get_weights())
        assert found[-1] == pytest.approx(plain.evaluate(data(), verbose=0), rel=1e-5)
    assert found[0] != pytest.approx(found[1], rel=1e-2)


@pytest.mark.thin(2)
@pytest.mark.parametrize("way", ["Backup", "BackupAndRestore"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(way, tmp_path):
    def fit(epochs, callbacks, **settings):
        loss = losses.NormSoftmax()
        model = network(loss, keras.optimizers.SGD(0.1, momentum=0.9))
        schedule = TemperatureSchedule(loss, halved)
        if way == "Backup":
            backup = Backup(tmp_path / "backup")
            settings["initial_epoch"] = backup.restore(model) if callbacks else 0
            callbacks = [backup] if callbacks else []
        elif callbacks:
            callbacks = [
                keras.callbacks.BackupAndRestore(
                    tmp_path / "backup", delete_checkpoint=False
                )
            ]
        history = model.fit(
            data(),
            epochs=epochs,
            verbose=0,
            callbacks=[schedule, *callbacks],
            **settings,
        ).history
        return model.get_weights(), history["temperature"]

    whole, _ = fit(4, [])
    fit(2, [True])
    resumed, values = fit(4, [True])
    np.testing.assert_allclose(values, [0.125, 0.0625])
    for a, b in zip(whole, resumed):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


LAYERS = {
    "ProxySoftmax": lambda: layers.ProxySoftmax(CLASSES, "arcface"),
    "InstanceSoftmax": lambda: layers.InstanceSoftmax(CLASSES, seed=1),
    "ParametricInstanceSoftmax": lambda: layers.ParametricInstanceSoftmax(CLASSES),
    "NoiseContrastive": lambda: layers.NoiseContrastive(CLASSES, 4, seed=1),
    "analytic": lambda: layers.NoiseContrastive(
        CLASSES, 4, seed=1, normalizer="analytic"
    ),
}


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_too(name):
    keras.utils.set_random_seed(4)
    images, ids = keras.Input((DIM,)), keras.Input((), dtype="int64")
    endpoint = LAYERS[name]()
    outputs = endpoint([layers.UnitNorm()(keras.layers.Dense(DIM)(images)), ids])
    model = keras.Model([images, ids], outputs)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    weights = len(model.weights)
    batches = data().map(lambda x, y: ((x, tf.cast(y, tf.int64)),))
    schedule = TemperatureSchedule(endpoint, lambda epoch: 0.5 - 0.1 * epoch)
    history = model.fit(batches, epochs=2, verbose=0, callbacks=[schedule]).history
    assert np.isfinite(history["loss"]).all()
    np.testing.assert_allclose(history["temperature"], [0.5, 0.4], rtol=1e-6)
    assert endpoint.get_config()["temperature"] == pytest.approx(0.4)
    assert len(model.weights) == weights


def test_on_two_replicas(strategy):
    loss = losses.NormSoftmax()
    single = network(loss)
    one = single.fit(
        data(), epochs=3, verbose=0, callbacks=[TemperatureSchedule(loss, halved)]
    ).history
    other = losses.NormSoftmax()
    with strategy.scope():
        double = network(other)
    two = double.fit(
        data(), epochs=3, verbose=0, callbacks=[TemperatureSchedule(other, halved)]
    ).history
    np.testing.assert_allclose(one["temperature"], two["temperature"])
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-4)
    for a, b in zip(single.get_weights(), double.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_bad_arguments_get_a_sentence():
    loss = losses.NormSoftmax()
    for target, arguments, word in [
        (losses.Contrastive(), {"schedule": halved}, "temperature"),
        (loss, {"schedule": halved, "attribute": "scale"}, "scale"),
        (loss, {"schedule": halved, "unit": "batch"}, "unit"),
        (loss, {"schedule": 0.5}, "schedule"),
        (loss, {"schedule": {1: 0.5}}, "schedule"),
    ]:
        with pytest.raises(ValueError, match=word) as error:
            TemperatureSchedule(target, **arguments)
        assert "Received" in str(error.value)
    with pytest.raises(ValueError, match="positive"):
        TemperatureSchedule(loss, lambda epoch: 0.0).value(0)
