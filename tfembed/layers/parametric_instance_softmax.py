"""The parametric baseline of instance discrimination: one trained row a class."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import InstanceEndpoint, embedding_dim
from tfembed.ops.streamed_softmax import trained_softmax


@keras.utils.register_keras_serializable(package="tfembed")
class ParametricInstanceSoftmax(InstanceEndpoint):
    """Tells every training instance from all others, by a trained weight vector.

    The baseline that the paper compares its memory bank with: an ordinary softmax
    classifier of `size` classes without bias, each instance being a class.

        loss[i] = -log softmax(weights @ embedding[i] / temperature)[ids[i]]

    An endpoint layer like `InstanceSoftmax`, streamed in the same way. Its weights
    `(size, dim)` are trained by the model's optimizer, and get a dense gradient.

    Args:
        size: Number of training instances.
        temperature: Divides the logits; 1, the default, is the paper's equation.
        initializer: Keras initializer of the weights; each instance's logit starts
            near 0.
        regularizer: Keras regularizer of the weights.

    Call arguments:
        inputs: `[embeddings, ids]`, as in `InstanceSoftmax`.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the ids are not integers.
        tf.errors.InvalidArgumentError: If an id is out of range. Under XLA the loss
            is NaN instead.

    Reference: Wu et al., 2018, equation 1 (https://arxiv.org/abs/1805.01978).
    """

    def __init__(
        self,
        size: int,
        temperature: float = 1.0,
        initializer: str | keras.initializers.Initializer = "glorot_uniform",
        regularizer: str | keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, temperature, **kwargs)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.instance_weights = compat.add_float32_weight(
            self,
            "instance_weights",
            (self.size, embedding_dim(input_shape)),
            self.initializer,
            self.regularizer,
        )
        self.built = True

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        weights = compat.variable(self.instance_weights)
        return trained_softmax(embeddings, weights, ids, self.temperature)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
        }
