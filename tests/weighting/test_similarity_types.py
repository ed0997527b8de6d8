"""The three similarities of general pair weighting, as properties of the weights."""

import numpy as np
import pytest
from weighting_forms import FORMS

from tfembed import losses
from tfembed.weighting import anchor_weights, similarity_types

# What the paper's table 1 says of these losses.
TABLE = {
    "contrastive": "S",
    "binomial": "S",
    "triplet": "P",
    "lifted": "N",
    "multi_similarity": "SNP",
}


def moved(name, seed=0, anchors=150):
    """A negative's weight before and after; anchors that the loss moves in both."""
    rng = np.random.default_rng(seed)
    positive = rng.uniform(-0.2, 0.8, (anchors, 3))
    negative = rng.uniform(-0.2, 0.8, (anchors, 4))
    step = rng.uniform(0.05, 0.15, (anchors, 1))
    nearer = negative + step * [0, 1, 1, 1]
    # Mining drops other negatives too, which adds to the weight of one that stays: what
    # the positives do is asked beside one negative alone, which is never dropped.
    beside = np.concatenate([negative[:, :1], 0 * step + 0.95], axis=1)
    moves = {
        "S": (negative, positive + step, negative + step),
        "N": (negative, positive, nearer),
        "P": (beside, positive + step, beside),
    }
    loss = FORMS[name][0]
    for kind, (before, *after) in moves.items():
        pulls, pushes = anchor_weights(loss, positive, before)
        new_pulls, new_pushes = anchor_weights(loss, *after)
        both = np.any(pulls, axis=1) | np.any(pushes, axis=1)
        both &= np.any(new_pulls, axis=1) | np.any(new_pushes, axis=1)
        assert both.sum() > 20
        yield kind, pushes.numpy()[both, 0], new_pushes.numpy()[both, 0]


@pytest.mark.parametrize("name", TABLE)
def test_the_three_similarities_are_properties_of_the_weights(name):
    """Self raises a negative's weight; negatives and positives that near lower it."""
    for kind, before, after in moved(name):
        change = (after - before) / np.maximum(before, after).max()
        if kind not in TABLE[name]:
            np.testing.assert_allclose(change, 0, atol=1e-9, err_msg=kind)
        elif kind == "S":
            assert (change > -1e-9).all() and (change > 1e-3).any()
        else:
            assert (change < 1e-9).all() and (change < -1e-4).any(), kind


def test_the_table_of_the_paper():
    found = {name: similarity_types(FORMS[name][0]) for name in TABLE}
    lines = [f"{'loss':18} self  negative  positive"]
    for name, types in found.items():
        marks = ["x" if kind in types else "-" for kind in "SNP"]
        lines.append(f"{name:18} {marks[0]:5} {marks[1]:9} {marks[2]}")
    print("\n".join(lines))
    assert found == TABLE


@pytest.mark.parametrize(
    ("loss", "types"),
    [
        (losses.MultiSimilarity(epsilon=None), "SN"),  # P is what mining adds
        (losses.ProxyNCA(), "N"),
        (losses.ProxyNCA(positive_in_denominator=True), "NP"),
        (losses.NormSoftmax(), "NP"),
        (losses.AffinityFrobenius(), "S"),
    ],
    ids=["unmined", "proxy_nca", "softmax", "norm_softmax", "affinity"],
)
def test_other_losses(loss, types):
    assert similarity_types(loss) == types


def test_anchors_are_apart():
    """Many anchors at once are the same as one by one."""
    rng = np.random.default_rng(0)
    p, n = rng.uniform(-0.5, 0.9, (5, 2)), rng.uniform(-0.5, 0.9, (5, 4))
    for loss in (losses.MultiSimilarity(), losses.RangeLoss()):
        whole = anchor_weights(loss, p, n)
        for i in range(5):
            one = anchor_weights(loss, p[i : i + 1], n[i : i + 1])
            for a, b in zip(whole, one):
                np.testing.assert_allclose(a[i : i + 1], b, rtol=1e-9, atol=1e-12)


def test_proxies_have_one_positive():
    with pytest.raises(ValueError, match="one similarity.*Received: 2"):
        anchor_weights(losses.NormSoftmax(), [[0.1, 0.2]], [[0.3, 0.4]])
    for loss in (losses.SoftTriple(per_class=3), losses.LargeMarginSoftmax()):
        pulls, pushes = anchor_weights(loss, [[0.4]], [[0.3, 0.1]])
        assert pulls.shape == (1, 1) and pushes.shape == (1, 2)
        assert pulls[0, 0] < 0 < pushes[0, 0]
