"""N replicas are one replica: same loss, gradients, bank and state."""

import contracts
import numpy as np
import pytest
import tensorflow as tf
from contracts import DIM, SIZE, batch, built
from tensorflow import keras

from tfembed import compat, layers
from tfembed.ops import replicas

SAMPLES = contracts.frame_samples()


def small_model(maker):
    images = keras.Input((DIM,))
    ids = keras.Input((), dtype="int64")
    embeddings = keras.layers.Dense(DIM, kernel_initializer="orthogonal")(images)
    endpoint = maker()
    if hasattr(endpoint, "seed"):
        endpoint.seed = 3
    model = keras.Model([images, ids], endpoint([layers.UnitNorm()(embeddings), ids]))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
    return model


def batches(rows):
    """Three epochs' worth of batches of 8; the last one of 24 rows may be short."""
    rng = np.random.default_rng(5)
    images = rng.normal(size=(rows, DIM)).astype("float32")
    ids = rng.permutation(SIZE)[:rows]
    ids[1] = ids[0]  # twice in one batch, and on two replicas
    ids[6] = ids[2]
    data = tf.data.Dataset.from_tensor_slices((images, ids)).batch(8)
    return data.map(lambda x, i: ((x, i),))


@pytest.mark.parametrize(
    ("maker", "rows"),
    [
        pytest.param(
            *sample.values,
            rows,
            id=f"{sample.id}-{name}",
            marks=pytest.mark.slow if slowly else sample.marks,
        )
        for rows, name, slowly in [(23, "uneven", False), (24, "even", True)]
        for sample in SAMPLES
    ],
)
def test_two_replicas_train_as_one(maker, rows, strategy, tmp_path):
    single = small_model(maker)
    with strategy.scope():
        double = small_model(maker)
        double.set_weights(single.get_weights())
    one = single.fit(batches(rows), epochs=3, shuffle=False, verbose=0)
    two = double.fit(batches(rows), epochs=3, shuffle=False, verbose=0)
    for a, b in zip(single.weights, double.weights):
        copies = tf.nest.flatten(
            strategy.experimental_local_results(compat.variable(b))
        )
        assert len(copies) == 2
        for copy in copies:
            np.testing.assert_allclose(
                compat.variable(a).numpy(), copy.numpy(), rtol=1e-5, atol=2e-6
            )
    np.testing.assert_allclose(one.history["loss"], two.history["loss"], rtol=1e-5)
    double.save(tmp_path / "model.keras")  # and loaded without a strategy
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(double.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("maker", SAMPLES)
def test_a_replica_without_rows(maker, strategy):
    """Loss, gradient and state are those of one replica, which has them all."""
    embeddings, ids = batch()
    one = built(maker)
    with strategy.scope():
        two = built(maker)
    for each in (one, two):
        if hasattr(each, "seed"):
            each.seed = 3
    two.set_weights(one.get_weights())

    def place(array):
        parts = array, array[:0]
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def call(layer, embeddings, ids):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            layer([embeddings, ids], training=True)
            loss = tf.add_n(layer.losses)
        return loss, tape.gradient(loss, embeddings)

    @tf.function
    def step(embeddings, ids):
        return strategy.run(lambda *inputs: call(two, *inputs), (embeddings, ids))

    for _ in range(2):
        loss, gradient = call(one, tf.constant(embeddings), tf.constant(ids))
        losses, gradients = map(
            strategy.experimental_local_results, step(place(embeddings), place(ids))
        )
        # Keras divides by the number of replicas.
        np.testing.assert_allclose(sum(losses) / 2, loss, rtol=1e-5)
        np.testing.assert_allclose(gradients[0] / 2, gradient, rtol=1e-4, atol=1e-6)
        assert gradients[1].shape == (0, DIM)
        for a, b in zip(one.weights, two.weights):
            for copy in tf.nest.flatten(
                strategy.experimental_local_results(compat.variable(b))
            ):
                np.testing.assert_allclose(
                    compat.variable(a).numpy(), copy.numpy(), rtol=1e-5, atol=2e-6
                )


def test_an_id_out_of_range_on_one_replica_stops_both(strategy):
    with strategy.scope():
        model = small_model(lambda: layers.InstanceSoftmax(SIZE))
    before = model.get_weights()
    images = np.ones((8, DIM), "float32")
    ids = np.arange(8)
    ids[7] = SIZE
    data = tf.data.Dataset.from_tensors((images, ids)).map(lambda x, i: ((x, i),))
    # As a plain step: after a failed `fit` the collectives would not go on.
    bank = model.layers[-1].bank

    @tf.function
    def write(embeddings, ids):
        strategy.run(bank.write, args=(embeddings, ids))

    (part,) = strategy.experimental_distribute_dataset(data.unbatch().batch(8))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in"):
        write(*part[0])
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "bool", "int64"])
def test_gather_keeps_order_dtype_and_gradient(dtype, strategy):
    data = tf.data.Dataset.range(7).batch(7)
    (part,) = strategy.experimental_distribute_dataset(data)

    @tf.function
    def gathered(values):
        def each(values):
            values = tf.cast(values % 2 if dtype == "bool" else values, dtype)
            (everyone,) = replicas.gather(values)
            assert everyone.dtype == values.dtype
            first, rows = replicas.position(tf.shape(values)[0])
            return tf.cast(everyone, tf.float32), first, rows

        return strategy.run(each, args=(values,))

    everyone, first, rows = gathered(part)
    expected = np.arange(7) % 2 if dtype == "bool" else np.arange(7)
    for local in strategy.experimental_local_results(everyone):
        np.testing.assert_array_equal(local, expected)
    first = [int(each) for each in strategy.experimental_local_results(first)]
    assert first == [0, 4]
    assert [int(each) for each in strategy.experimental_local_results(rows)] == [7, 7]
