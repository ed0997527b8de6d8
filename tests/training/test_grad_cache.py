"""Chunked training against the plain model: same losses, same weights."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import tfembed
from tfembed import compat, layers, losses
from tfembed.training import GradCacheModel

DIM = 6
LOSSES = {
    "multi_similarity": lambda: losses.MultiSimilarity(base=0.5, beta=10.0),
    "contrastive": lambda: losses.Contrastive(form="survey", margin=2.0),
}


def encoder_of(dropout=0.0, normalize=False, activity=None):
    keras.utils.set_random_seed(1)
    parts = [
        keras.layers.Dense(9, activation="tanh", kernel_regularizer="l2"),
        keras.layers.BatchNormalization() if normalize else None,
        keras.layers.Dropout(dropout, seed=3) if dropout else None,
        keras.layers.Dense(4, activity_regularizer=activity),
    ]
    inputs = outputs = keras.Input((DIM,))
    for part in parts:
        outputs = outputs if part is None else part(outputs)
    return keras.Model(inputs, outputs)


def data(rows=44, batch=16):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, DIM)).astype("float32")
    labels = rng.integers(0, 4, rows)
    return tf.data.Dataset.from_tensor_slices((x, labels)).batch(batch)


def compiled(model, loss="multi_similarity", **kwargs):
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), LOSSES[loss](), **kwargs)
    return model


def assert_same_training(plain, chunked, batches, rtol=1e-4, atol=1e-6):
    chunked_encoder = chunked.encoder
    chunked_encoder.set_weights(plain.get_weights())
    one = plain.fit(batches, epochs=3, shuffle=False, verbose=0).history["loss"]
    two = chunked.fit(batches, epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(one, two, rtol=rtol)
    assert len(plain.weights) == len(chunked_encoder.weights)
    for a, b in zip(plain.get_weights(), chunked_encoder.get_weights()):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.thin(2)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("chunk", [5, 8, 64])
def test_trains_as_the_plain_model(loss, chunk):
    assert_same_training(
        compiled(encoder_of(), loss),
        compiled(GradCacheModel(encoder_of(), chunk), loss),
        data(),
    )


def test_trains_as_the_plain_model_eagerly():
    assert_same_training(
        compiled(encoder_of(), run_eagerly=True),
        compiled(GradCacheModel(encoder_of(), 5), run_eagerly=True),
        data(),
    )


@pytest.mark.parametrize(
    "rows", [pytest.param(48, marks=pytest.mark.slow), 45], ids=["even", "uneven"]
)
def test_two_replicas_train_as_the_plain_model(rows, strategy):
    plain = compiled(encoder_of(), jit_compile=False)
    with strategy.scope():
        chunked = compiled(GradCacheModel(encoder_of(), 3), jit_compile=False)
        chunked.encoder.set_weights(plain.get_weights())
    batches = data(rows)
    one = plain.fit(batches, epochs=3, shuffle=False, verbose=0).history["loss"]
    two = chunked.fit(batches, epochs=3, shuffle=False, verbose=0).history["loss"]
    for a, b in zip(plain.get_weights(), chunked.encoder.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)
    if rows == 48:
        np.testing.assert_allclose(one, two, rtol=1e-4)


@pytest.mark.thin(2)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_as_the_plain_model(policy):
    keras.mixed_precision.set_global_policy(policy)
    assert_same_training(
        compiled(encoder_of()),
        compiled(GradCacheModel(encoder_of(), 5)),
        data(),
        rtol=3e-2,
        atol=3e-3,
    )


@pytest.mark.slow
def test_activity_losses_count_once():
    activity = functools.partial(keras.regularizers.L2, 0.1)
    assert_same_training(
        compiled(encoder_of(activity=activity())),
        compiled(GradCacheModel(encoder_of(activity=activity()), 8)),
        data(48),
    )


@pytest.mark.slow
def test_frozen_batch_normalisation_is_exact():
    models = [encoder_of(normalize=True) for _ in range(2)]
    for model in models:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    plain, chunked = compiled(models[0]), compiled(GradCacheModel(models[1], 5))
    assert_same_training(plain, chunked, data())


def step(model, x, labels):
    """The loss and its gradient in training, and the embeddings."""
    loss = LOSSES["multi_similarity"]()

    @tf.function
    def function(x, labels):
        with tf.GradientTape() as tape:
            embeddings = model(x, training=True)
            value = loss(labels, embeddings)
        variables = [compat.variable(each) for each in model.trainable_weights]
        return embeddings, tape.gradient(value, variables)

    return function(x, labels)


def test_dropout_drops_the_same_in_both_passes():
    """Directional derivatives, with the draws held, tell the gradient."""
    encoder = encoder_of(dropout=0.5)
    model = GradCacheModel(encoder, 5)
    x, labels = next(iter(data()))
    loss = LOSSES["multi_similarity"]()
    state = [compat.variable(each) for each in compat.moving_state(encoder)]
    assert state
    held = [each.numpy() for each in state]

    def put_back():
        for variable, value in zip(state, held):
            variable.assign(value)

    embeddings, gradients = step(model, x, labels)
    assert any(np.any(a.numpy() != b) for a, b in zip(state, held))
    kernel = compat.variable(model.trainable_weights[0])
    direction = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
    values = []
    for sign in (1, -1):
        kernel.assign_add(sign * 1e-3 * direction)
        put_back()
        values.append(float(loss(labels, model(x, training=True))))
        kernel.assign_add(-sign * 1e-3 * direction)
    slope = (values[0] - values[1]) / 2e-3
    assert slope == pytest.approx(float(np.sum(gradients[0] * direction)), rel=2e-2)
    put_back()
    np.testing.assert_allclose(model(x, training=True), embeddings, atol=1e-6)
    assert np.abs(model(x, training=True) - embeddings).max() > 1e-3  # new draws


def test_moving_averages_move_once_a_chunk():
    model = GradCacheModel(encoder_of(normalize=True), 4)
    x, labels = next(iter(data()))
    (layer,) = [
        each
        for each in model.encoder.layers
        if isinstance(each, keras.layers.BatchNormalization)
    ]
    before = [np.array(each) for each in layer.get_weights()]
    dense = model.encoder.layers[1]
    hidden = dense(x).numpy()
    mean = before[2]
    for i in range(4):
        mean = 0.99 * mean + 0.01 * hidden[4 * i : 4 * i + 4].mean(0)
    step(model, x, labels)
    np.testing.assert_allclose(layer.get_weights()[2], mean, atol=1e-6)


def test_as_a_part_of_another_model(strategy):
    def model():
        images, labels = keras.Input((DIM,)), keras.Input((), dtype="int64")
        embeddings = GradCacheModel(encoder_of(), 5)(images)
        endpoint = layers.CrossBatch(LOSSES["multi_similarity"](), 20)
        whole = keras.Model([images, labels], endpoint([embeddings, labels]))
        whole.compile("sgd", jit_compile=False)
        return whole

    batches = data(48).map(lambda x, y: ((x, y),))
    single = model()
    with strategy.scope():
        double = model()
        double.set_weights(single.get_weights())
    one = single.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]
    two = double.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(one, two, rtol=1e-4)
    for a, b in zip(single.get_weights(), double.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_saved_and_loaded(tmp_path):
    model = compiled(GradCacheModel(encoder_of(dropout=0.2), 5))
    model.fit(data(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tfembed.load_model(tmp_path / "model.keras")
    x, _ = next(iter(data()))
    assert loaded.chunk_size == 5
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), model.encoder(x), atol=1e-6)
    loaded.fit(data(), verbose=0)


def test_memory_is_that_of_a_chunk():
    """The largest tensor that a step makes does not grow with the batch."""
    wide = keras.Sequential([keras.Input((4,)), keras.layers.Dense(512, "relu")])
    wide.add(keras.layers.Dense(2))
    model = GradCacheModel(wide, 8)

    @tf.function
    def gradient(x, labels):
        with tf.GradientTape() as tape:
            value = LOSSES["multi_similarity"]()(labels, model(x, training=True))
        return tape.gradient(value, compat.variable(model.trainable_weights[0]))

    graph = gradient.get_concrete_function(
        tf.TensorSpec([64, 4]), tf.TensorSpec([64], tf.int64)
    ).graph
    found = [
        tensor.shape
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.rank == 2
    ]
    assert found and not any(512 in shape and 64 in shape for shape in found)
    assert {"While", "StatelessWhile"} & {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("chunk", [0, 1.5, -3])
def test_bad_chunks_get_a_sentence(chunk):
    with pytest.raises(ValueError, match="`chunk_size` must be.*Received"):
        GradCacheModel(encoder_of(), chunk)


def test_an_encoder_that_is_not_built_gets_a_sentence():
    for encoder in (keras.Sequential([keras.layers.Dense(3)]), "encoder"):
        with pytest.raises(ValueError, match="`encoder` must be a functional"):
            GradCacheModel(encoder, 4)
