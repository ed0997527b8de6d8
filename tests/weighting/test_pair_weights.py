"""Weights by differentiation: against closed forms, gradients and the formula."""

import inspect

import contracts
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from weighting_forms import FORMS

from tfembed import losses, weighting
from tfembed.ops.pairs import Similarities

every_form = pytest.mark.parametrize("name", FORMS)


def batch(seed, rows=14, dim=6, classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    return labels, rng.normal(size=(rows, dim)) + 0.8 * np.eye(dim)[labels]


@every_form
@pytest.mark.parametrize("seed", range(3))
def test_closed_forms_equal_the_derivatives(name, seed):
    loss, form = FORMS[name]
    labels, x = batch(seed)
    weights = weighting.pair_weights(loss, labels, x)
    np.testing.assert_allclose(form(labels, x), weights, rtol=1e-9, atol=1e-12)
    assert np.any(weights)
    ref_labels, refs = batch(seed + 10, rows=17)
    weights = weighting.pair_weights(loss, labels, x, ref_labels, refs)
    assert weights.shape == (14, 17) and np.any(weights)
    np.testing.assert_allclose(
        form(labels, x, ref_labels, refs), weights, rtol=1e-9, atol=1e-12
    )


@every_form
@pytest.mark.parametrize("case", ["no positives", "no negatives", "one row", "same"])
def test_closed_forms_of_degenerate_batches(name, case):
    loss, form = FORMS[name]
    labels, x = batch(0, rows=6)
    labels = {"no positives": np.arange(6), "no negatives": np.zeros(6, int)}.get(
        case, labels
    )
    if case == "one row":
        labels, x = labels[:1], x[:1]
    if case == "same":
        x = np.ones((6, 6))
    found = form(labels, x).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(
        found, weighting.pair_weights(loss, labels, x), rtol=1e-9, atol=1e-12
    )


def loop_weights(name, s, labels):
    """The formulas of the paper, pair by pair; sums over one anchor's own loss."""
    form = FORMS[name][1]
    rows = len(s)
    weights, terms = np.zeros((rows, rows)), 0
    for i in range(rows):
        p = [j for j in range(rows) if labels[j] == labels[i] and j != i]
        n = [j for j in range(rows) if labels[j] != labels[i]]
        if name == "contrastive":
            terms += len(p) + len(n)
            for j in p:
                weights[i, j] = -1
            for j in n:
                weights[i, j] = float(s[i, j] > form.margin)
        elif name == "triplet":
            terms += len(p) * len(n)
            for j in p:
                for k in n:
                    if s[i, k] - s[i, j] + form.margin > 0:
                        weights[i, j] -= 1
                        weights[i, k] += 1
        elif name == "lifted":
            terms += 1
            if not p or not n:
                continue
            pull = sum(np.exp(form.margin - s[i, j]) for j in p)
            push = sum(np.exp(s[i, j]) for j in n)
            if np.log(pull) + np.log(push) <= 0:
                continue
            for j in p:
                weights[i, j] = -1 / sum(np.exp(s[i, j] - s[i, k]) for k in p)
            for j in n:
                weights[i, j] = 1 / sum(np.exp(s[i, k] - s[i, j]) for k in n)
        elif name == "binomial":
            terms += 1
            a, b, base = form.alpha, form.beta, form.base
            for j in p:
                weights[i, j] = -a / len(p) / (1 + np.exp(-a * (base - s[i, j])))
            for j in n:
                weights[i, j] = b / len(n) / (1 + np.exp(-b * (s[i, j] - base)))
        else:
            terms += 1
            a, b, base = form.alpha, form.beta, form.base
            if form.epsilon is not None:
                if not p or not n:
                    continue
                p, n = (
                    [j for j in p if s[i, j] < max(s[i, n]) + form.epsilon],
                    [j for j in n if s[i, j] > min(s[i, p]) - form.epsilon],
                )
            for j in p:
                others = sum(np.exp(-a * (s[i, k] - s[i, j])) for k in p)
                weights[i, j] = -1 / (np.exp(-a * (base - s[i, j])) + others)
            for j in n:
                others = sum(np.exp(b * (s[i, k] - s[i, j])) for k in n)
                weights[i, j] = 1 / (np.exp(b * (base - s[i, j])) + others)
    return weights / terms


@every_form
@pytest.mark.parametrize("seed", range(3))
def test_closed_forms_equal_the_paper_pair_by_pair(name, seed):
    labels, x = batch(seed)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = loop_weights(name, unit @ unit.T, labels)
    found = FORMS[name][1](labels, x)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def tangent(gradient, unit):
    """Without each row's part along itself."""
    return gradient - np.sum(gradient * unit, axis=1, keepdims=True) * unit


SAMPLES = [
    pytest.param(samples[0], id=loss.__name__)
    for loss, samples in contracts.LOSSES.items()
]


# What they say of a pair depends on single numbers of its embeddings, too.
OF_COORDINATES = {"Matryoshka", "SNR", "VICReg"}


@pytest.mark.parametrize("sample", SAMPLES)
def test_weights_of_every_loss_give_its_gradient(sample):
    """(W + W^T) E is the gradient of every loss that inner products decide."""
    rng = np.random.default_rng(4)
    loss = sample.make()
    if sample.similarities:
        labels = rng.integers(0, sample.classes or sample.similarities, 6)
        s = tf.constant(rng.uniform(-0.8, 0.8, (6, sample.similarities)))
        with tf.GradientTape() as tape:
            tape.watch(s)
            value = tf.reduce_mean(loss.per_row(labels, s))
        weights = weighting.pair_weights(loss, labels, s)
        np.testing.assert_array_equal(weights, tape.gradient(value, s))
        return
    labels = rng.permutation(np.repeat(np.arange(4), 2))
    x = rng.normal(size=(8, 12)) + 0.7 * np.eye(12)[labels]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    with tf.GradientTape() as tape:
        rows = tf.constant(unit)
        tape.watch(rows)
        value = tf.reduce_mean(loss.per_row(labels, rows))
    gradient = tape.gradient(value, rows).numpy()
    weights = weighting.pair_weights(loss, labels, x).numpy()
    assert weights.shape == (8, 8) and np.isfinite(weights).all()
    np.testing.assert_array_equal(np.diag(weights), 0)
    found = tangent((weights + weights.T) @ unit, unit)
    if type(loss).__name__ in OF_COORDINATES:
        turned = unit @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
        other = tf.reduce_mean(loss.per_row(labels, tf.constant(turned)))
        assert abs(float(other - value)) > 1e-6 * abs(float(value))
        return
    if sample.smooth:  # where a part is held constant, W need not be symmetric
        np.testing.assert_allclose(found, tangent(gradient, unit), rtol=1e-5, atol=1e-8)


def test_both_ways_to_the_weights_agree():
    """A loss of similarities alone, treated as one that needs embeddings."""
    loss = losses.MultiSimilarity(beta=10.0, base=0.5)

    class Hidden:
        def per_row(self, labels, embeddings):
            return loss.per_row(labels, tf.identity(embeddings))

    labels, x = batch(3, rows=6, dim=9)
    direct = weighting.pair_weights(loss, labels, x).numpy()
    solved = weighting.pair_weights(Hidden(), labels, x).numpy()
    np.testing.assert_allclose(solved, (direct + direct.T) / 2, rtol=1e-7, atol=1e-10)


def test_graph_float32_and_similarities():
    loss = FORMS["multi_similarity"][0]
    labels, x = batch(1)
    expected = weighting.pair_weights(loss, labels, x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    given = weighting.pair_weights(loss, labels, Similarities(unit @ unit.T))
    np.testing.assert_allclose(given, expected, rtol=1e-9, atol=1e-12)
    function = tf.function(lambda x: weighting.pair_weights(loss, labels, x))
    single = function(tf.constant(x, tf.float32))
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=1e-6)


def test_what_has_no_weights_gets_a_sentence():
    labels, x = batch(0, rows=8, dim=6)
    loss = losses.RangeLoss()
    with pytest.raises(ValueError, match="as many dimensions as rows.*Received"):
        weighting.pair_weights(loss, labels, x)
    with pytest.raises(ValueError, match="similarities are enough for.*Received"):
        weighting.pair_weights(loss, labels, Similarities(np.eye(8)))
    with pytest.raises(ValueError, match="Received"):
        weighting.pair_weights(losses.Contrastive(), labels[:5], x)


@every_form
def test_forms_are_made_again_from_their_config(name):
    form = FORMS[name][1]
    copy = keras.utils.deserialize_keras_object(
        keras.utils.serialize_keras_object(form)
    )
    assert type(copy) is type(form) and copy.get_config() == form.get_config()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: weighting.ContrastiveWeights("wide"), "margin"),
        (lambda: weighting.TripletWeights(None), "margin"),
        (lambda: weighting.LiftedWeights(np.inf), "margin"),
        (lambda: weighting.BinomialWeights(alpha=0), "alpha"),
        (lambda: weighting.MultiSimilarityWeights(beta=-1), "beta"),
        (lambda: weighting.MultiSimilarityWeights(epsilon="some"), "epsilon"),
    ],
)
def test_bad_arguments_get_a_sentence(make, name):
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
        make()


def test_the_defaults_are_the_losses_or_those_that_are_documented():
    documented = {"ContrastiveWeights": 0.5, "TripletWeights": 0.1}
    same = {
        "BinomialWeights": losses.BinomialDeviance,
        "LiftedWeights": losses.LiftedStructure,
        "MultiSimilarityWeights": losses.MultiSimilarity,
    }
    for name, margin in documented.items():
        weights = getattr(weighting, name)
        assert weights().margin == margin and f"{margin} by default" in weights.__doc__
    for name, loss in same.items():
        of_loss = inspect.signature(loss).parameters
        of_weights = inspect.signature(getattr(weighting, name)).parameters
        for key in of_weights:
            assert of_weights[key].default == of_loss[key].default, (name, key)
