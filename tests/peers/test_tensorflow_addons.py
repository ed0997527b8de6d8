"""Ours beside TensorFlow Addons', both computed here (addons stack only).

Theirs know float32 alone, and take labels of each row.
"""

import numpy as np
import pytest
import tensorflow as tf
from peers.compare import batch, check_equal

from tfembed import compat, losses

if compat.KERAS_3:
    pytest.skip(
        "TensorFlow Addons cannot be imported with Keras 3", allow_module_level=True
    )
tfa = pytest.importorskip("tensorflow_addons", reason="needs tensorflow-addons")
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def test_contrastive():
    """Theirs takes the distances of given pairs, ours makes all pairs of a batch."""
    labels, x = batch(0)
    first, second = np.nonzero(~np.eye(len(x), dtype=bool))

    def theirs(x):
        distances = tf.norm(tf.gather(x, first) - tf.gather(x, second), axis=1)
        same = np.float32(labels[first] == labels[second])
        return tfa.losses.ContrastiveLoss(margin=1.5)(same, distances)

    ours = losses.Contrastive(margin=1.5)
    check_equal(lambda x: ours(labels, x), theirs, x, **CLOSE)


@pytest.mark.parametrize(
    "theirs, distance", [("L2", "euclidean"), ("squared-L2", "squared_euclidean")]
)
def test_triplet_semihard(theirs, distance):
    """Their margin is 1 by default, and their distance not squared."""
    labels, x = batch(1, sizes=(5, 4, 3, 2, 1))
    ours = losses.Triplet(1.0, distance, mining="semi_hard")
    loss = tfa.losses.TripletSemiHardLoss(margin=1.0, distance_metric=theirs)
    check_equal(lambda x: ours(labels, x), lambda x: loss(labels, x), x, **CLOSE)


@pytest.mark.parametrize("soft", [False, True])
def test_triplet_hard(soft):
    """Each row has a positive here; one without counts in their mean, not in ours."""
    labels, x = batch(2)
    ours = losses.Triplet(1.0, "euclidean", mining="hard", soft=soft)
    loss = tfa.losses.TripletHardLoss(margin=1.0, soft=soft)
    check_equal(lambda x: ours(labels, x), lambda x: loss(labels, x), x, **CLOSE)


def test_lifted_structure():
    labels, x = batch(4, sizes=(5, 4, 3, 2, 1))
    ours = losses.LiftedStructure(margin=1.0)
    loss = tfa.losses.LiftedStructLoss(margin=1.0)
    check_equal(lambda x: ours(labels, x), lambda x: loss(labels, x), x, **CLOSE)


def test_npairs():
    """Theirs takes the similarities, and has no penalty of the norms."""
    _, x = batch(5)
    labels, size = np.arange(len(x) // 2), len(x) // 2
    ours = losses.NPair(l2=0.0)

    def of_ours(x):
        anchors, positives = x[:size], x[size:]
        return tf.reduce_mean(ours.per_row(labels, anchors, labels, positives))

    def theirs(x):
        similarities = tf.matmul(x[:size], x[size:], transpose_b=True)
        return tfa.losses.NpairsLoss()(labels, similarities)

    check_equal(of_ours, theirs, x, **CLOSE)


def test_nothing_valid_is_zero_here():
    """No positives, or no negatives: NaN or a loss there, exactly 0 here."""
    _, x = batch(3)
    for labels in (np.arange(len(x)), np.zeros(len(x))):
        for mining in ("semi_hard", "hard"):
            assert losses.Triplet(mining=mining)(labels, x) == 0
    assert np.isnan(tfa.losses.triplet_semihard_loss(np.arange(len(x)), x))
    assert tfa.losses.triplet_hard_loss(np.zeros(len(x)), x) > 0
