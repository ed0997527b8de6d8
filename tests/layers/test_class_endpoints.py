"""Centers, Margin, ProxySoftmax and Mahalanobis: what is theirs alone."""

import contracts
import numpy as np
import oracles
import pytest
import tensorflow as tf
from contracts import DIM, SIZE
from tensorflow import keras

from tfembed import compat, layers, losses, miners
from tfembed.ops.streamed_softmax import trained_softmax


def call(layer, embeddings, labels, weights=()):
    """One training call: its loss, and the gradients of embeddings and weights."""
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        layer([embeddings, labels], training=True)
        loss = tf.add_n(layer.losses)
    return float(loss), tape.gradient(loss, [embeddings, *weights])


def endpoint(maker):
    return contracts.built(maker)


def test_centers_move_by_the_paper_s_rule(run):
    layer = endpoint(lambda: layers.Centers(SIZE, rate=0.3, initializer="normal"))
    embeddings, labels = contracts.batch()
    before = layer.get_weights()[0]

    def step(embeddings):
        layer([embeddings, labels], training=True)
        return tf.add_n(layer.losses)

    run(step, tf.constant(embeddings))
    after = layer.get_weights()[0]
    expected = oracles.moved_centers(before, embeddings, labels, 0.3)
    np.testing.assert_allclose(after, expected, atol=1e-6)
    others = np.setdiff1d(np.arange(SIZE), labels)
    np.testing.assert_array_equal(after[others], before[others])
    assert not layer.trainable_weights


def test_an_embedding_that_is_not_finite_moves_no_centre():
    layer = endpoint(lambda: layers.Centers(SIZE))
    embeddings, labels = contracts.batch()
    embeddings[4] = np.nan
    layer([embeddings, labels], training=True)
    assert np.isfinite(layer.get_weights()[0]).all()


def test_centers_by_the_optimizer_have_a_gradient_of_their_own_rate():
    layer = endpoint(
        lambda: layers.Centers(
            SIZE, weight=0.2, rate=0.7, update="gradient", initializer="normal"
        )
    )
    embeddings, labels = contracts.batch()
    centers = layer.get_weights()[0]
    variable = compat.variable(layer.centers)
    loss, (to_embeddings, to_centers) = call(layer, embeddings, labels, [variable])
    x, rows = np.float64(embeddings), len(labels)
    assert loss == pytest.approx(
        oracles.center_losses(x, centers, labels, 0.2).mean(), rel=1e-5
    )
    pulled = np.zeros_like(centers)
    for row, y in zip(x, labels):
        pulled[y] += 0.7 * (centers[y] - row) / rows
    np.testing.assert_allclose(tf.convert_to_tensor(to_centers), pulled, atol=1e-6)
    np.testing.assert_allclose(
        to_embeddings, 0.2 * (x - centers[labels]) / rows, atol=1e-6
    )
    np.testing.assert_array_equal(layer.get_weights()[0], centers)


def test_center_loss_draws_classes_together_beside_a_classifier():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = np.float32(rng.normal(size=(60, 4)) + 2 * np.eye(4)[y])

    def spread(weight):
        keras.utils.set_random_seed(1)
        images, labels = keras.Input((4,)), keras.Input((), dtype="int64")
        embeddings = keras.layers.Dense(2)(images)
        outputs = layers.Centers(3, weight=weight, name="centers")([embeddings, labels])
        logits = keras.layers.Dense(3, name="logits")(outputs)
        model = keras.Model([images, labels], {"centers": outputs, "logits": logits})
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.02), loss={"logits": loss})
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
        model.fit(data.map(lambda x, y: ((x, y), {"logits": y})), epochs=30, verbose=0)
        found = model.predict([x, y], verbose=0)
        accuracy = np.mean(found["logits"].argmax(1) == y)
        own = np.stack([found["centers"][y == c] for c in range(3)])
        return accuracy, own.std(axis=1).mean()

    without, together = spread(0.0), spread(0.5)
    assert without[0] > 0.8 and together[0] > 0.8
    assert together[1] < 0.7 * without[1]


