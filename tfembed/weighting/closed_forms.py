"""The weights of five losses, written down instead of differentiated.

Each class is a pair of weight functions of `tfembed.ops.pairs.Pairs`: at least 0, one
for positives, one for negatives. `PairWeighted` trains by them, and takes one side of
one and the other side of another.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Rows
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.masked import log_sum_exp, masked_count, masked_max, masked_min
from tfembed.ops.pairs import Pairs, References, over_pairs


class PairWeights:
    """Two weight functions, and how many terms a row's loss is a sum of.

    Called with a batch, it returns the signed weights of all pairs, as
    `tfembed.weighting.pair_weights` does for the loss:

        weights[i, j] = (negative[i, j] - positive[i, j]) / number of all terms
    """

    def positive(self, pairs: Pairs) -> tf.Tensor:
        """Returns the weights of pairs as positives, `(rows, refs)`.

        Only what stands where `pairs.positive` is true is looked at.
        """
        raise NotImplementedError

    def negative(self, pairs: Pairs) -> tf.Tensor:
        """Returns the weights of pairs as negatives, `(rows, refs)`."""
        raise NotImplementedError

    def terms(self, pairs: Pairs) -> tf.Tensor:
        """Returns how many terms of a mean each row is, `(rows,)`: by default one."""
        return tf.ones(tf.shape(pairs.similarity)[:1], pairs.similarity.dtype)

    def __call__(
        self,
        labels: Labels,
        embeddings: Rows,
        ref_labels: Labels | None = None,
        ref_embeddings: Rows | References | None = None,
    ) -> tf.Tensor:
        """Returns `(batch, refs)`; the arguments are those of a pair loss."""
        batch = labels, embeddings, ref_labels, ref_embeddings
        weights = over_pairs(
            lambda pairs: signed_weights(pairs, self.positive, self.negative),
            *batch,
            normalize=True,
        )
        terms = over_pairs(self.terms, *batch, normalize=True)
        return tf.math.divide_no_nan(weights, tf.reduce_sum(terms))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, by name."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PairWeights:
        """Makes the weight functions from their config."""
        return cls(**config)


def signed_weights(pairs, positive, negative):
    """Returns negative weights where pairs are positive, positive ones elsewhere."""
    nothing = tf.zeros_like(pairs.similarity)
    push = tf.cast(negative(pairs), nothing.dtype)
    pull = tf.cast(positive(pairs), nothing.dtype)
    weights = tf.where(pairs.negative, push, nothing)
    return tf.where(pairs.positive, -pull, weights)


@keras.utils.register_keras_serializable(package="tfembed")
class ContrastiveWeights(PairWeights):
    """The weights of the contrastive loss, its cosine form.

        positive: 1
        negative: 1 where S[i, j] > margin, else 0

    The terms are all pairs.

    Args:
        margin: Similarity above which a negative pair costs something, 0.5 by default
            (lambda in the paper).

    Reference: Wang et al., 2019, equation 5 (https://arxiv.org/abs/1904.06627).
    """

    def __init__(self, margin: float = 0.5) -> None:
        check_number(margin=margin)
        self.margin = margin

    def positive(self, pairs: Pairs) -> tf.Tensor:
        return tf.ones_like(pairs.similarity)

    def negative(self, pairs: Pairs) -> tf.Tensor:
        return tf.cast(pairs.similarity > self.margin, pairs.similarity.dtype)

    def terms(self, pairs: Pairs) -> tf.Tensor:
        return masked_count(pairs.positive | pairs.negative, pairs.similarity.dtype)


@keras.utils.register_keras_serializable(package="tfembed")
class TripletWeights(PairWeights):
    """The weights of the triplet loss with the cosine distance, over all triplets.

        positive: number of negatives k with S[i, k] - S[i, j] + margin > 0
        negative: number of positives k with S[i, j] - S[i, k] + margin > 0

    The terms are all triplets.

    Args:
        margin: How much more similar the positive shall be, 0.1 by default.

    Reference: Wang et al., 2019, section 3.2 (https://arxiv.org/abs/1904.06627).
    """

    def __init__(self, margin: float = 0.1) -> None:
        check_number(margin=margin)
        self.margin = margin

    def positive(self, pairs: Pairs) -> tf.Tensor:
        similarity = pairs.similarity
        below = _count_below(
            similarity, pairs.negative, similarity - self.margin, side="right"
        )
        return masked_count(pairs.negative, similarity.dtype)[:, None] - below

    def negative(self, pairs: Pairs) -> tf.Tensor:
        similarity = pairs.similarity
        return _count_below(
            similarity, pairs.positive, similarity + self.margin, side="left"
        )

    def terms(self, pairs: Pairs) -> tf.Tensor:
        dtype = pairs.similarity.dtype
        return masked_count(pairs.positive, dtype) * masked_count(pairs.negative, dtype)


def _count_below(similarity, mask, bounds, side):
    """Counts the entries of `mask` below each bound; with `"right"`, up to it."""
    away = tf.fill(tf.shape(similarity), similarity.dtype.max)
    ordered = tf.sort(tf.where(mask, similarity, away), axis=1)
    return tf.cast(tf.searchsorted(ordered, bounds, side), similarity.dtype)


@keras.utils.register_keras_serializable(package="tfembed")
class LiftedWeights(PairWeights):
    """The weights of the lifted structure loss, in its form on similarities.

        loss[i] = max(log(sum{exp(margin - S[i, j]) : j positive})
                      + log(sum{exp(S[i, j]) : j negative}), 0)

        positive: 1 / sum{exp(S[i, j] - S[i, k]) : k positive}  where loss[i] > 0
        negative: 1 / sum{exp(S[i, k] - S[i, j]) : k negative}  where loss[i] > 0

    Each side of an anchor sums to 1; an anchor that lacks one of the sides has no
    loss. This is the form of general pair weighting. `tfembed.losses.LiftedStructure`
    has the original one, on distances, of whose weights each depends on all others.

    Args:
        margin: Margin (lambda in the paper).

    Reference: Wang et al., 2019, section 3.2 (https://arxiv.org/abs/1904.06627).
    """

    def __init__(self, margin: float = 1.0) -> None:
        check_number(margin=margin)
        self.margin = margin

    def positive(self, pairs: Pairs) -> tf.Tensor:
        return self._share(-pairs.similarity, pairs.positive, pairs)

    def negative(self, pairs: Pairs) -> tf.Tensor:
        return self._share(pairs.similarity, pairs.negative, pairs)

    def _share(self, logits, mask, pairs):
        pull = log_sum_exp(self.margin - pairs.similarity, pairs.positive)
        push = log_sum_exp(pairs.similarity, pairs.negative)
        both = tf.reduce_any(pairs.positive, 1) & tf.reduce_any(pairs.negative, 1)
        active = tf.cast(both & (pull + push > 0), logits.dtype)
        share = logits - log_sum_exp(logits, mask)[:, None]
        return active[:, None] * _safe_exp(share, mask)


def _safe_exp(logits, mask):
    """Returns `exp(logits)` where the mask is true, elsewhere 0."""
    inside = tf.where(mask, logits, tf.zeros_like(logits))
    return tf.where(mask, tf.exp(inside), tf.zeros_like(logits))


@keras.utils.register_keras_serializable(package="tfembed")
class BinomialWeights(PairWeights):
    """The weights of the binomial deviance.

        positive: alpha * sigmoid(alpha * (base - S[i, j])) / number of positives
        negative: beta * sigmoid(beta * (S[i, j] - base)) / number of negatives

    Args:
        alpha, beta, base: As in `tfembed.losses.binomial_deviance`.

    Reference: Wang et al., 2019, equation 9 (https://arxiv.org/abs/1904.06627).
    """

    def __init__(
        self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5
    ) -> None:
        check_positive(alpha=alpha, beta=beta)
        check_number(base=base)
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def positive(self, pairs: Pairs) -> tf.Tensor:
        slope = self.alpha * (self.base - pairs.similarity)
        return self.alpha * _share_of_sigmoid(slope, pairs.positive)

    def negative(self, pairs: Pairs) -> tf.Tensor:
        slope = self.beta * (pairs.similarity - self.base)
        return self.beta * _share_of_sigmoid(slope, pairs.negative)


def _share_of_sigmoid(slope, mask):
    count = masked_count(mask, slope.dtype)[:, None]
    return tf.math.divide_no_nan(tf.sigmoid(slope), count)


@keras.utils.register_keras_serializable(package="tfembed")
class MultiSimilarityWeights(PairWeights):
    """The weights of the multi-similarity loss, mining included.

        positive: 1 / (exp(-alpha * (base - S[i, j]))
                       + sum{exp(-alpha * (S[i, k] - S[i, j])) : k positive})
        negative: 1 / (exp(beta * (base - S[i, j]))
                       + sum{exp(beta * (S[i, k] - S[i, j])) : k negative})

    over what the mining keeps, j and k alike; 0 for what it drops.

    Args:
        alpha, beta, base, epsilon: As in `tfembed.losses.multi_similarity`.

    Reference: Wang et al., 2019, equations 13 and 14
    (https://arxiv.org/abs/1904.06627).
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float | None = 0.1,
    ) -> None:
        check_positive(alpha=alpha, beta=beta)
        check_number(base=base, **({} if epsilon is None else {"epsilon": epsilon}))
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon

    def positive(self, pairs: Pairs) -> tf.Tensor:
        kept = pairs.positive
        if self.epsilon is not None:
            hardest = masked_max(pairs.similarity, pairs.negative, empty=-2.0)
            kept &= pairs.similarity - self.epsilon < hardest[:, None]
            kept &= tf.reduce_any(pairs.negative, axis=1)[:, None]
        return _weighed(self.alpha * (self.base - pairs.similarity), kept)

    def negative(self, pairs: Pairs) -> tf.Tensor:
        kept = pairs.negative
        if self.epsilon is not None:
            hardest = masked_min(pairs.similarity, pairs.positive, empty=2.0)
            kept &= pairs.similarity + self.epsilon > hardest[:, None]
            kept &= tf.reduce_any(pairs.positive, axis=1)[:, None]
        return _weighed(self.beta * (pairs.similarity - self.base), kept)


def _weighed(logits, kept):
    """Returns `exp(logits) / (1 + sum{exp(logits) : kept})` where kept, else 0."""
    total = tf.math.softplus(log_sum_exp(logits, kept, empty=logits.dtype.min / 2))
    return _safe_exp(logits - total[:, None], kept)
