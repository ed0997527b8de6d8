"""The generalised mean against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.layers import GeneralizedMean


def reference(maps, power, floor=1e-6):
    return np.mean(np.maximum(maps, floor) ** power, axis=(1, 2)) ** (1 / power)


@pytest.mark.parametrize("power", [1.0, 3.0, 40.0])
def test_equals_the_formula(power, rng, run):
    maps = rng.normal(size=(5, 4, 3, 6)).astype("float64") * 3
    layer = GeneralizedMean(power=power, dtype="float64")
    found = run(layer, tf.constant(maps))
    np.testing.assert_allclose(found, reference(maps, power), rtol=1e-5)


def test_between_mean_and_maximum(rng):
    maps = rng.uniform(1, 2, size=(2, 4, 3, 6)).astype("float32")
    np.testing.assert_allclose(
        GeneralizedMean(power=1.0)(maps), maps.mean((1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(
        GeneralizedMean(power=900.0)(maps), maps.max((1, 2)), rtol=5e-3
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("value", [0.0, 1e4])
def test_finite_whatever_the_map_holds(dtype, value):
    layer = GeneralizedMean(power=8.0, dtype=dtype)
    maps = tf.cast(tf.fill((2, 3, 3, 4), value), dtype)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        pooled = layer(maps)
    gradients = tape.gradient(pooled, [maps, layer.exponent])
    assert pooled.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(pooled, "float32"), np.full((2, 4), max(value, 1e-6)), rtol=3e-2
    )
    for each in gradients:
        assert np.isfinite(tf.cast(each, "float32")).all()


def test_gradients_equal_differences(rng):
    maps = tf.constant(rng.uniform(0.2, 2, size=(2, 3, 2, 3)), tf.float64)
    layer = GeneralizedMean(dtype="float64")
    layer.build(maps.shape)
    weights = tf.constant(rng.normal(size=(2, 3)))

    def total(maps):
        return tf.reduce_sum(layer(maps) * weights)

    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = total(maps)
    by_maps, by_power = tape.gradient(value, [maps, layer.exponent])
    step = 1e-5 * rng.normal(size=maps.shape)
    change = (total(maps + step) - total(maps - step)) / 2
    np.testing.assert_allclose(np.sum(by_maps * step), change, rtol=1e-4)
    sums = [np.sum(reference(maps.numpy(), p) * weights) for p in (2.999, 3.001)]
    np.testing.assert_allclose(by_power, (sums[1] - sums[0]) / 0.002, rtol=1e-3)


def test_its_power_is_trained_and_saved(tmp_path, rng):
    images = keras.Input((3, 3, 2))
    model = keras.Model(images, GeneralizedMean()(images))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    maps = rng.uniform(0, 1, size=(8, 3, 3, 2)).astype("float32")
    model.fit(maps, maps.max((1, 2)), epochs=2, verbose=0)
    power = float(model.get_weights()[0])
    assert power > 3.01
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(maps), model(maps), rtol=1e-6)


@pytest.mark.parametrize("options", [{"power": 0}, {"floor": -1.0}])
def test_refused(options):
    with pytest.raises(ValueError, match="must be a positive number. Received"):
        GeneralizedMean(**options)
