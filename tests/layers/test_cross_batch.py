"""Cross-batch losses against the loss's own oracle and a list of remembered rows."""

import collections
import functools

import contracts
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import tfembed
from tfembed import compat, layers, losses

DIM = 6
SIZE = 20
CONTRASTIVE = functools.partial(losses.Contrastive, margin=0.3, form="cosine")
UNMINED = functools.partial(losses.MultiSimilarity, epsilon=None, base=0.5, beta=10.0)
MAKERS = [
    pytest.param(CONTRASTIVE, id="contrastive"),
    pytest.param(UNMINED, id="multi_similarity"),
]


def oracle_of(make):
    """Each anchor's loss against given references, without its own row."""
    samples = contracts.LOSSES[type(make())]
    name = "cosine" if make is CONTRASTIVE else "unmined"
    (sample,) = [sample for sample in samples if sample.name == name]

    def oracle(labels, x, ref_labels, refs, own):
        return np.array(
            [
                sample.oracle(
                    labels[i : i + 1],
                    x[i : i + 1],
                    np.delete(ref_labels, own[i]),
                    np.delete(refs, own[i], axis=0),
                )[0]
                for i in range(len(x))
            ]
        )

    return oracle


def batch(rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, DIM)).astype("float32")
    return x, rng.integers(0, 4, rows)


@pytest.fixture(params=["eager", "graph"])
def stepper(request):
    """Makes `step(x, labels)` of a layer: its loss, and the loss's gradient."""

    def maker(layer, training=True, graph=request.param == "graph"):
        def function(x, labels):
            with tf.GradientTape() as tape:
                tape.watch(x)
                layer([x, labels], training=training)
                loss = tf.add_n(layer.losses)
            return loss, tape.gradient(loss, x)

        if graph:
            rows = tf.TensorSpec([None, DIM]), tf.TensorSpec([None], tf.int64)
            function = tf.function(function, input_signature=rows)
        return lambda x, labels: [
            each.numpy() for each in function(tf.constant(x), tf.constant(labels))
        ]

    return maker


@pytest.mark.thin(3)
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("warmup", [0, 2])
def test_loss_over_steps_equals_the_formula(make, warmup, stepper):
    layer = layers.CrossBatch(make(), SIZE, warmup_steps=warmup)
    train, ask = stepper(layer), stepper(layer, training=False)
    oracle, memory = oracle_of(make), collections.deque(maxlen=SIZE)
    for number, rows in enumerate([5, 7, 3, 9, 30, 8, 1]):
        x, labels = batch(rows, number)
        room = max(SIZE - rows, 0)
        old = list(memory)[len(memory) - min(len(memory), room) :]
        if number < warmup:
            old = []
        refs = np.concatenate([x, *[r[None] for _, r in old]])
        ref_labels = np.concatenate([labels, [label for label, _ in old]]).astype(int)
        expected = oracle(labels, x, ref_labels, refs, np.arange(rows)).mean()
        asked, _ = ask(x, labels)
        assert asked == pytest.approx(expected, rel=2e-4, abs=1e-6)
        loss, _ = train(x, labels)
        assert loss == pytest.approx(expected, rel=2e-4, abs=1e-6)
        memory.extend(zip(labels, x))
        remembered, _ = layer.queue.read()
        count = min(len(memory), SIZE)
        assert np.sum(remembered.numpy() != tf.int64.min) == count


@pytest.mark.parametrize("make", MAKERS)
def test_gradient_takes_memory_as_constant(make, stepper):
    x, labels = batch(6, 0)
    old, old_labels = batch(5, 1)
    for batch_gradient in (False, True):
        layer = layers.CrossBatch(make(), SIZE, batch_gradient=batch_gradient)
        layer.build([(None, DIM), (None,)])
        layer.queue.fill(old, old_labels)
        _, gradient = stepper(layer)(x, labels)
        oracle = oracle_of(make)

        def mean_loss(y):
            batch_refs = y if batch_gradient else np.float64(x)  # noqa: B023
            refs = np.concatenate([batch_refs, old])
            ref_labels = np.concatenate([labels, old_labels])
            return oracle(labels, y, ref_labels, refs, np.arange(6)).mean()  # noqa: B023

        numeric = np.zeros((6, DIM))
        for index in np.ndindex(6, DIM):
            shift = np.zeros((6, DIM))
            shift[index] = 1e-5
            numeric[index] = (mean_loss(x + shift) - mean_loss(x - shift)) / 2e-5
        np.testing.assert_allclose(gradient, numeric, rtol=5e-3, atol=2e-4)


