"""HardNet, lifted structure and N-pair: what the contracts do not say."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import numeric_gradient

from tfembed.losses import hardnet, lifted_structure, npair
from tfembed.ops.pairs import References


def batch(seed=0, rows=8, refs=11, dim=4):
    rng = np.random.default_rng(seed)
    x, r = rng.normal(size=(rows, dim)), rng.normal(size=(refs, dim))
    return rng.integers(0, 3, rows), x, rng.integers(0, 3, refs), r


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("loss", [hardnet, lifted_structure])
def test_references_have_a_gradient(loss, chunk):
    labels, x, ref_labels, refs = batch(rows=8, refs=7, dim=2)

    @tf.function
    def total(refs):
        rows = loss(labels, x, ref_labels, refs, row_chunk=chunk)
        return tf.reduce_sum(rows * tf.range(1.0, 9, dtype=rows.dtype))

    with tf.GradientTape() as tape:
        variable = tf.Variable(refs)
        value = total(variable)
    expected = numeric_gradient(lambda refs: total(tf.constant(refs)).numpy(), refs)
    np.testing.assert_allclose(
        tape.gradient(value, variable), expected, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("loss", [hardnet, lifted_structure])
def test_absent_references_count_as_not_there(loss, chunk):
    labels, x, ref_labels, refs = batch()
    present = np.random.default_rng(1).random(11) < 0.6
    expected = loss(labels, x, ref_labels[present], refs[present])
    wrong = np.where(present[:, None], refs, 1e3)
    found = loss(labels, x, ref_labels, References(wrong, present), row_chunk=chunk)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_hardnet_on_two_views_is_the_paper_s():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 6, 4))
    between = np.linalg.norm(first[:, None] - second[None], axis=2)
    others = between + 1e3 * np.eye(6)
    hardest = np.minimum(others.min(axis=0), others.min(axis=1))
    expected = np.maximum(1 + np.diag(between) - hardest, 0)
    rows = hardnet(np.arange(6), first, np.arange(6), second)
    np.testing.assert_allclose(rows, expected)


def test_npair_on_two_views_is_the_paper_s():
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 6, 4))
    products = first @ second.T
    expected = [
        np.log(sum(np.exp(products[i] - products[i, i]))) for i in range(6)
    ]  # exp(0) of the positive itself is the 1
    norms = np.sum(first**2, axis=1) + np.sum(second**2, axis=1)
    rows = npair(np.arange(6), first, np.arange(6), second, l2=0.0)
    np.testing.assert_allclose(rows, expected)
    rows = npair(np.arange(6), first, np.arange(6), second, l2=0.1)
    np.testing.assert_allclose(rows, expected + 0.05 * norms)


def test_the_smooth_form_is_a_bound_of_the_maximum():
    for seed in range(5):
        labels, x, _, _ = batch(seed, rows=12)
        margin = 4.0  # far enough for every J to be positive
        smooth = lifted_structure(labels, x, margin=margin)
        hard = lifted_structure(labels, x, margin=margin, smooth=False)
        more = lifted_structure(labels, x, margin=margin + np.log(24), smooth=False)
        assert np.all(smooth >= hard) and np.all(smooth <= more)


def test_npair_without_negatives_costs_its_norms_alone():
    x = np.array([[1.0, 2.0], [3.0, 0.0]])
    np.testing.assert_allclose(npair([5, 5], x, l2=0.1), [0.7, 0.7])
    assert not np.any(npair([5, 6], x, l2=0.1))
