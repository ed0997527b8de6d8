"""What the endpoint layers of instance discrimination have in common."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.memory_bank import MemoryBank
from tfembed.ops.arguments import check_count, check_not_negative, check_positive
from tfembed.ops.ids import check_ids, check_labels, flat_ids, refuse_float_ids
from tfembed.ops.labels import one_column
from tfembed.ops.replicas import mean_over_batch
from tfembed.ops.rows import read_rows


class Endpoint(compat.ReplicaLosses, keras.layers.Layer):
    """A layer that takes `[embeddings, ids]`, adds its loss, passes embeddings on.

    A third input, `[embeddings, ids, weights]`, multiplies each row's loss, as
    `sample_weight` does a compiled loss, which alone it reaches: the loss is the sum
    over the number of rows. What the layer remembers is as without weights.

    Subclasses say what a row's loss is, in `row_losses`, and what the ids are, in
    `kind` and `checked`.

    Args:
        **kwargs: As in `keras.layers.Layer`.
    """

    kind = "Ids"

    def __init__(self, **kwargs: Any) -> None:
        # Half floats are widened by the layer itself: Keras' automatic casting
        # would round float32 embeddings to the policy's half type.
        super().__init__(autocast=False, **kwargs)
        compat.forgo_xla(self)

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Returns `(batch,)`, each row's loss; `embeddings` are float32.

        What multiplies rows there goes around a batch of none (`ops.zero_rows`).
        """
        raise NotImplementedError

    def checked(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns ids behind an assertion, and whether all of them are in range."""
        raise NotImplementedError

    def after_loss(self, embeddings: tf.Tensor, ids: tf.Tensor) -> None:
        """Updates what the layer remembers, once the loss has read it.

        Where no replica has a row, nothing changes.
        """
        del embeddings, ids

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        embeddings, ids, *weights = inputs
        training = compat.is_training(training)
        ids, valid = self.checked(flat_ids(ids, self.kind))
        # Where XLA dropped the assertion, read row 0 and let the loss say NaN.
        ids_read = tf.where(valid, ids, 0)
        wide = tf.cast(embeddings, tf.float32)
        with tf.control_dependencies([valid]):  # nothing is remembered before
            losses = self.row_losses(wide, ids_read, training)
        losses = tf.where(valid, losses, float("nan"))
        self.add_loss(mean_over_batch(weighted(losses, *weights)))
        if training:
            with tf.control_dependencies([losses]):
                self.after_loss(wide, ids)
        return tf.identity(embeddings)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        del training
        refuse_float_ids(inputs[1].dtype, self.kind)
        return compat.symbolic_like(inputs[0])


def weighted(losses, weights=None):
    """Returns each row's loss, times its weight if there are weights."""
    if weights is None:
        return losses
    return losses * tf.cast(one_column(weights, "The weights"), losses.dtype)


class InstanceEndpoint(Endpoint):
    """An endpoint layer whose ids are those of training instances.

    Args:
        size: Number of training instances.
        temperature: Divides the similarities; positive.
        **kwargs: As in `keras.layers.Layer`.
    """

    kind = "Instance ids"

    def __init__(self, size: int, temperature: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_count(size=size)
        check_positive(temperature=temperature)
        self.size = int(size)
        self.temperature = float(temperature)

    def checked(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return check_ids(ids, self.size)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "temperature": compat.plain(self.temperature),
        }


class ClassEndpoint(Endpoint):
    """An endpoint layer whose ids are labels, the numbers of classes.

    Args:
        num_classes: Number of classes; `None`: labels may be any integers.
        **kwargs: As in `keras.layers.Layer`.
    """

    kind = "Labels"

    def __init__(self, num_classes: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_classes is not None:
            check_count(num_classes=num_classes)
            num_classes = int(num_classes)
        self.num_classes = num_classes

    def checked(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.num_classes is None:
            return ids, tf.constant(True)
        return check_labels(ids, self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


def embedding_dim(input_shape):
    """Returns the static `dim` of the shapes of `[embeddings, ids]`.

    Raises:
        ValueError: If the shapes are not those of `(batch, dim)` and ids.
    """
    if (
        len(input_shape) not in (2, 3)
        or len(input_shape[0]) != 2
        or input_shape[0][1] is None
    ):
        raise ValueError(
            "The inputs must be `[embeddings, ids]`, or with `weights` behind them, of "
            "shapes `(batch, dim)`, dim known, and `(batch,)`. "
            f"Received: shapes {input_shape}."
        )
    return int(input_shape[0][1])


class BankEndpoint(InstanceEndpoint):
    """An endpoint layer whose instances stand in a memory bank, `layer.bank`.

    Args:
        size, temperature: As in `InstanceEndpoint`.
        momentum, initializer, seed: As in `MemoryBank`.
        proximal: Weight of the proximal term, at least 0.
    """

    def __init__(
        self,
        size: int,
        temperature: float,
        momentum: float,
        proximal: float,
        initializer: str,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, temperature, **kwargs)
        check_not_negative(proximal=proximal)
        MemoryBank(size, 1, momentum, initializer, seed=0)  # refuses what it must
        self.momentum = momentum
        self.proximal = float(proximal)
        self.initializer = initializer
        self.seed = seed
        self.bank: Any = None  # a `MemoryBank`

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.bank = MemoryBank(
            self.size,
            embedding_dim(input_shape),
            momentum=self.momentum,
            initializer=self.initializer,
            seed=self.seed,
            name="bank",
            dtype="float32",
        )
        self.seed = self.bank.seed
        self.bank.build()
        self.built = True

    def proximal_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor
    ) -> tf.Tensor | float:
        """Returns `proximal * ||embedding - bank[id]||^2` of each row."""
        if not self.proximal:
            return 0.0
        old = read_rows(self.bank.variable, ids)
        change = tf.reduce_sum(tf.math.squared_difference(embeddings, old), axis=1)
        return self.proximal * change

    def after_loss(self, embeddings: tf.Tensor, ids: tf.Tensor) -> None:
        self.bank.write(embeddings, ids)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "proximal": self.proximal,
            "initializer": self.initializer,
            "seed": self.seed,
        }
