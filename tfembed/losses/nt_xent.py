"""The normalised temperature-scaled cross-entropy (Chen et al., 2020)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log_sum_exp, masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms


def nt_xent(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    temperature: Number = 0.1,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Tells each positive from all of the anchor's negatives.

        e[i, j] = exp(S[i, j] / temperature)
        term[i, j] = -log(e[i, j] / (e[i, j] + sum{e[i, k] : k negative}))

    S is the cosine similarity: embeddings are normalised inside. A valid term is an
    ordered positive pair (i, j), and the mean is over these; without negatives it is
    0. With two views of each image, and the image as label, this is SimCLR's loss;
    other positives of the anchor never count as its negatives, as in
    pytorch-metric-learning (which is 0 if the whole batch has no negative, and takes
    temperature 0.07; TensorFlow Similarity 0.05).

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        temperature: Divides the similarities, positive.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's positive pairs times batch / number of all
        positive pairs, float32 or float64.

    Reference: Chen et al., 2020, equation 1 (https://arxiv.org/abs/2002.05709).
    """
    _check(temperature)

    def rows(pairs):
        logits = pairs.similarity / like(temperature, pairs.similarity)
        against = log_sum_exp(logits, pairs.negative)
        terms = masked_sum(tf.math.softplus(against[:, None] - logits), pairs.positive)
        possible = tf.reduce_any(pairs.negative, axis=-1)
        return (
            tf.where(possible, terms, tf.zeros_like(terms)),
            masked_count(pairs.positive, logits.dtype),
        )

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


def _check(temperature):
    check_positive(temperature=temperature)


@keras.utils.register_keras_serializable(package="tfembed")
class NTXent(FunctionalLoss):
    """`nt_xent` as a Keras loss.

    >>> loss = NTXent(temperature=1.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    1.0032
    """

    function = staticmethod(nt_xent)
    check = staticmethod(_check)
