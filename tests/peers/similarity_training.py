"""Trains each of some losses inside TensorFlow Similarity, and asks its index.

A script, so that it can run in a process of its own, with the Keras that TensorFlow
Similarity needs; `test_similarity_model.py` starts it. The last line that it prints is
JSON: `{loss: [share of right neighbours before training, after it, after it in the
index that tfembed.interop makes]}`.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

CLASSES, ROWS, DIM = 6, 240, 12


def points(seed):
    """Returns points whose class shows in three of twelve coordinates, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, ROWS)
    centers = np.random.default_rng(0).normal(size=(CLASSES, 3))
    x = rng.normal(size=(ROWS, DIM)) * 2.0
    x[:, :3] = centers[labels] * 1.5 + 0.3 * rng.normal(size=(ROWS, 3))
    return np.float32(x), np.int32(labels)


def trained(loss):
    """Returns the shares of right first neighbours that are printed."""
    from tensorflow_similarity.layers import MetricEmbedding
    from tensorflow_similarity.models import SimilarityModel
    from tensorflow_similarity.samplers import MultiShotMemorySampler

    from tfembed.interop import to_tensorflow_similarity

    tf.keras.utils.set_random_seed(0)
    x, labels = points(1)
    queries, expected = points(2)
    sampler = MultiShotMemorySampler(
        x,
        labels,
        classes_per_batch=CLASSES,
        examples_per_class_per_batch=8,
        steps_per_epoch=40,
    )
    inputs = tf.keras.layers.Input((DIM,))
    model = SimilarityModel(inputs, MetricEmbedding(4)(inputs))
    model.compile(tf.keras.optimizers.Adam(0.02), loss=loss, distance="cosine")

    def share():
        model.reset_index()
        model.index(x, labels, verbose=0)
        found = model.lookup(queries, k=1, verbose=0)
        return float(np.mean([n[0].label for n in found] == expected))

    before = share()
    model.fit(sampler, epochs=3, verbose=0)
    names = [f"point {row}" for row in range(ROWS)]
    index = to_tensorflow_similarity(model(x).numpy(), names, labels)
    found = index.batch_lookup(model(queries).numpy(), k=1, verbose=0)
    rows = [names.index(neighbours[0].data) for neighbours in found]
    assert [neighbours[0].label for neighbours in found] == labels[rows].tolist()
    return before, share(), float(np.mean(labels[rows] == expected))


def main():
    """Trains the losses that are named on the command line."""
    from tfembed import losses

    print(json.dumps({name: trained(getattr(losses, name)()) for name in sys.argv[1:]}))


if __name__ == "__main__":
    main()