REFERENCING = [
    pytest.param(samples[0], id=loss.__name__)
    for loss, samples in contracts.LOSSES.items()
    if samples[0].references and not samples[0].similarities
]


@pytest.mark.parametrize("sample", REFERENCING)
@pytest.mark.parametrize(
    "stepper",
    ["eager", pytest.param("graph", marks=pytest.mark.slow)],
    indirect=True,
)
def test_every_loss_with_an_empty_queue_is_the_loss_of_the_batch(sample, stepper):
    rng = np.random.default_rng(7)
    x = np.float32(rng.normal(size=(10, DIM)))
    labels = rng.permutation(np.repeat(np.arange(5), 2))
    loss = sample.make()
    layer = layers.CrossBatch(loss, 64, batch_gradient=True)
    step = stepper(layer)
    found, gradient = step(x, labels)

    def mean(y):
        return tf.reduce_mean(loss.per_row(labels, y))

    with tf.GradientTape() as tape:
        y = tf.constant(x)
        tape.watch(y)
        expected = mean(y)
    assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(
        gradient, tape.gradient(expected, y), rtol=1e-3, atol=1e-5
    )
    x, labels = batch(10, 8)
    found, gradient = step(x, labels)
    assert np.isfinite(found) and np.isfinite(gradient).all()


def small_model(warmup=0, size=SIZE):
    images = keras.Input((DIM,))
    labels = keras.Input((), dtype="int64")
    embeddings = keras.layers.Dense(DIM, kernel_initializer="orthogonal")(images)
    endpoint = layers.CrossBatch(UNMINED(), size, warmup, batch_gradient=True)
    model = keras.Model([images, labels], endpoint([embeddings, labels]))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
    return model


def data(rows=24, seed=5):
    x, labels = batch(rows, seed)
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(8)
    return dataset.map(lambda x, y: ((x, y),))


def queue_of(model):
    return model.layers[-1].queue


@pytest.mark.parametrize(
    "rows",
    [23, pytest.param(24, marks=pytest.mark.slow)],
    ids=["uneven", "even"],
)
def test_two_replicas_train_as_one(rows, strategy):
    single = small_model(warmup=1)
    with strategy.scope():
        double = small_model(warmup=1)
        double.set_weights(single.get_weights())
    one = single.fit(data(rows), epochs=3, shuffle=False, verbose=0)
    two = double.fit(data(rows), epochs=3, shuffle=False, verbose=0)
    for a, b in zip(single.weights, double.weights):
        copies = strategy.experimental_local_results(compat.variable(b))
        assert len(copies) == 2
        for copy in copies:
            np.testing.assert_allclose(
                compat.variable(a).numpy(), copy.numpy(), rtol=1e-4, atol=5e-6
            )
    np.testing.assert_allclose(one.history["loss"], two.history["loss"], rtol=1e-5)


def test_evaluate_and_predict_change_nothing():
    model = small_model()
    model.fit(data(), verbose=0)
    before = model.get_weights()
    model.evaluate(data(seed=6), verbose=0)
    model.predict(data(seed=6), verbose=0)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert compat.number(queue_of(model).steps) == 3


