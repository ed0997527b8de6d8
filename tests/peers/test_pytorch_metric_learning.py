"""Ours beside pytorch-metric-learning's, by the numbers that it once computed.

Each test aligns the conventions in plain sight: what stands between the two numbers is
what differs between the two libraries. `make_pytorch_metric_learning.py` writes the
files.
"""

import numpy as np
import tensorflow as tf
from peers.compare import value_and_gradients
from peers.recorded import load, pairs

from tfembed import losses

EXACT = {"rtol": 1e-9, "atol": 1e-11}


def check(case, ours, scale=1.0, shift=0.0, close=EXACT):
    """Compares `scale * mean(ours) + shift`, and its gradient, with a case.

    Args:
        case: Of `load`.
        ours: `ours(labels, embeddings)` returns the loss of each row.
        scale: Number of theirs in one of ours.
        shift: A constant of theirs that ours leaves out.
        close: Tolerances.
    """
    value, gradient = value_and_gradients(
        lambda x: scale * tf.reduce_mean(ours(case.labels, x)), case.embeddings
    )
    np.testing.assert_allclose(value + shift, case.loss, **close)
    np.testing.assert_allclose(gradient, case.gradient, **close)


def per_row(case, loss):
    """Our loss of each row."""
    return loss.per_row(case.labels, case.embeddings).numpy()


def test_contrastive():
    """Pairs of each kind are averaged apart there, in one mean here.

    With its `SumReducer` all pairs are summed. Its cosine form wants `pos_margin=1`.
    """
    for name, form in [("squared", "survey"), ("cosine", "cosine")]:
        case = load("contrastive", name)
        positives, negatives = pairs(case.labels)
        loss = losses.Contrastive(margin=case.argument("neg_margin"), form=form)
        check(
            case,
            loss.per_row,
            scale=positives + negatives,
            shift=positives if form == "cosine" else 0,
        )


def test_contrastive_default_is_unsquared_and_over_active_pairs():
    """Its default: D and [1 - D]+ of unit rows, each averaged over what is not 0."""
    case = load("contrastive", "default")
    x = case.embeddings / np.linalg.norm(case.embeddings, axis=1, keepdims=True)
    distance = np.linalg.norm(x[:, None] - x[None, :], axis=2)
    same = case.labels[:, None] == case.labels[None, :]
    pull = distance[same & ~np.eye(len(x), dtype=bool)]
    push = np.maximum(1 - distance[~same], 0)
    theirs = pull.mean() + push[push > 0].mean()
    np.testing.assert_allclose(theirs, case.loss, rtol=1e-9)
    ours = losses.Contrastive(normalize=True)(case.labels, case.embeddings)
    squares = (pull**2).sum() + (push**2).sum()
    np.testing.assert_allclose(ours, squares / (pull.size + push.size), rtol=1e-6)


def test_multi_similarity():
    """Mining is inside here; there `epsilon` is its miner's, and `base` is 0.5."""
    for name, settings in {
        "default": {"base": 0.5, "epsilon": None},
        "mined": {},
        "other": {"alpha": 3.0, "beta": 12.0, "base": 0.2, "epsilon": None},
    }.items():
        check(
            load("multi_similarity", name), losses.MultiSimilarity(**settings).per_row
        )
