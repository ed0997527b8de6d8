"""The soft nearest neighbour loss (Frosst et al., 2019)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_choice, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp
from tfembed.ops.pairs import References, over_terms

DISTANCES = ("squared_euclidean", "euclidean", "cosine")


def soft_nearest_neighbor(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    temperature: Number = 1.0,
    distance: str = "squared_euclidean",
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Measures how entangled the classes are, neighbour by neighbour.

        e[i, j] = exp(-d[i, j] / temperature)
        loss[i] = -log(sum{e[i, j] : j positive} / sum{e[i, j] : j != i})

        distance             d
        squared_euclidean    D^2
        euclidean            D
        cosine               1 - S

    A valid term is an anchor with a positive, and the mean is over these; without
    negatives it is 0. With squared distances (the paper's) this is `nca`. TensorFlow
    Similarity has squared distances as well, adds 1e-9 within the logarithm, which
    takes the gradient from anchors whose positives are far away, and counts anchors
    without positives in the mean.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        temperature: Divides the distances, positive.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        normalize: Whether embeddings are divided by their length first; the cosine
            distance always does.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the loss of each row times batch / number of anchors with a
        positive, float32 or float64.

    Reference: Frosst et al., 2019, equation 1 (https://arxiv.org/abs/1902.01889).
    """
    _check(temperature, distance)

    def rows(pairs):
        if distance == "cosine":
            logits = pairs.similarity - 1
        elif distance == "euclidean":
            logits = -pairs.distance
        else:
            logits = -pairs.squared_distance
        logits /= like(temperature, logits)
        odds = log_sum_exp(logits, pairs.negative) - log_sum_exp(logits, pairs.positive)
        cost = tf.math.softplus(odds)
        positive = tf.reduce_any(pairs.positive, axis=-1)
        wrong = positive & tf.reduce_any(pairs.negative, axis=-1)
        return tf.where(wrong, cost, tf.zeros_like(cost)), positive

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize or distance == "cosine",
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(temperature, distance):
    check_positive(temperature=temperature)
    check_choice(DISTANCES, distance=distance)


@keras.utils.register_keras_serializable(package="tfembed")
class SoftNearestNeighbor(FunctionalLoss):
    """`soft_nearest_neighbor` as a Keras loss.

    >>> loss = SoftNearestNeighbor(distance="euclidean")
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.6002
    """

    function = staticmethod(soft_nearest_neighbor)
    check = staticmethod(_check)