@pytest.mark.thin(3)
@pytest.mark.parametrize("way", [".keras", ".weights.h5", "checkpoint"])
def test_a_resumed_run_ends_as_one_that_never_stopped(way, tmp_path):
    model = small_model()
    model.fit(data(), verbose=0)
    if way == ".keras":
        model.save(tmp_path / "model.keras")
        resumed = tfembed.load_model(tmp_path / "model.keras")
    else:
        resumed = small_model()
        resumed.fit(data(seed=9), verbose=0)
        if way == "checkpoint":
            state = {"model": model, "optimizer": model.optimizer}
            path = tf.train.Checkpoint(**state).write(str(tmp_path / "checkpoint"))
            state = {"model": resumed, "optimizer": resumed.optimizer}
            tf.train.Checkpoint(**state).read(path).assert_consumed()
        else:
            model.save_weights(tmp_path / f"model{way}")
            resumed.load_weights(tmp_path / f"model{way}")
    for old, new in zip(model.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert len(queue_of(resumed).get_weights()) == 4
    if way != ".weights.h5":  # which leave the optimizer out
        ends = [
            each.fit(data(seed=6), verbose=0).history["loss"]
            for each in (model, resumed)
        ]
        np.testing.assert_allclose(*ends, rtol=1e-6)
        for old, new in zip(model.get_weights(), resumed.get_weights()):
            np.testing.assert_allclose(old, new, atol=1e-6)


def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = small_model()
    history = model.fit(data(), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert queue_of(model).read()[1].embeddings.dtype == tf.float32


def test_a_step_does_not_retrace_while_the_queue_fills():
    layer = layers.CrossBatch(UNMINED(), 12)
    layer.build([(None, DIM), (None,)])
    traces = []

    @tf.function
    def step(x, labels):
        traces.append(1)
        layer([x, labels], training=True)
        return tf.add_n(layer.losses)

    for number in range(6):
        step(*map(tf.constant, batch(5, number)))
    assert len(traces) == 1


def test_memory_holds_string_labels():
    x, labels = batch(6, 0)
    names = np.array([f"class {label}" for label in labels])
    ends = []
    for each in (names, labels):
        layer = layers.CrossBatch(UNMINED(), 12)
        for _ in range(2):
            layer([tf.constant(x), tf.constant(each)], training=True)
            loss = float(layer.losses[0])
        ends.append(loss)
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_what_it_cannot_take_gets_a_sentence():
    with pytest.raises(TypeError, match="`loss` must be a loss of `tfembed.losses`"):
        layers.CrossBatch("mse", 8)
    with pytest.raises(ValueError, match="`size` must be"):
        layers.CrossBatch(UNMINED(), 0)
    with pytest.raises(ValueError, match="`warmup_steps` must be"):
        layers.CrossBatch(UNMINED(), 8, warmup_steps=-1)
    layer = layers.CrossBatch(UNMINED(), 8)
    with pytest.raises(TypeError, match="labels of dtype float32"):
        layer([np.ones((2, 3), "float32"), np.ones(2, "float32")])
    with pytest.raises(TypeError, match="labels of dtype float32"):
        layers.CrossBatch(UNMINED(), 8)([keras.Input((3,)), keras.Input(())])
    with pytest.raises(ValueError, match="must be `\\[embeddings, labels\\]`"):
        layers.CrossBatch(UNMINED(), 8).build([(None, None), (None,)])


def test_an_empty_batch_has_no_loss():
    layer = layers.CrossBatch(UNMINED(), 8)
    layer([np.zeros((0, 3), "float32"), np.zeros(0, "int64")], training=True)
    assert float(layer.losses[0]) == 0.0


@pytest.mark.parametrize(
    "loss",
    [loss for loss in contracts.LOSSES if contracts.LOSSES[loss][0].similarities],
)
def test_a_loss_of_proxies_gets_a_sentence(loss):
    with pytest.raises(
        ValueError, match="`loss` must take references.*Received: loss="
    ):
        layers.CrossBatch(loss(), size=8)


@pytest.mark.parametrize(
    "loss",
    [
        loss
        for loss, samples in contracts.LOSSES.items()
        if not samples[0].references and not samples[0].similarities
    ],
)
def test_a_loss_of_a_closed_set_gets_a_sentence(loss):
    layer = layers.CrossBatch(contracts.LOSSES[loss][0].make(), size=8)
    with pytest.raises(ValueError, match="takes no references.*Received"):
        layer([np.float32(np.eye(4)), np.array([0, 0, 1, 1])])
