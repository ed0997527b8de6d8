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