@pytest.mark.parametrize("classes", [None, SIZE])
@pytest.mark.parametrize("mean", ["pairs", "active"])
def test_the_boundary_of_the_margin_is_trained(classes, mean):
    layer = endpoint(
        lambda: layers.Margin(
            classes, margin=0.1, beta=1.1, beta_weight=0.05, mean=mean
        )
    )
    embeddings, labels = contracts.batch()
    variable = compat.variable(layer.boundaries)
    start = layer.get_weights()[0]
    loss, (_, gradient) = call(layer, embeddings, labels, [variable])

    def expected(boundaries):
        beta = boundaries[labels] if classes else np.full(len(labels), boundaries[0])
        return oracles.margin_losses(
            embeddings, beta, labels, 0.1, 0.05, mean == "active", False
        ).mean()

    assert loss == pytest.approx(expected(start), rel=1e-5)
    np.testing.assert_allclose(
        tf.convert_to_tensor(gradient),
        oracles.numeric_gradient(expected, start.astype("float64")),
        atol=1e-5,
    )


def test_margin_without_a_pair_is_zero_and_takes_a_miner():
    embeddings, labels = contracts.batch()
    alone = endpoint(lambda: layers.Margin())
    loss, (gradient,) = call(alone, embeddings[:1], labels[:1])
    assert loss == 0 and not np.any(gradient)
    miner = miners.MultiSimilarityMiner(0.1)
    mined = endpoint(lambda: layers.Margin(miner=miner, normalize=True))
    copy = layers.Margin.from_config(mined.get_config())
    assert copy.miner.get_config() == miner.get_config()
    few, _ = call(mined, embeddings, labels)
    every, _ = call(endpoint(lambda: layers.Margin(normalize=True)), embeddings, labels)
    assert np.isfinite(few) and few != pytest.approx(every)


