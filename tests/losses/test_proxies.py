"""What holds for single losses on similarities: margins, labels, soft targets."""

import math

import numpy as np
import pytest
import tensorflow as tf
from losses.samples.proxies import cross_entropy, psi
from oracles import numeric_gradient

from tfembed import losses
from tfembed.layers import Proxies
from tfembed.ops.angles import cosine_of_multiple_angle, cosine_of_wider_angle

SIMILARITIES = np.random.default_rng(0).uniform(-0.9, 0.9, (5, 4))
MAKERS = {
    "norm_softmax": losses.NormSoftmax,
    "temperature_softmax": losses.TemperatureSoftmax,
    "cosface": losses.CosFace,
    "arcface": losses.ArcFace,
    "sphereface": losses.SphereFace,
    "large_margin_softmax": losses.LargeMarginSoftmax,
    "soft_triple": lambda: losses.SoftTriple(per_class=1),
    "proxy_nca": losses.ProxyNCA,
    "proxy_anchor": losses.ProxyAnchor,
}


def similarities(name, rows=5):
    if name == "large_margin_softmax":
        return np.hstack([SIMILARITIES[:rows], np.ones((rows, 4))])
    return SIMILARITIES[:rows]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("jit", [False, True])
def test_a_label_that_is_no_class_makes_its_row_nan(name, jit):
    x, loss = tf.constant(similarities(name)), MAKERS[name]()
    function = tf.function(
        loss.per_row,
        jit_compile=jit,
        input_signature=[
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec(x.shape, x.dtype),
        ],
    )
    found = function(tf.constant([0.0, 4.0, 1.5, -1.0, 3.0]), x).numpy()
    assert np.isnan(found[1:4]).all()
    expected = loss.per_row([0, 3], tf.gather(x, [0, 4]))
    np.testing.assert_allclose(found[[0, 4]], expected, rtol=1e-9)


@pytest.mark.parametrize("name", MAKERS)
def test_known_labels_that_are_no_classes_get_a_sentence(name):
    loss, x = MAKERS[name](), similarities(name)
    for wrong in ([0, 1, 2, 4, 0], [0, 1, -1, 2, 0], [0.0, 1.0, 0.5, 0.0, 0.0]):
        with pytest.raises(ValueError, match=r"in \[0, 4\)") as error:
            loss.per_row(wrong, x)
        assert "Received" in str(error.value)
    with pytest.raises(TypeError, match="class numbers"):
        loss.per_row(["a"] * 5, x)
    with pytest.raises(ValueError, match="labels"):
        loss.per_row(np.zeros((5, 3)), x)


@pytest.mark.parametrize("name", MAKERS)
def test_a_single_class_costs_nothing(name):
    if name == "proxy_anchor":
        pytest.skip("it draws rows to a single proxy, too")
    x = similarities(name)
    x = x[:, [0, 4]] if name == "large_margin_softmax" else x[:, :1]
    np.testing.assert_array_equal(MAKERS[name]().per_row(np.zeros(5, int), x), 0)


COSINES = np.concatenate([np.linspace(-1, 1, 401), [-1.0000001, 1.0000001]])


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.2, math.pi / 2])
@pytest.mark.parametrize("beyond_pi", ["shifted", "formula"])
def test_the_wider_angle(margin, beyond_pi):
    found = cosine_of_wider_angle(tf.constant(COSINES), margin, beyond_pi).numpy()
    for cosine, value in zip(COSINES, found):
        theta = math.acos(min(max(cosine, -1), 1))
        expected = math.cos(theta + margin)
        if beyond_pi == "shifted" and theta + margin > math.pi + 1e-9:
            expected = math.cos(theta) - margin * math.sin(margin)
        assert value == pytest.approx(expected, abs=1e-7)
    if beyond_pi == "shifted":  # further away is never better
        assert (np.diff(found[:401]) >= 0).all()


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 6])
def test_the_multiple_angle_is_continuous_and_falls(multiple):
    found = cosine_of_multiple_angle(tf.constant(COSINES), multiple).numpy()
    expected = [psi(math.acos(min(max(c, -1), 1)), multiple) for c in COSINES]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    angles = np.linspace(0, math.pi, 2001)
    found = cosine_of_multiple_angle(tf.constant(np.cos(angles)), multiple).numpy()
    assert (np.diff(found) <= 1e-12).all()
    assert np.abs(np.diff(found)).max() < multiple * math.pi / 1000
    assert found[0] == pytest.approx(1) and found[-1] == pytest.approx(1 - 2 * multiple)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["arcface", "sphereface", "large_margin_softmax"])
