"""Losses whose gradient takes weights as constants: held by finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from loss_oracles import sides, unit
from oracles import numeric_gradient

from tfembed import losses

RNG = np.random.default_rng(4)
LABELS = np.array([0, 1, 0, 2, 1, 0, 2, 3])
X = RNG.normal(size=(8, 4))


def gradient(loss):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(loss.per_row(LABELS, x))
    return tape.gradient(total, x).numpy()


def circle(x, fixed, margin=0.4, gamma=10.0):
    terms = []
    for i in range(len(x)):
        positives, negatives = sides(i, LABELS, None)
        pull = push = 0
        for j in positives:
            weight = max(1 + margin - unit(fixed[i]) @ unit(fixed[j]), 0)
            s = unit(x[i]) @ unit(x[j])
            pull += np.exp(-gamma * weight * (s - (1 - margin)))
        for k in negatives:
            weight = max(unit(fixed[i]) @ unit(fixed[k]) + margin, 0)
            push += np.exp(gamma * weight * (unit(x[i]) @ unit(x[k]) - margin))
        if positives and negatives:
            terms.append(np.log1p(pull * push))
    return np.mean(terms) * len(x)


def ranked_list(x, fixed, alpha=1.2, margin=0.4, positive=1.5, negative=4.0):
    total = 0
    for i in range(len(x)):
        positives, negatives = sides(i, LABELS, None)

        def mean(excess, weight, kind, i=i):
            kept = [
                j
                for j in kind
                if excess(np.linalg.norm(unit(fixed[i]) - unit(fixed[j]))) > 0
            ]
            if not kept:
                return 0
            return np.average(
                [excess(np.linalg.norm(unit(x[i]) - unit(x[j]))) for j in kept],
                weights=[
                    weight(np.linalg.norm(unit(fixed[i]) - unit(fixed[j])))
                    for j in kept
                ],
            )

        total += 0.5 * mean(
            lambda d: d - (alpha - margin), lambda d: np.exp(positive * d), positives
        )
        total += 0.5 * mean(
            lambda d: alpha - d, lambda d: np.exp(-negative * d), negatives
        )
    return total


@pytest.mark.parametrize(
    "loss, formula",
    [
        (losses.Circle(gamma=10.0), circle),
        (
            losses.RankedList(positive_temperature=1.5, negative_temperature=4.0),
            ranked_list,
        ),
    ],
    ids=["circle", "ranked_list"],
)
def test_weights_are_constants_to_the_gradient(loss, formula):
    np.testing.assert_allclose(
        np.sum(loss.per_row(LABELS, X)), formula(X, X), rtol=1e-9
    )
    expected = numeric_gradient(lambda x: formula(x, X), X)
    np.testing.assert_allclose(gradient(loss), expected, rtol=1e-5, atol=1e-7)
    loss.stop_gradient_weights = False
    whole = numeric_gradient(lambda x: formula(x, x), X)
    np.testing.assert_allclose(gradient(loss), whole, rtol=1e-5, atol=1e-7)
    assert np.max(np.abs(whole - expected)) > 1e-3
