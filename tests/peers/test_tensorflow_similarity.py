"""Ours beside TensorFlow Similarity's, both computed here (addons stack only).

Theirs take unit rows and do not make them; they know float32 alone.
"""

import pytest
import tensorflow as tf
from peers.compare import batch, check_equal

from tfembed import compat, losses

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
    ours = losses.MultiSimilarity(beta=40.0, base=0.5, epsilon=0.1)
    check(ours, tfsim.MultiSimilarityLoss(), labels, x)
