"""The full non-parametric softmax over a memory bank."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.layers.endpoint import BankEndpoint
from tfembed.ops.streamed_softmax import streamed_softmax


@keras.utils.register_keras_serializable(package="tfembed")
class InstanceSoftmax(BankEndpoint):
    """Tells every training instance from all others, by a memory bank.

    An endpoint layer: it takes `[embeddings, ids]`, adds its loss to the model and
    passes the embeddings through. With `bank` the memory of all `size` instances:

        p[i, j] = exp(embedding[i] . bank[j] / temperature) / sum over all rows
        loss[i] = -log p[i, ids[i]] + proximal * ||embedding[i] - bank[ids[i]]||^2

    The loss is the mean over the global batch. The bank takes no gradient; in
    training its rows of the batch are updated after the loss has read them. In
    inference the loss is added, and nothing is updated.

    The rows are streamed, so that `(batch, size)` never stands in memory.

    >>> from tfembed.layers import UnitNorm
    >>> images = keras.Input((8,))
    >>> ids = keras.Input((), dtype="int64")
    >>> embeddings = UnitNorm()(keras.layers.Dense(4)(images))
    >>> outputs = InstanceSoftmax(size=100)([embeddings, ids])
    >>> keras.Model([images, ids], outputs).compile("sgd")

    Args:
        size: Number of training instances, the rows of `layer.bank`.
        temperature: Divides the similarities. 0.07 is the paper's for ImageNet,
            its code takes 0.1 for CIFAR-10.
        momentum: Share of the old row that a bank update keeps.
        proximal: Weight of the paper's proximal term, which sends a gradient into
            the encoder; its code leaves it out.
        initializer: First rows of the bank, `"unit"` or `"paper"`; see
            `MemoryBank`.
        seed: Seed of the first rows.

    Call arguments:
        inputs: `[embeddings, ids]`: `(batch, dim)` floats, of unit length for the
            similarity to be the cosine; `(batch,)` integers in `[0, size)`. A third
            one, `(batch,)` floats, multiplies each row's loss.
        training: Whether to update the bank.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the ids are not integers.
        tf.errors.InvalidArgumentError: If an id is out of range. Under XLA the loss
            is NaN instead. No row is written either way.

    Reference: Wu et al., 2018, equation 2 (https://arxiv.org/abs/1805.01978).
    """

    def __init__(
        self,
        size: int,
        temperature: float = 0.07,
        momentum: float = 0.5,
        proximal: float = 0.0,
        initializer: str = "unit",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            size, temperature, momentum, proximal, initializer, seed, **kwargs
        )

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        losses = streamed_softmax(embeddings, self.bank.variable, ids, self.temperature)
        return losses + self.proximal_losses(embeddings, ids)
