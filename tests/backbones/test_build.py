"""Backbones: shapes, sizes against published ones, seeds, policies, replicas."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.backbones import BACKBONES, build_backbone

_CHEAP = ["small_conv", "resnet18_cifar", "keras_cv:resnet18", "keras_cv:resnet18_v2"]


def _images(shape, batch=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (batch, *shape)).astype(np.float32)


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", _CHEAP)
@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 24, 3)])
def test_features_are_finite_and_of_the_width_that_the_table_says(name, shape):
    if name.startswith("keras_cv"):
        pytest.importorskip("keras_cv")
    model = build_backbone(name, shape, seed=0)
    features = model(_images(shape), training=False).numpy()
    width = int(BACKBONES[name].split("; ")[1].split()[0].replace(",", ""))
    assert features.shape == (4, width)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.std(axis=0).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_builds(name):
    width = int(BACKBONES[name].split("; ")[1].split()[0].replace(",", ""))
    assert build_backbone(name, (64, 64, 3)).output_shape == (None, width)


@pytest.mark.parametrize(
    ("name", "trainable"),
    [
        # torchvision's published totals less the classifier of 1,000 classes.
        ("resnet18", 11_689_512 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
        # A 3x3 stem instead of 7x7 saves (49 - 9) * 3 * 64 weights.
        ("resnet18_cifar", 11_689_512 - 513_000 - 7_680),
        # 9 * (1*32 + 32*64 + 64*128 + 128*128) kernels, 2 * 352 of batch norm.
        ("small_conv", 9 * (32 + 2048 + 8192 + 16384) + 704),
    ],
)
def test_the_number_of_trained_weights(name, trainable):
    channels = 1 if name == "small_conv" else 3
    model = build_backbone(name, (32, 32, channels))
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == trainable


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", ["small_conv", "resnet18_cifar", "keras_cv:resnet18"])
def test_a_seed_gives_the_same_weights_each_time(name):
    if name.startswith("keras_cv"):
        pytest.importorskip("keras_cv")

    def weights(seed):
        keras.layers.Dense(3).build((None, 5))  # moves Keras' global generator on
        return build_backbone(name, (32, 32, 3), seed=seed).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    for one, two in zip(first, again):
        np.testing.assert_array_equal(one, two)
    kernels = [(a, b) for a, b in zip(first, other) if a.ndim == 4]
    assert all((a != b).mean() > 0.99 for a, b in kernels)
    assert len({kernel.ravel()[0] for kernel, _ in kernels}) == len(kernels)


def test_seeded_kernels_keep_their_initializers_scale():
    model = build_backbone("resnet18", (32, 32, 3), seed=3)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.get_weights()[0], np.float64)
            expected = np.sqrt(2 / (kernel.shape[0] ** 2 * kernel.shape[3]))
            assert kernel.std() == pytest.approx(expected, rel=0.1)


def test_small_conv_is_what_its_table_says():
    model = build_backbone("small_conv", (28, 28, 1), seed=4)
    images = _images((28, 28, 1))
    x = tf.constant(images / np.float32(255))
    for number, stride in enumerate((2, 2, 2, 1), start=1):
        kernel = model.get_layer(f"conv{number}").get_weights()[0]
        x = tf.nn.conv2d(x, kernel, stride, "SAME")
        x = tf.nn.relu(x / np.sqrt(1 + model.get_layer(f"norm{number}").epsilon))
    expected = x.numpy().mean(axis=(1, 2))
    got = model(images, training=False).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_mixed_policy_scales_and_pools_in_float32(policy):
    exact = build_backbone("small_conv", (28, 28, 1), seed=5)
    images = _images((28, 28, 1))
    expected = exact(images, training=False).numpy()
    keras.mixed_precision.set_global_policy(policy)
    model = build_backbone("small_conv", (28, 28, 1), seed=5)
    got = model(images, training=False)
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, expected, atol=0.03 * expected.max())


@pytest.mark.parametrize(
    "name", ["small_conv", pytest.param("keras_cv:resnet18_v2", marks=pytest.mark.slow)]
)
def test_synchronized_two_replicas_are_one(name, strategy):
    if name.startswith("keras_cv"):
        pytest.importorskip("keras_cv")
    images = _images((16, 16, 3), batch=8, seed=6)
    images[4:] *= 0.2  # each replica alone would normalise quite differently

    def step(model, batch):
        with tf.GradientTape() as tape:
            features = model(batch, training=True)
            loss = tf.reduce_sum(features[:, ::2] ** 2) / 8
        return features, tape.gradient(loss, model.trainable_variables[:1])[0]

    one = build_backbone(name, (16, 16, 3), synchronized=True, seed=7)
    features, gradient = step(one, tf.constant(images))
    with strategy.scope():
        two = build_backbone(name, (16, 16, 3), synchronized=True, seed=7)

    @tf.function
    def replicated(batch):
        features, gradient = strategy.run(lambda part: step(two, part), (batch,))
        return (
            strategy.experimental_local_results(features),
            strategy.reduce("SUM", gradient, None),
        )

    halves = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(images[4 * context.replica_id_in_sync_group :][:4])
    )
    parts, total = replicated(halves)
    scale = np.abs(features.numpy()).max()
    got = tf.concat([tf.identity(part) for part in parts], 0).numpy()
    np.testing.assert_allclose(got, features, atol=2e-4 * scale)
    np.testing.assert_allclose(
        total, gradient, atol=2e-3 * np.abs(gradient.numpy()).max()
    )
    for left, right in zip(one.get_weights(), two.get_weights()):
        np.testing.assert_allclose(left, right, atol=1e-4 * max(1, np.abs(left).max()))


def test_synchronized_reaches_every_batch_norm_of_keras_cv():
    pytest.importorskip("keras_cv")
    for synchronized in (False, True):
        model = build_backbone("keras_cv:resnet18", (32, 32, 3), synchronized)
        norms = [x for x in model.layers if "BatchNorm" in type(x).__name__]
        assert len(norms) == 20
        assert all(norm.synchronized is synchronized for norm in norms)


def test_a_saved_backbone_loads_as_plain_keras(tmp_path):
    pytest.importorskip("keras_cv")
    model = build_backbone("keras_cv:resnet18_v2", (32, 32, 3), seed=8)
    assert not any("keras_cv" in type(layer).__module__ for layer in model.layers)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = _images((32, 32, 3))
    np.testing.assert_array_equal(loaded(images), model(images))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="small_conv.*keras_cv:resnet50.*Received"):
        build_backbone("resnet19", (28, 28, 1))


def test_too_small_an_image_is_named():
    pytest.importorskip("keras_cv")
    with pytest.raises(ValueError, match="32 or more.*Received"):
        build_backbone("keras_cv:densenet121", (28, 28, 1))


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 2), (0, 28, 1)])
def test_a_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match="image_shape"):
        build_backbone("small_conv", shape)
