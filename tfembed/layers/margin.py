"""The margin-based loss, whose boundary between near and far is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import ClassEndpoint, embedding_dim
from tfembed.ops.arguments import (
    check_choice,
    check_count,
    check_not_negative,
    check_number,
)
from tfembed.ops.ignored_labels import kept_rows, share_of_kept
from tfembed.ops.masked import masked_count, masked_sum
from tfembed.ops.pairs import Pairs, over_terms

MEANS = ("pairs", "active")


@keras.utils.register_keras_serializable(package="tfembed")
class Margin(ClassEndpoint):
    """Asks positive pairs to be nearer than a learned boundary, negative ones further.

    An endpoint layer: it takes `[embeddings, labels]`, adds its loss to the model and
    passes the embeddings through. D is the Euclidean distance, and the anchor i says
    which boundary it is:

        positive pair  max(margin + D[i, j] - beta[labels[i]], 0)
        negative pair  max(margin - D[i, j] + beta[labels[i]], 0)

    A valid term is an ordered pair of the global batch, or one that the miner keeps;
    the loss is their mean, 0 without any. The authors' code divides by the number of
    pairs that cost something instead, `mean="active"`.

    The boundary is a weight of the layer, trained with the encoder: one for all, or one
    for each class. The authors sample negatives by distance: give it
    `tfembed.miners.DistanceWeightedMiner()`.

    >>> from tfembed.layers import UnitNorm
    >>> images = keras.Input((8,))
    >>> labels = keras.Input((), dtype="int64")
    >>> embeddings = UnitNorm()(keras.layers.Dense(4)(images))
    >>> outputs = Margin(num_classes=10)([embeddings, labels])
    >>> keras.Model([images, labels], outputs).compile("sgd")

    Args:
        num_classes: Number of classes, each with a boundary of its own; `None`: one
            boundary for all, and labels may be any integers.
        margin: Half the width of the boundary; alpha in the paper.
        beta: Where the boundaries start.
        beta_weight: Weight of the mean boundary of the batch's rows, which is added to
            the loss; nu in the paper.
        mean: `"pairs"` or `"active"`.
        normalize: Whether embeddings are divided by their length first; the paper's
            have unit length, which `beta` is meant for.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Call arguments:
        inputs: `[embeddings, labels]`: `(batch, dim)` floats; `(batch,)` integers.
            A third one, `(batch,)` floats, multiplies each row's loss.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the labels are not integers.
        tf.errors.InvalidArgumentError: If a label is out of range. Under XLA the loss
            is NaN instead.

    Reference: Wu et al., 2017, equation 5 (https://arxiv.org/abs/1706.07567).
    """

    def __init__(
        self,
        num_classes: int | None = None,
        margin: float = 0.2,
        beta: float = 1.2,
        beta_weight: float = 0.0,
        mean: str = "pairs",
        normalize: bool = False,
        miner: Callable[[Pairs], tuple[tf.Tensor, tf.Tensor]] | None = None,
        row_chunk: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_number(beta=beta)
        check_not_negative(margin=margin, beta_weight=beta_weight)
        check_choice(MEANS, mean=mean)
        if row_chunk is not None:
            check_count(row_chunk=row_chunk)
        super().__init__(num_classes, **kwargs)
        if isinstance(miner, dict):  # from a config
            miner = keras.utils.deserialize_keras_object(miner)
        self.margin = margin
        self.beta = beta
        self.beta_weight = beta_weight
        self.mean = mean
        self.normalize = normalize
        self.miner = miner
        self.row_chunk = row_chunk

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        embedding_dim(input_shape)  # refuses what it must
        self.boundaries = compat.add_float32_weight(
            self,
            "boundaries",
            (self.num_classes or 1,),
            keras.initializers.Constant(self.beta),
        )
        self.built = True

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        boundaries = compat.variable(self.boundaries)
        which = tf.zeros_like(ids) if self.num_classes is None else ids
        beta = tf.gather(boundaries, which)

        def rows(pairs):
            over = pairs.distance - pairs.row_inputs[0][:, None]
            terms = self.margin + tf.where(pairs.positive, over, -over)
            counted = pairs.positive | pairs.negative
            sums = masked_sum(tf.maximum(terms, 0.0), counted)
            if self.mean == "active":
                counted &= terms > 0
            return sums, masked_count(counted, terms.dtype)

        losses = over_terms(
            rows,
            ids,
            embeddings,
            normalize=self.normalize,
            row_inputs=[beta],
            miner=self.miner,
            row_chunk=self.row_chunk,
        )
        ignored = getattr(self.miner, "ignore_label", None)
        if ignored is not None:
            kept = tf.cast(kept_rows(ids, ignored), beta.dtype)
            beta *= kept * share_of_kept(ids, ignored, beta.dtype)
        return losses + self.beta_weight * beta

    def get_config(self) -> dict[str, Any]:
        miner = self.miner and keras.utils.serialize_keras_object(self.miner)
        return {
            **super().get_config(),
            "margin": self.margin,
            "beta": self.beta,
            "beta_weight": self.beta_weight,
            "mean": self.mean,
            "normalize": self.normalize,
            "miner": miner,
            "row_chunk": self.row_chunk,
        }
