"""Ours beside TensorFlow Similarity's, both computed here (addons stack only).

Theirs take unit rows and do not make them; they know float32 alone.
"""

import numpy as np
import pytest
import tensorflow as tf
from peers.compare import batch, check_equal

from tfembed import compat, losses
from tfembed.ops.pairs import Similarities

if compat.KERAS_3:
    pytest.skip(
        "TensorFlow Similarity's losses cannot be made with Keras 3",
        allow_module_level=True,
    )
tfsim = pytest.importorskip(
    "tensorflow_similarity.losses", reason="needs tensorflow-similarity"
)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def check(ours, theirs, labels, x, normalize=True):
    """Compares two losses; theirs are given unit rows where ours make them."""

    def of_theirs(x):
        return theirs(labels, tf.math.l2_normalize(x, axis=1) if normalize else x)

    check_equal(lambda x: ours(labels, x), of_theirs, x, **CLOSE)


def test_multi_similarity():
    """Their defaults are those of the official code; distances about a `center`."""
    labels, x = batch(0, sizes=(5, 4, 3, 2, 1))
    ours = losses.MultiSimilarity(beta=40.0)
    check(ours, tfsim.MultiSimilarityLoss(), labels, x)


def test_soft_nearest_neighbor():
    """Each row has a positive here; one without counts in their mean, not in ours."""
    labels, x = batch(1)
    ours = losses.SoftNearestNeighbor()
    check(ours, tfsim.SoftNearestNeighborLoss(), labels, x, normalize=False)


def test_circle():
    """Theirs is log(1 + pull) + log(1 + push), ours is log(1 + pull * push).

    So theirs is a sum of two of ours, each with one side replaced by a single pair
    that lies where it should be: its exponential is 1. And their weights have a
    gradient.
    """
    labels, x = batch(2)
    margin, classes = 0.4, 1 + max(labels)

    def one_side(kind, similarity):
        # One more row of each class, and one of a class of its own.
        there = np.r_[labels, np.arange(classes), -1]
        aims = np.r_[np.full(classes, 1 - margin), margin]
        rows = tf.broadcast_to(np.float32(aims), [len(labels), classes + 1])
        values = tf.concat([similarity, rows], axis=1)
        added = np.arange(len(there)) >= len(labels)
        itself = np.eye(len(labels), len(there), dtype=bool)
        first = ~added & ~itself if kind == "pull" else added
        second = there == -1 if kind == "pull" else ~added
        loss = losses.Circle(
            margin=margin,
            stop_gradient_weights=False,
            miner=lambda pairs: (tf.constant(first), tf.constant(second)),
        )
        return tf.reduce_mean(loss.per_row(labels, Similarities(values), there))

    def ours(x):
        x = tf.math.l2_normalize(x, axis=1)
        similarity = tf.matmul(x, x, transpose_b=True)
        return one_side("pull", similarity) + one_side("push", similarity)

    theirs = tfsim.CircleLoss(margin=margin)

    def of_theirs(x):
        return theirs(labels, tf.math.l2_normalize(x, axis=1))

    check_equal(ours, of_theirs, x, **CLOSE)
