"""The triplet loss (Schroff et al., 2015), with the common ways to mine triplets."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.miners import Miner
from tfembed.ops import triplets
from tfembed.ops.arguments import check_choice, check_number
from tfembed.ops.distance_weighted import DistanceWeighted
from tfembed.ops.floats import like
from tfembed.ops.masked import masked_max, masked_min
from tfembed.ops.pairs import References, over_terms

DISTANCES = ("squared_euclidean", "euclidean", "cosine")
MININGS = ("semi_hard", "window", "hard", "all", "distance_weighted")


def triplet(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    margin: Number = 0.2,
    distance: str = "squared_euclidean",
    mining: str = "semi_hard",
    soft: bool = False,
    normalize: bool = False,
    miner: Miner | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Wants each positive nearer to its anchor than the negatives, by a margin.

        loss(a, p, n) = max(D[a, p] - D[a, n] + margin, 0)
        soft:           log(1 + exp(D[a, p] - D[a, n]))

    A valid term is a triplet that the mining chooses, with loss 0 or not; the mean is
    over these. So an anchor without positives or without negatives counts nowhere.

        mining              triplets
        semi_hard           each anchor and positive, with the nearest negative that is
                            farther than the positive (strictly), or if there is none
                            with the farthest negative
        window              all with D[a, p] < D[a, n] < D[a, p] + margin
        hard                each anchor, its farthest positive, its nearest negative
        all                 all
        distance_weighted   each anchor and positive, with a negative that is drawn so
                            that the distances spread evenly (not below 0.5, not from
                            1.4 on if any is nearer, on unit rows)

    `semi_hard` is TensorFlow's rule, `tfa.losses.triplet_semihard_loss` (margin 1,
    Euclidean distance by default, NaN without positives). `window` is FaceNet's rule;
    what lies outside was never looked at, and a mean that counted it would shrink as
    training goes on. `hard` is batch hard; `tfa.losses.triplet_hard_loss` also
    averages over anchors without positives. TensorFlow Similarity takes one negative
    for each anchor's farthest positive, and pytorch-metric-learning averages over the
    triplets that cost something.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        margin: How much farther the negative shall be. FaceNet's 0.2 is for squared
            distances of unit rows.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`, 1 - the cosine.
        mining: Which triplets, see above. The draws of `distance_weighted` are
            functions of the embeddings' bits.
        soft: Whether the hinge gives way to a softplus, without margin (Hermans et
            al., 2017, https://arxiv.org/abs/1703.07737).
        normalize: Whether embeddings are divided by their length first, as in the
            paper; the cosine distance and `distance_weighted` always do.
        miner: A miner of `tfembed.miners`: of which pairs triplets are made; `None`:
            all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`: the sum of row i's triplets times batch / number of all triplets,
        float32 or float64.

    Reference: Schroff et al., 2015 (https://arxiv.org/abs/1503.03832);
    for `distance_weighted` Wu et al., 2017 (https://arxiv.org/abs/1706.07567).
    """
    _check(margin, distance, mining)
    term = triplets.soft if soft else triplets.hinge(margin)

    def rows(pairs):
        between = {
            "squared_euclidean": lambda: pairs.squared_distance,
            "euclidean": lambda: pairs.distance,
            "cosine": lambda: 1 - pairs.similarity,
        }[distance]()
        sides = between, pairs.positive, pairs.negative
        if mining == "hard":
            return _hard(*sides, term)
        if mining == "all":
            return triplets.all_triplets(*sides, term)
        if mining == "window":
            return triplets.all_triplets(*sides, term, window=margin)
        if mining == "semi_hard":
            choose = triplets.semi_hard(between, pairs.negative)
        else:
            draw = DistanceWeighted(pairs)
            choose = lambda column, near: draw(column)  # noqa: E731
        return triplets.one_negative_each(*sides, term, choose)

    drawn = mining == "distance_weighted"
    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize or distance == "cosine" or drawn,
        miner=miner,
        draws=drawn,
        row_chunk=row_chunk,
    )


def _hard(distance, positive, negative, term):
    gap = masked_max(distance, positive) - masked_min(distance, negative)
    both = tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1)
    margin, term = term
    value, _ = term(gap + like(margin, gap))
    return tf.where(both, value, tf.zeros_like(value)), tf.cast(both, gap.dtype)


def _check(margin, distance, mining):
    check_number(margin=margin)
    check_choice(DISTANCES, distance=distance)
    check_choice(MININGS, mining=mining)


@keras.utils.register_keras_serializable(package="tfembed")
class Triplet(FunctionalLoss):
    """`triplet` as a Keras loss.

    >>> loss = Triplet(margin=1.0, distance="euclidean")
    >>> labels = [0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.5]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.3486
    """

    function = staticmethod(triplet)
    check = staticmethod(_check)