def test_gradients_at_parallel_and_opposite_are_finite(name, dtype):
    """Also just beside, where the derivative of the arc cosine is largest."""
    step = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24}.get(dtype, 2**-53)
    values = [1.0, 1 - step, 1 - 2 * step, -1.0, -1 + step]
    x = np.zeros((5, 4))
    x[:, 0] = values
    if name == "large_margin_softmax":
        x = np.hstack([x, np.ones((5, 4))])
    x = tf.cast(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = MAKERS[name]().per_row(np.zeros(5, int), x)
    gradient = tape.gradient(rows, x)
    assert np.isfinite(rows).all()
    assert np.isfinite(tf.cast(gradient, tf.float64)).all()


@pytest.mark.parametrize("margin", [0.5, 1.2])
def test_arcface_through_unit_vectors_has_the_gradient_of_the_angle(margin):
    """Through the normalisation it is bounded, and the formula's at any angle."""
    rng = np.random.default_rng(1)
    proxies = rng.normal(size=(4, 3))
    x = proxies + 1e-3 * rng.normal(size=(4, 3))  # almost parallel to their own proxy

    def loss(x):
        total = 0.0
        for i, row in enumerate(x):
            cosines = [
                row @ p / np.linalg.norm(row) / np.linalg.norm(p) for p in proxies
            ]
            logits = [8 * c for c in cosines]
            logits[i] = 8 * math.cos(math.acos(cosines[i]) + margin)
            total += cross_entropy(logits, i)
        return total

    layer = Proxies(4)
    layer.build((None, 3))
    layer.set_weights([proxies])
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(
            losses.arcface(range(4), layer(inputs), scale=8.0, margin=margin)
        )
    assert float(total) == pytest.approx(loss(x), rel=1e-6)
    gradient = tape.gradient(total, inputs)
    np.testing.assert_allclose(
        gradient, numeric_gradient(loss, x), rtol=2e-3, atol=2e-3
    )


def test_large_margin_softmax_of_embeddings_and_weights(rng):
    w, x = rng.normal(size=(4, 3)), 2 * rng.normal(size=(6, 3))
    labels = [0, 1, 2, 3, 0, 1]
    layer = Proxies(4, similarity="product_and_length")
    layer.build((None, 3))
    layer.set_weights([w])
    found = losses.large_margin_softmax(labels, layer(x), margin=3, annealing=0.5)
    w = np.float64(np.float32(w))
    for row, y, value in zip(x, labels, found.numpy()):
        logits = [p @ row for p in w]
        length = np.linalg.norm(w[y]) * np.linalg.norm(row)
        theta = math.acos(w[y] @ row / length)
        logits[y] = length * (0.5 * math.cos(theta) + psi(theta, 3)) / 1.5
        assert value == pytest.approx(cross_entropy(logits, y), rel=1e-6)


def test_a_margin_of_one_is_the_plain_softmax(rng):
    x = rng.uniform(-0.9, 0.9, (6, 4))
    labels = [0, 1, 2, 3, 0, 1]
    plain = losses.norm_softmax(labels, x, temperature=0.1)
    for same in (
        losses.cosface(labels, x, scale=10.0, margin=0.0),
        losses.arcface(labels, x, scale=10.0, margin=0.0),
        losses.sphereface(labels, x, scale=10.0, margin=1),
        losses.soft_triple(labels, x, per_class=1, scale=10.0, margin=0.0),
        losses.proxy_nca(labels, x, scale=10.0, positive_in_denominator=True),
        losses.temperature_softmax(labels, x, temperature=0.1),
    ):
        np.testing.assert_allclose(same, plain, rtol=1e-9)


def test_proxy_nca_of_distances_is_that_of_cosines_with_twice_the_scale(rng):
    x = rng.normal(size=(6, 3))
    labels = [0, 1, 2, 3, 0, 1]
    near = Proxies(4, similarity="negative_squared_distance")
    cosine = Proxies(4)
    near(x), cosine(x)
    near.set_weights(cosine.get_weights())
    for positive_in_denominator in (False, True):
        found, expected = (
            losses.proxy_nca(
                labels,
                layer(x),
                scale=scale,
                positive_in_denominator=positive_in_denominator,
            )
            for layer, scale in ((near, 9.0), (cosine, 18.0))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_soft_targets(rng):
    x, teacher = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    heat = 3.0
    p = np.exp(teacher / heat) / np.exp(teacher / heat).sum(axis=1, keepdims=True)
    q = np.exp(x / heat) / np.exp(x / heat).sum(axis=1, keepdims=True)
    expected = [-sum(a * np.log(b) for a, b in zip(*rows)) for rows in zip(p, q)]
    for targets, given in (("probabilities", p), ("logits", teacher)):
        found = losses.temperature_softmax(given, x, temperature=heat, targets=targets)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    one_hot = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    np.testing.assert_allclose(
        losses.temperature_softmax(one_hot, x, temperature=heat),
        losses.temperature_softmax([0, 1, 2, 3, 0, 1], x, temperature=heat),
        rtol=1e-9,
    )
    with pytest.raises(ValueError, match="soft targets"):
        losses.temperature_softmax(p[:, :3], x)


def test_the_gradient_of_a_temperature_is_alpha_times_q_minus_p(rng):
    """The survey's equation 22, of the heated-up softmax."""
    x = tf.constant(rng.normal(size=(3, 4)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = losses.temperature_softmax([0, 1, 2], x, temperature=1 / 16)
    q = tf.nn.softmax(16 * x).numpy()
    expected = 16 * (q - np.eye(4)[:3])
    np.testing.assert_allclose(tape.gradient(rows, x), expected, atol=1e-9)
