"""DynamicSoftMargin against float64 loops: losses, gradients and the histogram."""

import contracts
import numpy as np
import oracles
import pytest
import tensorflow as tf
from contracts import DIM
from loss_oracles import distance, unit
from tensorflow import keras

from tfembed import layers, miners

BINS, MOMENTUM = 9, 0.3


def triplets(embeddings, labels):
    """`{(i, j): x}` of every positive pair with a negative at either end."""
    rows = [unit(x) for x in np.float64(embeddings)]
    found = {}
    for i, own in enumerate(rows):
        for j, other in enumerate(rows):
            if i == j or labels[i] != labels[j]:
                continue
            negatives = [k for k in range(len(rows)) if labels[k] != labels[i]]
            if negatives:
                nearest = min(
                    distance(end, rows[k]) for end in (own, other) for k in negatives
                )
                found[i, j] = distance(own, other) - nearest
    return found


def moved(histogram, values, momentum=MOMENTUM):
    """The histogram after a batch."""
    nodes = np.linspace(-2, 2, len(histogram))
    step = nodes[1] - nodes[0]
    new = sum(np.maximum(1 - np.abs(x - nodes) / step, 0) for x in values)
    new /= new.sum()
    return (1 - momentum) * histogram + momentum * new if histogram.any() else new


def mean_loss(histogram, found, fixed=None):
    """The mean of the triplets; their weights are those of `fixed`."""
    share = np.cumsum(histogram)
    bins = len(histogram) - 1
    total = 0.0
    for pair, x in found.items():
        node = int((fixed or found)[pair] * bins / 4 + bins / 2)
        total += share[node] * x
    return total / len(found)


def batch(seed, rows=10, classes=4):
    rng = np.random.default_rng(seed)
    return np.float32(rng.normal(size=(rows, DIM))), rng.integers(0, classes, rows)


def made(**settings):
    return contracts.built(
        lambda: layers.DynamicSoftMargin(BINS, momentum=MOMENTUM, **settings)
    )


def step(layer, run, embeddings, labels, training=True):
    def function(embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            layer([embeddings, tf.constant(labels)], training=training)
            loss = tf.add_n(layer.losses)
        return loss, tape.gradient(loss, embeddings)

    loss, gradient = run(function, tf.constant(embeddings))
    return float(loss), gradient.numpy()


@pytest.mark.parametrize("settings", [{}, {"row_chunk": 4}], ids=["whole", "blocks"])
def test_steps_equal_the_formula(settings, run):
    layer, histogram = made(**settings), np.zeros(BINS + 1)
    for seed in range(4):
        embeddings, labels = batch(seed)
        found = triplets(embeddings, labels)
        histogram = moved(histogram, found.values())
        loss, gradient = step(layer, run, embeddings, labels)
        assert loss == pytest.approx(mean_loss(histogram, found), rel=1e-4, abs=1e-6)

        def constant_weights(x):
            return mean_loss(histogram, triplets(x, labels), found)  # noqa: B023

        numeric = oracles.numeric_gradient(constant_weights, np.float64(embeddings))
        np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=2e-5)
        (stored,) = layer.get_weights()
        np.testing.assert_allclose(stored, histogram, rtol=1e-4, atol=1e-6)
        assert stored.sum() == pytest.approx(1, rel=1e-5)
    assert not layer.trainable_weights


@pytest.mark.parametrize("steps", [0, 2])
def test_inference_adds_a_loss_and_remembers_nothing(steps, run):
    layer, other = made(), made()
    for seed in range(steps):
        for each in (layer, other):
            step(each, run, *batch(seed))
    (before,) = layer.get_weights()
    loss, _ = step(layer, run, *batch(7), training=False)
    np.testing.assert_array_equal(layer.get_weights()[0], before)
    expected, _ = step(other, run, *batch(7))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_harder_triplets_weigh_more():
    layer = made()
    for seed in range(5):
        layer([*batch(seed)], training=True)
    assert np.all(np.diff(np.cumsum(layer.get_weights()[0])) >= 0)
    embeddings, labels = batch(9)
    found = triplets(embeddings, labels)
    loss, _ = step(layer, lambda f, *x: f(*x), embeddings, labels)
    assert loss > np.mean(list(found.values())) * np.mean(
        np.cumsum(layer.get_weights()[0])[
            [int(x * BINS / 4 + BINS / 2) for x in found.values()]
        ]
    )