FORMS = {
    "norm_softmax": losses.NormSoftmax(0.1),
    "cosface": losses.CosFace(10.0),
    "arcface": losses.ArcFace(10.0),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sharp", [1.0, 10.0])
def test_proxy_softmax_is_proxies_and_the_loss(form, sharp):
    """Value and all gradients, also where the own class has all the probability."""
    streamed = endpoint(lambda: layers.ProxySoftmax(SIZE, form, 0.1 / sharp))
    plain = layers.Proxies(SIZE)
    embeddings, labels = contracts.batch(unit=False)
    plain.build(embeddings.shape)
    embeddings[1] = 0
    proxies = np.random.default_rng(2).normal(size=(SIZE, DIM))
    proxies[3] = 0
    near = np.random.default_rng(3).normal(size=(3, DIM)) * 0.1
    embeddings[4:6] = 3 * (proxies[labels[4:6]] + near[:2])  # at their own proxy
    embeddings[6] = -2 * (proxies[labels[6]] + near[2])  # opposite to it
    plain.set_weights([proxies])
    streamed.set_weights([proxies])
    weight = compat.variable(streamed.proxies)
    loss, found = call(streamed, embeddings, labels, [weight])
    config = FORMS[form].get_config()
    scaled = {
        "scale": {"scale": 10.0 * sharp},
        "temperature": {"temperature": 0.1 / sharp},
    }["scale" if "scale" in config else "temperature"]
    same = type(FORMS[form])(**scaled)
    inputs = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_mean(same.per_row(labels, plain(inputs)))
    weight = compat.variable(plain.proxies)
    expected = tape.gradient(total, [inputs, weight])
    assert loss == pytest.approx(float(total), rel=1e-5)
    for a, b in zip(found, expected):
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_proxy_softmax_at_and_opposite_to_a_proxy_is_finite(form):
    layer = endpoint(lambda: layers.ProxySoftmax(SIZE, form, 1 / 64))
    proxies, labels = layer.get_weights()[0], np.array([3, 5])
    embeddings = proxies[labels] * np.float32([[3.0], [-2.0]])
    weight = compat.variable(layer.proxies)
    loss, gradients = call(layer, embeddings, labels, [weight])
    assert np.isfinite(loss)
    for gradient in gradients:
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


@pytest.mark.parametrize("chunk", [1, 7, 24, 64])
def test_chunks_change_nothing(chunk):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(9, DIM)), tf.float32)
    weights = tf.constant(rng.normal(size=(SIZE, DIM)), tf.float32)
    labels = tf.constant([0, 23, 0, 7, 6, 8, 13, 14, 20])

    def both(chunk):
        with tf.GradientTape() as tape:
            tape.watch([x, weights])
            rows = trained_softmax(
                x, weights, labels, 0.1, chunk, unit=True, own=lambda s: 0.8 * s - 0.3
            )
        return rows, *tape.gradient(rows, [x, weights])

    for a, b in zip(both(chunk), both(4096)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def largest_output(function, *arguments):
    """Returns the most elements that an operation gives, in loops and gradients too."""
    from tensorflow.python.framework import op_callbacks

    sizes = []

    def remember(op_type, inputs, attrs, outputs, op_name=None, graph=None):
        for output in outputs:
            if isinstance(output, tf.Tensor) and output.dtype.is_floating:
                sizes.append(int(np.prod(output.shape)))

    op_callbacks.add_op_callback(remember)
    try:
        function(*arguments)  # eagerly: loops are Python's, and shapes are known
    finally:
        op_callbacks.clear_op_callbacks()
    return max(sizes)


def test_no_batch_by_classes_tensor_is_made():
    classes, rows = 10_000, 6
    layer = layers.ProxySoftmax(classes, "arcface")
    layer.build([(rows, 4), (rows,)])
    embeddings = tf.random.stateless_normal([rows, 4], [1, 2])
    proxies = compat.variable(layer.proxies)

    def step():
        with tf.GradientTape() as tape:
            layer([embeddings, tf.range(rows, dtype=tf.int64)])
            loss = tf.add_n(layer.losses)
        return tape.gradient(loss, proxies)

    def plain():
        return tf.matmul(embeddings, proxies, transpose_b=True)

    assert largest_output(plain) == classes * rows
    assert largest_output(step) < classes * rows


@pytest.mark.parametrize("rank", [None, 3, DIM])
def test_mahalanobis_is_a_metric_of_its_rank(rank, rng):
    layer = layers.Mahalanobis(rank)
    x = np.float32(rng.normal(size=(6, DIM)))
    mapped = layer(x).numpy()
    metric = layer.metric.numpy()
    for i in range(6):
        for j in range(6):
            difference = x[i] - x[j]
            expected = difference @ metric @ difference
            found = np.sum((mapped[i] - mapped[j]) ** 2)
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    eigenvalues = np.linalg.eigvalsh(np.float64(metric))
    assert (eigenvalues > -1e-6).all()
    assert np.sum(eigenvalues > 1e-6) == (rank or DIM)
    if rank != 3:  # it starts as the Euclidean metric
        np.testing.assert_allclose(metric, np.eye(DIM), atol=1e-5)


def test_mahalanobis_learns_which_feature_counts():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 4
    x = rng.normal(size=(64, 5))
    x[:, 0] = 0.5 * labels + 0.05 * rng.normal(size=64)
    layer = layers.Mahalanobis()
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile(keras.optimizers.Adam(0.05), loss=losses.Contrastive(1.0))
    model.fit(np.float32(x), labels, batch_size=64, epochs=60, verbose=0)
    diagonal = np.diag(layer.metric.numpy())
    assert diagonal[0] > 3 * diagonal[1:].max()


@pytest.mark.parametrize(
    ("layer", "arguments", "word"),
    [
        (layers.Centers, {"num_classes": 0}, "num_classes"),
        (layers.Centers, {"num_classes": None}, "num_classes"),
        (layers.Centers, {"num_classes": 3, "weight": -1}, "weight"),
        (layers.Centers, {"num_classes": 3, "update": "mean"}, "update"),
        (layers.Margin, {"margin": -1}, "margin"),
        (layers.Margin, {"mean": "rows"}, "mean"),
        (layers.Margin, {"row_chunk": 0}, "row_chunk"),
        (layers.ProxySoftmax, {"num_classes": None}, "num_classes"),
        (layers.ProxySoftmax, {"num_classes": 2.5}, "num_classes"),
        (layers.Centers, {"num_classes": 2.5}, "num_classes"),
        (layers.ProxySoftmax, {"num_classes": 3, "form": "softmax"}, "form"),
        (layers.ProxySoftmax, {"num_classes": 3, "temperature": 0}, "temperature"),
        (layers.ProxySoftmax, {"num_classes": 3, "margin": 0.1}, "margin"),
        (
            layers.ProxySoftmax,
            {"num_classes": 3, "form": "arcface", "margin": 28.6},
            "radians",
        ),
        (layers.Mahalanobis, {"rank": 0}, "rank"),
    ],
)
def test_bad_arguments_get_a_sentence(layer, arguments, word):
    with pytest.raises(ValueError, match=word) as error:
        layer(**arguments)
    assert "Received" in str(error.value)


def test_a_rank_above_the_dimension_is_refused():
    with pytest.raises(ValueError, match="`rank` must be at most"):
        layers.Mahalanobis(9).build((None, 5))


def test_float_labels_are_refused():
    layer = layers.Centers(3)
    with pytest.raises(TypeError, match="Labels must be integers"):
        layer([np.ones((2, 3), "float32"), np.ones(2, "float32")])
