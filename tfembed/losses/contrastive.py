"""The contrastive loss (Hadsell et al., 2006), in its three common forms."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops.arguments import check_choice, check_number
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import References, over_terms

FORMS = ("hadsell", "survey", "cosine")


def contrastive(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 1.0,
    form: str = "hadsell",
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Pulls positive pairs together and pushes negative pairs apart up to a margin.

        form       positive pair   negative pair
        hadsell    D^2             max(margin - D, 0)^2
        survey     D^2             max(margin - D^2, 0)
        cosine     -S              max(S - margin, 0)

    D is the Euclidean distance and S the cosine similarity. The valid terms are all
    ordered pairs of the batch, each row with every other; the mean is over them.
    Hadsell et al. and `tfa.losses.contrastive_loss` have the first form (the paper
    with a factor of 1/2); the second is the deep-metric-learning survey's, the third
    that of general pair weighting (margin is its lambda).

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: From where on a negative pair costs nothing.
        form: `"hadsell"`, `"survey"` or `"cosine"`.
        normalize: Whether embeddings are divided by their length first; the cosine
            form always does.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's pairs times batch / number of all pairs,
        float32 or float64.

    Reference: Hadsell et al., 2006, equation 4; Wang et al., 2019, equation 5
    (https://arxiv.org/abs/1904.06627).
    """
    _check(margin, form)

    def rows(pairs):
        if form == "cosine":
            pull, push = -pairs.similarity, pairs.similarity - margin
        elif form == "survey":
            pull, push = pairs.squared_distance, margin - pairs.squared_distance
        else:
            pull, push = pairs.squared_distance, margin - pairs.distance
        push = tf.nn.relu(push)
        if form == "hadsell":
            push = tf.square(push)
        kinds = (pull, pairs.positive), (push, pairs.negative)
        sums = [masked_sum(*kind) for kind in kinds]
        counts = [masked_count(kind, pull.dtype) for _, kind in kinds]
        return tf.add_n(sums), tf.add_n(counts)

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize or form == "cosine",
        miner=miner,
        row_chunk=row_chunk,
    )


def _check(margin, form):
    check_number(margin=margin)
    check_choice(FORMS, form=form)


@keras.utils.register_keras_serializable(package="tfembed")
class Contrastive(FunctionalLoss):
    """`contrastive` as a Keras loss.

    >>> loss = Contrastive(margin=1.0)
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.1953
    """

    function = staticmethod(contrastive)
    check = staticmethod(_check)
