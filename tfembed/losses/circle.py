"""The circle loss (Sun et al., 2020)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp
from tfembed.ops.pairs import References, over_terms


def circle(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 0.4,
    gamma: Number = 80.0,
    stop_gradient_weights: bool = True,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Weighs each pair by how far it is from where it should be.

        pull[i] = sum{exp(-gamma * a[i, j] * (S[i, j] - (1 - margin))) : j positive}
        push[i] = sum{exp( gamma * b[i, k] * (S[i, k] - margin)) : k negative}
        loss[i] = log(1 + pull[i] * push[i])

        a[i, j] = max(1 + margin - S[i, j], 0),  b[i, k] = max(S[i, k] + margin, 0)

    S is the cosine similarity: embeddings are normalised inside. A valid term is an
    anchor with a positive and a negative, and the mean is over these. The paper takes
    margin 0.4 and gamma 80 for retrieval, 0.25 and 256 for faces. In the official
    code the weights a and b are constants to the gradient. pytorch-metric-learning
    leaves out of its mean every anchor whose loss is 0; TensorFlow Similarity is
    `log(1 + pull) + log(1 + push)`, its mean is over all rows, and its weights have a
    gradient.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: Relaxation: positives are drawn to a similarity of `1 - margin`,
            negatives to `margin`.
        gamma: Scale, positive.
        stop_gradient_weights: Whether the gradient takes a and b as constants.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the loss of each row times batch / number of anchors with pairs of
        both kinds, float32 or float64.

    Reference: Sun et al., 2020, equation 6 (https://arxiv.org/abs/2002.10857).
    """
    _check(margin, gamma)

    def rows(pairs):
        similarity = pairs.similarity
        fixed = tf.stop_gradient(similarity) if stop_gradient_weights else similarity
        zero = tf.zeros([], similarity.dtype)
        weight = tf.where(
            pairs.positive,
            -tf.maximum(1 + margin - fixed, zero),
            tf.maximum(fixed + margin, zero),
        )
        goal = tf.where(pairs.positive, 1 - margin + zero, margin + zero)
        logits = like(gamma, weight) * weight * (similarity - goal)
        both = log_sum_exp(logits, pairs.positive) + log_sum_exp(logits, pairs.negative)
        valid = tf.reduce_any(pairs.positive, axis=-1)
        valid &= tf.reduce_any(pairs.negative, axis=-1)
        return tf.where(valid, tf.math.softplus(both), tf.zeros_like(both)), valid

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(margin, gamma):
    check_number(margin=margin)
    check_positive(gamma=gamma)


@keras.utils.register_keras_serializable(package="tfembed")
class Circle(FunctionalLoss):
    """`circle` as a Keras loss.

    >>> loss = Circle(margin=0.25, gamma=4.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.7653
    """

    function = staticmethod(circle)
    check = staticmethod(_check)
