"""Proxies: similarities, their gradients, and models that end in them."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import tfembed
from tfembed import compat, losses
from tfembed.layers import Proxies

CLASSES, PER_CLASS, DIM = 4, 2, 3


def expected(x, proxies, similarity, normalize):
    """One pair at a time, in float64."""
    values, lengths = [], []
    for row in np.float64(x):
        row = row / np.linalg.norm(row) if normalize == "both" else row
        values.append([])
        lengths.append([])
        for proxy in np.float64(proxies):
            if normalize != "neither":
                proxy = proxy / np.linalg.norm(proxy)
            distance = similarity == "negative_squared_distance"
            value = -np.sum((row - proxy) ** 2) if distance else row @ proxy
            values[-1].append(value)
            lengths[-1].append(np.linalg.norm(row) * np.linalg.norm(proxy))
    if similarity == "product_and_length":
        return np.hstack([values, lengths])
    return np.array(values)


@pytest.mark.parametrize(
    ("similarity", "normalize", "meant"),
    [
        ("cosine", None, "both"),
        ("negative_squared_distance", None, "both"),
        ("negative_squared_distance", "neither", "neither"),
        ("product", None, "neither"),
        ("product", "proxies", "proxies"),
        ("product_and_length", None, "neither"),
        ("product_and_length", "proxies", "proxies"),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_similarities(similarity, normalize, meant, dtype, rng, run):
    layer = Proxies(CLASSES, PER_CLASS, similarity, normalize)
    x = tf.cast(rng.normal(size=(5, DIM)) * 2, dtype)
    found = run(layer, x)
    assert found.dtype == ("float64" if dtype == "float64" else "float32")
    assert found.shape == (5, layer.compute_output_shape((5, DIM))[1])
    wanted = expected(x, layer.get_weights()[0], similarity, meant)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_puts_out_float32(policy, rng):
    keras.mixed_precision.set_global_policy(policy)
    layer = Proxies(CLASSES)
    x = tf.constant(rng.normal(size=(5, DIM)), tf.float32)
    found = layer(x)
    assert found.dtype == tf.float32
    wanted = expected(x, layer.get_weights()[0], "cosine", "both")
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "product_and_length"])
def test_zero_embeddings_and_proxies_are_safe(similarity):
    layer = Proxies(CLASSES, similarity=similarity, initializer="zeros")
    x = tf.zeros([2, DIM])
    layer.build(x.shape)
    weight = layer.trainable_variables[0]
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x))
    assert float(total) == 0
    for gradient in tape.gradient(total, [x, compat.variable(weight)]):
        assert np.isfinite(gradient).all()


def test_merge_is_the_regulariser_of_soft_triple(rng):
    k = 3
    layer = Proxies(CLASSES, k, merge=0.5)
    layer(rng.normal(size=(2, DIM)).astype("float32"))
    w = np.float64(layer.get_weights()[0])
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    total = 0.0
    for c in range(CLASSES):
        for t in range(k):
            for s in range(t + 1, k):
                total += np.sqrt(2 - 2 * w[c * k + s] @ w[c * k + t])
    total *= 0.5 / (CLASSES * k * (k - 1))
    assert float(layer.losses[0]) == pytest.approx(total, rel=1e-5)


def test_merge_draws_the_proxies_of_a_class_together(rng):
    layer = Proxies(CLASSES, 3, merge=1.0)
    model = keras.Sequential([keras.Input((DIM,)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse", loss_weights=[0.0])
    x = rng.normal(size=(8, DIM)).astype("float32")
    first = model.evaluate(x, np.zeros((8, 12)), verbose=0)
    model.fit(x, np.zeros((8, 12)), epochs=150, verbose=0)
    last = model.evaluate(x, np.zeros((8, 12)), verbose=0)
    assert first > 0.2 and 0 <= last < 0.1 * first


LOSSES = {
    "norm_softmax": (losses.NormSoftmax(0.1), {}),
    "cosface": (losses.CosFace(8.0), {"per_class": 1}),
    "arcface": (losses.ArcFace(8.0, per_class=2), {"per_class": 2}),
    "sphereface": (losses.SphereFace(8.0, margin=2), {}),
    "large_margin": (
        losses.LargeMarginSoftmax(margin=2),
        {"similarity": "product_and_length"},
    ),
    "soft_triple": (losses.SoftTriple(per_class=2), {"per_class": 2, "merge": 0.2}),
    "proxy_nca": (
        losses.ProxyNCA(9.0),
        {"similarity": "negative_squared_distance"},
    ),
    "proxy_anchor": (losses.ProxyAnchor(), {}),
}


def network(name):
    keras.utils.set_random_seed(2)
    loss, settings = LOSSES[name]
    encoder = keras.Sequential([keras.Input((DIM,)), keras.layers.Dense(DIM)])
    layer = Proxies(CLASSES, **settings)
    model = keras.Sequential([keras.Input((DIM,)), encoder, layer])
    model.compile(keras.optimizers.SGD(0.05), loss=loss)
    return model, encoder


def data(rng, rows=64):
    labels = np.arange(rows) % CLASSES
    x = rng.normal(size=(rows, DIM)) * 0.3 + rng.normal(size=(CLASSES, DIM))[labels]
    return np.float32(x), labels


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", LOSSES)
def test_fit_trains_proxies_and_encoder_and_is_saved(name, rng, tmp_path):
    model, encoder = network(name)
    x, labels = data(rng)
    before = model.get_weights()
    first = model.evaluate(x, labels, verbose=0)
    model.fit(x, labels, epochs=5, batch_size=16, verbose=0)
    assert model.evaluate(x, labels, verbose=0) < first
    for old, new in zip(before, model.get_weights()):
        assert not np.array_equal(old, new)
    assert len(encoder.weights) == 2  # the proxies stay behind
    model.save(tmp_path / "model.keras")
    loaded = tfembed.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    assert loaded.evaluate(x, labels, verbose=0) == pytest.approx(
        model.evaluate(x, labels, verbose=0)
    )


@pytest.mark.parametrize("name", ["arcface", "soft_triple", "proxy_anchor"])
@pytest.mark.parametrize(
    "rows",
    [23, pytest.param(24, marks=pytest.mark.slow)],
    ids=["uneven", "even"],
)
def test_two_replicas_train_as_one(name, rows, rng, strategy):
    single, _ = network(name)
    with strategy.scope():
        double, _ = network(name)
        double.set_weights(single.get_weights())
    x, labels = data(rng, rows)
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).batch(8)
    one = single.fit(batches, epochs=2, verbose=0).history["loss"]
    two = double.fit(batches, epochs=2, verbose=0).history["loss"]
    for a, b in zip(single.get_weights(), double.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    if rows == 24:  # Keras averages the reported losses of uneven replicas its way
        np.testing.assert_allclose(one, two, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "`num_classes` must be"),
        ({"per_class": 1.5}, "`per_class` must be"),
        ({"similarity": "dot"}, "`similarity` must be one of"),
        ({"normalize": "rows"}, "`normalize` must be one of"),
        ({"normalize": "neither"}, "`normalize` must be 'both'"),
        ({"merge": -1}, "`merge` must be"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        Proxies(**{"num_classes": 8, **arguments})
    assert "Received" in str(error.value)


def test_embeddings_of_unknown_length_are_refused():
    with pytest.raises(ValueError, match="dim known"):
        Proxies(3).build((None, None))
