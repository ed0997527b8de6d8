"""A learned linear metric on given features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.ops.arguments import check_count
from tfembed.ops.floats import widen
from tfembed.ops.zero_rows import around_zero_rows


@keras.utils.register_keras_serializable(package="tfembed")
class Mahalanobis(keras.layers.Layer):
    """Maps features so that Euclidean distances become a learned Mahalanobis distance.

        |L x - L y|^2 = (x - y)^T M (x - y),  M = L^T L

    M is positive semi-definite, and of rank `rank` at most, whatever L is: the
    classical metric that metric learning starts from. Any loss on embeddings trains it,
    on features that are given too:

    >>> from tfembed.losses import Contrastive
    >>> model = keras.Sequential([keras.Input((64,)), Mahalanobis(rank=16)])
    >>> model.compile("sgd", loss=Contrastive(margin=1.0))

    It starts with orthonormal rows of L: with `rank` the dimension of the features as
    the Euclidean distance, M = 1, below it as that of a random projection.

    Args:
        rank: Rows of L, the dimension of the output; `None`: that of the features.
        initializer: Keras initializer of L's transpose, `(dim, rank)`.
        regularizer: Keras regularizer of the same.

    Call arguments:
        inputs: Features, `(batch, dim)`, float.

    Returns:
        `(batch, rank)`, of the features' dtype; computed in float32 at least.

    Reference: Xing et al., 2002; Weinberger and Saul, 2009, equation 2.
    """

    def __init__(
        self,
        rank: int | None = None,
        initializer: str | keras.initializers.Initializer = "orthogonal",
        regularizer: str | keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if rank is not None:
            check_count(rank=rank)
            rank = int(rank)
        self.rank = rank
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                "The features must have the shape `(batch, dim)`, dim known. "
                f"Received: shape {tuple(input_shape)}."
            )
        dim = int(input_shape[-1])
        if self.rank is not None and self.rank > dim:
            raise ValueError(
                "`rank` must be at most the dimension of the features. "
                f"Received: rank={self.rank} and features of dimension {dim}."
            )
        self.factor = compat.add_float32_weight(
            self, "factor", (dim, self.rank or dim), self.initializer, self.regularizer
        )
        self.built = True

    @property
    def metric(self) -> tf.Tensor:
        """M, `(dim, dim)`, float32."""
        factor = tf.convert_to_tensor(compat.variable(self.factor))
        return tf.matmul(factor, factor, transpose_b=True)

    def call(self, inputs: Any) -> tf.Tensor:
        inputs = tf.convert_to_tensor(inputs)
        wide = widen(inputs)
        factor = tf.cast(compat.variable(self.factor), wide.dtype)
        mapped = around_zero_rows(lambda rows: tf.matmul(rows, factor), wide)
        return tf.cast(mapped, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.rank or input_shape[-1])

    def compute_output_spec(self, inputs: Any) -> Any:
        return compat.symbolic(
            self.compute_output_shape(tuple(inputs.shape)), inputs.dtype
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rank": self.rank,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
        }
