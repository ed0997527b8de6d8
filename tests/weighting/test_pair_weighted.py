"""A loss from weights: its gradient is theirs, whatever its value."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from weighting_forms import FORMS

import tfembed
from tfembed import weighting
from tfembed.miners import MultiSimilarityMiner
from tfembed.ops.pairs import Similarities
from tfembed.weighting import PairWeighted


@keras.utils.register_keras_serializable(package="tests")
def far_apart(pairs):
    """Positives that are far from their anchor weigh more."""
    return tf.nn.relu(1 - pairs.similarity)


@keras.utils.register_keras_serializable(package="tests")
def crowded(pairs):
    """Negatives weigh by their share of the anchor's."""
    lowest = tf.fill(tf.shape(pairs.similarity), pairs.similarity.dtype.min)
    return tf.nn.softmax(tf.where(pairs.negative, 4 * pairs.similarity, lowest))


def batch(seed=0, rows=12, dim=6, apart=0.8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, rows)
    return labels, rng.normal(size=(rows, dim)) + apart * np.eye(dim)[labels]


def value_and_gradient(loss, labels, x):
    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        rows = loss.per_row(labels, x)
        total = tf.reduce_mean(rows)
    return rows.numpy(), tape.gradient(total, x).numpy()


@pytest.mark.parametrize("mining", [None, MultiSimilarityMiner(0.1)])
def test_derivative_is_the_weight_functions(mining):
    labels, x = batch()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    s = unit @ unit.T
    loss = PairWeighted(far_apart, crowded, mining)
    found = weighting.pair_weights(loss, labels, Similarities(s)).numpy()
    expected = np.zeros_like(s)
    for i in range(12):
        p = [j for j in range(12) if labels[j] == labels[i] and j != i]
        n = [j for j in range(12) if labels[j] != labels[i]]
        if mining is not None:
            if not p or not n:
                continue
            p, n = (
                [j for j in p if s[i, j] < max(s[i, n]) + 0.1],
                [j for j in n if s[i, j] > min(s[i, p]) - 0.1],
            )
        for j in p:
            expected[i, j] = -max(1 - s[i, j], 0) / 12
        for j in n:
            all_n = sum(np.exp(4 * s[i, k]) for k in n)
            expected[i, j] = np.exp(4 * s[i, j]) / all_n / 12
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    value = np.sum(expected * s)
    assert np.mean(loss.per_row(labels, x)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_a_loss_and_its_closed_form_train_alike(name):
    loss, form = FORMS[name]
    for seed in range(3):
        labels, x = batch(seed)
        _, expected = value_and_gradient(loss, labels, x)
        for made in (PairWeighted(form), PairWeighted(form, row_chunk=5)):
            _, found = value_and_gradient(made, labels, x)
            np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)


def test_sides_of_two_forms():
    labels, x = batch()
    lifted, binomial = weighting.LiftedWeights(0.1), weighting.BinomialWeights()
    mixed = PairWeighted(lifted, binomial)
    found = weighting.pair_weights(mixed, labels, x).numpy()
    pull, push = lifted(labels, x).numpy(), binomial(labels, x).numpy()
    expected = np.where(labels[:, None] == labels, pull, push)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def samples():
    forms = {name: PairWeighted(form) for name, (_, form) in FORMS.items()}
    return {**forms, "functions": PairWeighted(far_apart, crowded)}


every = pytest.mark.parametrize("loss", samples().values(), ids=samples())


@pytest.mark.thin(2)
@every
def test_two_replicas_equal_one(loss, strategy):
    labels, x = batch(rows=10)
    x = np.float32(x)
    parts = [slice(0, 7), slice(7, 10)]

    def place(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[parts[context.replica_id_in_sync_group]])
        )

    def each(labels, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            rows = loss.per_row(labels, x)
            total = tf.reduce_sum(rows) / 10
        return rows, tape.gradient(total, x)

    results = tf.function(lambda *args: strategy.run(each, args))(
        place(labels), place(x)
    )
    expected = value_and_gradient(loss, labels, x)
    for found, one in zip(results, expected):
        found = np.concatenate(strategy.experimental_local_results(found))
        np.testing.assert_allclose(found, one, rtol=1e-4, atol=1e-5)


@pytest.mark.thin(2)
@every
def test_graph_and_xla_equal_eager(loss):
    labels, x = batch()
    x = np.float32(x)
    expected = loss.per_row(labels, x)
    for jit in (False, True):
        function = tf.function(loss.per_row, jit_compile=jit)
        found = function(tf.constant(labels), tf.constant(x))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.thin(3)
@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_degenerate_batches_are_finite(loss, dtype):
    x = np.ones((6, 4))
    for labels, rows in [
        (np.arange(6), x),
        (np.zeros(6, int), x),
        (np.zeros(1, int), x[:1]),
        (np.zeros(0, int), x[:0]),
        (np.array([0, 0, 1, 1, 2, 2]), 0 * x),
        (np.array([0, 0, 1, 1, 2, 2]), 1e4 * np.eye(6)[:, :4]),
    ]:
        values, gradient = value_and_gradient(loss, labels, tf.cast(rows, dtype))
        assert np.isfinite(values).all() and np.isfinite(np.float64(gradient)).all()
        if len(rows) < 2:
            assert not np.any(values) and not np.any(gradient)


@pytest.mark.thin(2)
@every
def test_config_and_saved_model(loss, tmp_path):
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is PairWeighted and copy.get_config() == loss.get_config()
    labels, x = batch()
    labels, x = np.int32(labels), np.float32(x)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    model.compile("sgd", loss=loss)
    model.fit(x, labels, batch_size=12, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tfembed.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.evaluate(x, labels, batch_size=12, verbose=0),
        model.evaluate(x, labels, batch_size=12, verbose=0),
        rtol=1e-5,
    )


def test_training_by_weights_separates_classes():
    labels, x = batch(rows=40, apart=2.0)
    x = np.float32(x)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.05), loss=PairWeighted(far_apart, crowded))

    def gap():
        y = model.predict(x, verbose=0)
        y /= np.linalg.norm(y, axis=1, keepdims=True)
        same = labels[:, None] == labels
        return (y @ y.T)[same].mean() - (y @ y.T)[~same].mean()

    before = gap()
    model.fit(x, labels, batch_size=40, epochs=20, verbose=0)
    assert gap() > before + 0.3


def test_what_is_no_weight_function_gets_a_sentence():
    with pytest.raises(ValueError, match="`negative_weight` must be given.*Received"):
        PairWeighted(far_apart)
    with pytest.raises(ValueError, match="`positive_weight` must be.*Received"):
        PairWeighted(1.0, crowded)
    with pytest.raises(ValueError, match="`negative_weight` must be.*Received"):
        PairWeighted(far_apart, 1.0)
