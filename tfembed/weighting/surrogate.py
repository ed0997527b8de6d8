"""A loss from weights: what it should pull and push is given, not derived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.losses import FunctionalLoss
from tfembed.ops.masked import masked_sum
from tfembed.ops.pairs import Pairs, References, over_terms
from tfembed.weighting.closed_forms import PairWeights, signed_weights


def pair_weighted(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    positive_weight: Callable[[Pairs], tf.Tensor] | PairWeights,
    negative_weight: Callable[[Pairs], tf.Tensor] | PairWeights | None = None,
    mining: Callable[[Pairs], tuple[tf.Tensor, tf.Tensor]] | None = None,
    row_chunk: int | None = None,
) -> tf.Tensor:
    """Pulls positives and pushes negatives, each pair exactly as much as it weighs.

        loss[i] = sum{w[i, j] * S[i, j] : j negative}
                  - sum{w[i, j] * S[i, j] : j positive},    w constant

    S is the cosine similarity: embeddings are normalised inside. The weights may depend
    on all similarities, but take no gradient, so that the derivative of the loss with
    respect to S[i, j] is the weight of the pair, divided by the number of rows. A valid
    term is a row; with a closed form of a loss that averages over pairs or triplets,
    these. The value is that of this surrogate: it need not fall while training goes
    well. Its gradient is what counts.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: `(refs,)`; with `ref_embeddings`, what the anchors are compared
            with instead of the batch.
        ref_embeddings: `(refs, dim)`.
        positive_weight: A function of `tfembed.ops.pairs.Pairs` (with the masks
            `positive` and `negative` and the `similarity`, each `(rows, refs)`), that
            returns the weights of all pairs as if they were positive, `(rows, refs)`,
            at least 0. Or a closed form, such as `MultiSimilarityWeights()`, for its
            weights of positives.
        negative_weight: Likewise for negatives. `None`: those of the closed form that
            `positive_weight` is.
        mining: A miner of `tfembed.miners`: which pairs the weight functions see, and
            which have a weight; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Returns:
        `(batch,)`, the surrogate of each row, float32 or float64.

    Reference: Wang et al., 2019, equation 4 (https://arxiv.org/abs/1904.06627).
    """
    _check(positive_weight, negative_weight)
    whole = negative_weight is None
    positive = positive_weight  # type: Any
    count = None  # type: Any
    if isinstance(positive_weight, PairWeights):
        count, positive = positive_weight.terms, positive_weight.positive
    negative = positive_weight if whole else negative_weight  # type: Any
    if isinstance(negative, PairWeights):
        negative = negative.negative

    def rows(pairs):
        weights = tf.stop_gradient(signed_weights(pairs, positive, negative))
        values = masked_sum(weights * pairs.similarity, pairs.positive | pairs.negative)
        counts = count(pairs) if whole else tf.ones_like(values)
        return values, counts

    return over_terms(
        rows,
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=True,
        miner=mining,
        row_chunk=row_chunk,
    )


def _check(positive_weight, negative_weight):
    for name, weight in (
        ("positive_weight", positive_weight),
        ("negative_weight", negative_weight),
    ):
        if name == "negative_weight" and weight is None:
            if isinstance(positive_weight, PairWeights):
                continue
            raise ValueError(
                "`negative_weight` must be given, unless `positive_weight` is a closed "
                "form that has both, such as `MultiSimilarityWeights()`. Received: "
                f"negative_weight=None, positive_weight={positive_weight!r}."
            )
        if not callable(weight):
            raise ValueError(
                f"`{name}` must be a function of pairs or a closed form, such as "
                f"`MultiSimilarityWeights()`. Received: {name}={weight!r}."
            )


@keras.utils.register_keras_serializable(package="tfembed")
class PairWeighted(FunctionalLoss):
    """`pair_weighted` as a Keras loss.

    A weight function that is to be saved with a model has to be registered, by
    `keras.utils.register_keras_serializable()`.

    >>> loss = PairWeighted(
    ...     positive_weight=lambda pairs: tf.nn.relu(1 - pairs.similarity),
    ...     negative_weight=lambda pairs: tf.nn.relu(pairs.similarity),
    ... )
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    0.2667

    Args:
        positive_weight, negative_weight, mining, row_chunk: As in `pair_weighted`.
        reduction, name: As in `keras.losses.Loss`.
    """

    function = staticmethod(pair_weighted)

    def __init__(
        self,
        positive_weight: Callable[[Pairs], tf.Tensor] | PairWeights,
        negative_weight: Callable[[Pairs], tf.Tensor] | PairWeights | None = None,
        mining: Callable[[Pairs], tuple[tf.Tensor, tf.Tensor]] | None = None,
        row_chunk: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = "pair_weighted",
    ) -> None:
        weights = [_revived(positive_weight), _revived(negative_weight)]
        _check(*weights)
        super().__init__(
            reduction=reduction,
            name=name,
            positive_weight=weights[0],
            negative_weight=weights[1],
            mining=mining,
            row_chunk=row_chunk,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("positive_weight", "negative_weight"):
            if callable(config[name]):  # a plain function
                config[name] = keras.utils.serialize_keras_object(config[name])
        return config


def _revived(weight):
    """Returns a weight function from its place in a config."""
    if isinstance(weight, (dict, str)):
        return keras.utils.deserialize_keras_object(weight)
    return weight
