"""Invariant and spreading features: what its gradient takes as constants, and cold."""

import numpy as np
import pytest
import tensorflow as tf
from loss_oracles import unit
from oracles import numeric_gradient

from tfembed import losses
from tfembed.ops.pairs import Similarities


def batch(images=5, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.permutation(np.repeat(np.arange(images), 2)), rng.normal(
        size=(2 * images, dim)
    )


def gradient(loss, labels, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(loss.per_row(labels, x))
    return tape.gradient(total, x).numpy()


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_candidates_are_constants_to_the_gradient(weight):
    """Finite differences of the anchors alone, a copy of them held as candidates."""
    labels, x = batch()
    fixed = np.array([unit(row) for row in x])

    def loss(anchors):
        total = 0
        for i, label in enumerate(labels):
            e = np.exp(fixed @ unit(anchors[i]) / 0.3)
            partner = (labels == label) & (np.arange(len(x)) != i)
            others = labels != label
            whole = e[partner].sum() + weight * e[others].sum()
            total -= np.log(e[partner].sum() / whole)
            total -= weight * np.log(1 - e[others] / whole).sum()
        return total

    np.testing.assert_allclose(
        gradient(
            losses.InvariantSpread(temperature=0.3, negative_weight=weight), labels, x
        ),
        numeric_gradient(loss, x),
        rtol=1e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize("temperature", [0.05, 0.01])
@pytest.mark.parametrize("form", ["code", "paper"])
def test_a_negative_that_takes_all_of_the_chance(temperature, form):
    """P rounds to 1: log(1 - P) is that of what is left, not minus infinity."""
    images = [0, 1, 0, 1]
    x = np.float32([[1, 0, 0], [1, 0, 0], [-1, 0, 0], [-1, 0, 0]])
    loss = losses.InvariantSpread(temperature=temperature, form=form)
    values = loss.per_row(images, x).numpy()
    # Each row: the partner and one negative at -1, one negative at 1.
    far = np.exp(-2 / temperature)
    if form == "code":
        whole = 1 + 2 * far
        invariance = np.log(whole) + 2 / temperature
        spread = np.log(2 * far / whole) + np.log1p(-far / whole)
        np.testing.assert_allclose(values, invariance - spread, rtol=1e-5)
    else:
        # First views 0 and 1 are equal: a chance of 1/2 each, for all rows.
        np.testing.assert_allclose(values, 4 * np.log(2), rtol=1e-5)
    assert np.isfinite(gradient(loss, images, x)).all()


def test_alone_and_close_at_any_temperature():
    """One image: nothing to spread from, and exactly nothing to gain."""
    for form in ("code", "paper"):
        loss = losses.InvariantSpread(temperature=0.01, form=form)
        x = np.float32([[1, 2], [2, 1]])
        assert not np.any(loss.per_row([7, 7], x))
        assert not np.any(gradient(loss, [7, 7], x))


def test_rows_without_a_partner_only_stand_by():
    labels, x = batch()
    loss = losses.InvariantSpread()
    values = loss.per_row(np.append(labels, 99), np.append(x, x[:1] + 1, axis=0))
    assert values[-1] == 0 and np.all(values[:-1] > 0)
    assert not np.any(loss.per_row(np.arange(10), x))


def test_first_views_lead_in_the_paper_s_form():
    """Rows of any order, with first views before their seconds, agree."""
    images, x = np.tile(np.arange(5), 2), batch()[1]
    loss = losses.InvariantSpread(form="paper")
    expected = loss.per_row(images, x).numpy()
    order = [0, 5, 1, 2, 6, 3, 7, 4, 9, 8]
    np.testing.assert_allclose(
        loss.per_row(images[order], x[order]), expected[order], rtol=1e-9
    )
    swapped = loss.per_row(images[::-1].copy(), x[::-1].copy()).numpy()
    assert not np.allclose(swapped[::-1], expected)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_on_similarities(form):
    labels, x = batch()
    rows = np.array([unit(row) for row in x])
    loss = losses.InvariantSpread(form=form)
    np.testing.assert_allclose(
        loss.per_row(labels, Similarities(tf.constant(rows @ rows.T))),
        loss.per_row(labels, x),
        rtol=1e-9,
    )