def test_xla_gives_the_same():
    layer, other = made(), made()
    for seed in range(2):
        one = step(layer, lambda f, *x: f(*x), *batch(seed))
        compiled = step(
            other, lambda f, *x: tf.function(f, jit_compile=True)(*x), *batch(seed)
        )
        assert compiled[0] == pytest.approx(one[0], rel=1e-4)
        np.testing.assert_allclose(compiled[1], one[1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        layer.get_weights()[0], other.get_weights()[0], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_loss_and_the_histogram_in_float32(policy):
    embeddings, labels = batch(0)
    half = tf.cast(embeddings, policy.replace("mixed_", ""))
    keras.mixed_precision.set_global_policy(policy)
    layer = made()
    assert layer([half, labels], training=True).dtype == half.dtype
    found = triplets(tf.cast(half, tf.float64).numpy(), labels)
    histogram = moved(np.zeros(BINS + 1), found.values())
    np.testing.assert_allclose(layer.get_weights()[0], histogram, atol=1e-5)
    assert layer.losses[0].dtype == tf.float32
    expected = mean_loss(histogram, found)
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "labels", [np.arange(4), np.zeros(4, int), np.zeros(0, int)], ids=str
)
def test_without_a_triplet_nothing_happens(labels, run):
    layer = made()
    step(layer, run, *batch(0))
    (before,) = layer.get_weights()
    loss, gradient = step(layer, run, batch(1, rows=len(labels))[0], labels)
    assert loss == 0 and not np.any(gradient)
    np.testing.assert_array_equal(layer.get_weights()[0], before)


def test_equal_and_opposite_rows_are_at_the_ends(run):
    embeddings = np.float32([[1, 0], [-1, 0], [1, 0], [-1, 0]] + [[0, 1]] * 2)
    embeddings = np.pad(embeddings, [[0, 0], [0, DIM - 2]])
    layer = made()
    loss, gradient = step(layer, run, embeddings[:4], np.array([0, 0, 1, 1]))
    assert loss == pytest.approx(2) and np.isfinite(gradient).all()
    assert layer.get_weights()[0][-1] == pytest.approx(1)
    layer = made()
    loss, _ = step(layer, run, embeddings[[0, 2, 1]], np.array([0, 0, 1]))
    assert loss == pytest.approx(-2)
    assert layer.get_weights()[0][0] == pytest.approx(1)


def test_a_row_that_is_not_finite_says_so_and_is_in_no_triplet(run):
    embeddings, labels = batch(0)
    broken = np.concatenate([embeddings, np.full((1, DIM), np.nan, "float32")])
    layer, other = made(), made()
    loss, _ = step(layer, run, broken, np.append(labels, labels[0]))
    expected, _ = step(other, run, embeddings, labels)
    assert np.isnan(loss) and np.isfinite(expected)
    np.testing.assert_allclose(layer.get_weights()[0], other.get_weights()[0])


def test_ignored_rows_are_as_if_they_were_not_there(run):
    embeddings, labels = batch(0)
    more = np.concatenate([batch(5, rows=3)[0], embeddings])
    ignoring = miners.AllValidMiner(ignore_label=-1)
    layer, other = made(miner=ignoring), made(miner=miners.AllValidMiner())
    loss, gradient = step(layer, run, more, np.concatenate([[-1] * 3, labels]))
    expected, slope = step(other, run, embeddings, labels)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient[3:], slope, rtol=1e-4, atol=1e-6)
    assert not np.any(gradient[:3])
    np.testing.assert_allclose(
        layer.get_weights()[0], other.get_weights()[0], rtol=1e-5, atol=1e-7
    )
    copy = layers.DynamicSoftMargin.from_config(layer.get_config())
    assert copy.miner.ignore_label == -1 and copy.get_config() == layer.get_config()


def test_it_trains_and_is_saved_with_its_model(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4
    x = np.float32(rng.normal(size=(40, DIM)) + np.eye(DIM)[y])
    images, labels = keras.Input((DIM,)), keras.Input((), dtype="int64")
    embeddings = keras.layers.Dense(3)(images)
    outputs = layers.DynamicSoftMargin(name="margin")([embeddings, labels])
    model = keras.Model([images, labels], outputs)
    model.compile(keras.optimizers.Adam(0.03))

    def hardness():
        return np.mean(list(triplets(model.predict([x, y], verbose=0), y).values()))

    before = hardness()
    model.fit([x, y], batch_size=20, epochs=20, verbose=0)
    assert hardness() < before
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    (histogram,) = model.get_layer("margin").get_weights()
    assert histogram.any()
    np.testing.assert_array_equal(copy.get_layer("margin").get_weights()[0], histogram)


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"bins": 0}, "bins"),
        ({"momentum": 1.5}, "momentum"),
        ({"row_chunk": 0}, "row_chunk"),
    ],
)
def test_bad_arguments_get_a_sentence(settings, word):
    with pytest.raises(ValueError, match=f"`{word}` must be.*Received"):
        layers.DynamicSoftMargin(**settings)


def test_float_labels_are_refused():
    with pytest.raises(TypeError, match="Labels must be integers"):
        made()([batch(0)[0], np.ones(10, "float32")])
