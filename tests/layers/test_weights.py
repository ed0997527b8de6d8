"""Weights of rows, the third input of every layer that adds its loss."""

import contracts
import numpy as np
import pytest
import tensorflow as tf
from contracts import DIM, built
from tensorflow import keras

from tfembed import compat, layers

every = pytest.mark.parametrize(
    "maker",
    [
        pytest.param(makers[0], id=layer.__name__)
        for layer, makers in {
            **contracts.ENDPOINTS,
            **{
                layer: contracts.LABEL_ENDPOINTS[layer]
                for layer in (layers.CrossBatch, layers.DynamicSoftMargin)
            },
        }.items()
    ],
)
ROWS = 9
WEIGHTS = np.float32(np.random.default_rng(0).uniform(size=ROWS))
WEIGHTS[4] = 0


def test_every_layer_that_adds_its_loss_is_here():
    adding = {
        layer
        for layer in [getattr(layers, name) for name in layers.__all__]
        if issubclass(layer, compat.ReplicaLosses)
    } - {layers.Proxies}  # which adds what its own weights cost, and not its rows
    assert adding == {
        *contracts.ENDPOINTS,
        layers.CrossBatch,
        layers.DynamicSoftMargin,
    }


def seeded(maker):
    """A layer, built, with the same weights and the same draws each time."""
    keras.utils.set_random_seed(0)
    layer = built(maker)
    if hasattr(layer, "seed"):
        layer.seed = 3
    return layer


def call(layer, *inputs):
    """A training call: its loss, and the gradients of embeddings and weights."""
    embeddings = inputs[0]
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        layer(list(inputs), training=True)
        loss = tf.add_n(layer.losses)
    trained = [compat.variable(weight) for weight in layer.trainable_weights]
    return loss, tape.gradient(
        loss,
        [embeddings, *trained],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


def tensors(*more):
    return [tf.constant(each) for each in (*contracts.batch(ROWS), *more)]


class _GivenRows(keras.losses.Loss):
    """What Keras makes of losses of rows that are known."""

    def call(self, y_true, y_pred):
        del y_true
        return y_pred


@pytest.mark.thin(3)
@every
def test_they_weigh_as_keras_sample_weights_do(maker):
    def added(weights=None):
        more = [] if weights is None else [np.float32(weights)]
        return float(call(seeded(maker), *tensors(*more))[0])

    rows = [ROWS * added(np.arange(ROWS) == i) for i in range(ROWS)]
    np.testing.assert_allclose(added(), np.mean(rows), rtol=1e-4)
    keras_says = _GivenRows()(
        np.zeros(ROWS, "float32"), np.float32(rows), sample_weight=WEIGHTS
    )
    np.testing.assert_allclose(added(WEIGHTS), keras_says, rtol=1e-4)


@pytest.mark.thin(3)
@every
def test_nothing_of_weight_0_is_learned_and_all_is_remembered(maker):
    plain, weighted = seeded(maker), seeded(maker)
    call(plain, *tensors())
    loss, gradients = call(weighted, *tensors(np.zeros(ROWS, "float32")))
    assert float(loss) == 0
    for gradient in gradients:
        assert not np.any(tf.convert_to_tensor(gradient))
    for one, other in zip(plain.get_weights(), weighted.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thin(3)
@every
def test_two_replicas_equal_one(maker, strategy):
    one = seeded(maker)
    with strategy.scope():
        two = seeded(maker)
    two.set_weights(one.get_weights())
    loss, gradients = call(one, *tensors(WEIGHTS))
    parts = [slice(0, 5), slice(5, None)]

    def place(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: array[parts[context.replica_id_in_sync_group]]
        )

    @tf.function
    def step(*inputs):
        return strategy.run(lambda *inputs: call(two, *inputs), inputs)

    losses, slopes = step(*[place(each) for each in tensors(WEIGHTS)])
    # Keras divides by the number of replicas, and sums the gradients.
    local = strategy.experimental_local_results
    np.testing.assert_allclose(np.mean(local(losses)), loss, rtol=1e-5)
    parts = [np.asarray(part) / 2 for part in local(slopes[0])]
    np.testing.assert_allclose(
        np.concatenate(parts), gradients[0], rtol=1e-4, atol=1e-6
    )
    for found, right in zip(slopes[1:], gradients[1:]):
        summed = sum(np.asarray(tf.convert_to_tensor(each)) for each in local(found))
        np.testing.assert_allclose(
            summed / 2, tf.convert_to_tensor(right), rtol=1e-4, atol=1e-6
        )
    for a, b in zip(one.weights, two.weights):
        for copy in tf.nest.flatten(local(compat.variable(b))):
            np.testing.assert_allclose(
                compat.variable(a).numpy(), copy.numpy(), rtol=1e-5, atol=2e-6
            )


def test_fit_takes_them_as_an_input_and_hands_sample_weight_to_no_layer():
    images, ids = keras.Input((DIM,)), keras.Input((), dtype="int64")
    weights = keras.Input(())

    def trained(inputs, values, **options):
        keras.utils.set_random_seed(0)
        dense = keras.layers.Dense(DIM, kernel_initializer="orthogonal")
        embeddings = layers.UnitNorm()(dense(images))
        endpoint = layers.InstanceSoftmax(contracts.SIZE, temperature=0.2, seed=3)
        model = keras.Model(inputs, endpoint([embeddings, *inputs[1:]]))
        model.compile("sgd")
        start = dense.get_weights()
        model.fit(values, batch_size=ROWS, verbose=0, **options)
        return any(np.any(a != b) for a, b in zip(start, dense.get_weights()))

    nothing = np.zeros(ROWS, "float32")
    x, i = contracts.batch(ROWS)
    assert not trained([images, ids, weights], [x, i, nothing])
    # Keras says nothing of it, and no layer sees it: docs/losses.md does.
    assert trained([images, ids], [x, i], sample_weight=nothing)
