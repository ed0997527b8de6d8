"""Any pair loss, against the batch and what earlier batches left in a queue."""

from __future__ import annotations

import inspect
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import weighted
from tfembed.layers.feature_queue import FeatureQueue, check_label_dtype, class_labels
from tfembed.ops.pairs import References
from tfembed.ops.replicas import gather, mean_over_batch, position


@keras.utils.register_keras_serializable(package="tfembed")
class CrossBatch(compat.ReplicaLosses, keras.layers.Layer):
    """Compares each row with the batch and with the rows of earlier batches.

    An endpoint layer: it takes `[embeddings, labels]`, adds its loss to the model and
    passes the embeddings through. The loss is that of the anchors, the rows of the
    batch on all replicas, against the queue after this batch was put into it: against
    the whole batch, each row without itself, and the `size - batch` rows before it.
    In training the batch then stands in `layer.queue`. In inference the loss is
    the same, and nothing is remembered; so is the loss before the end of the warm-up,
    but that the batch is alone.

    The paper's training adds this loss to that of the batch in itself: for it, give
    the same loss to `compile`, and the labels as `y` too.

    >>> from tfembed.layers import UnitNorm
    >>> from tfembed.losses import Contrastive
    >>> images = keras.Input((8,))
    >>> labels = keras.Input((), dtype="int64")
    >>> embeddings = UnitNorm()(keras.layers.Dense(4)(images))
    >>> loss = Contrastive(0.5, form="cosine")
    >>> outputs = CrossBatch(loss, size=1024)([embeddings, labels])
    >>> keras.Model([images, labels], outputs).compile("sgd")

    Args:
        loss: A loss of `tfembed.losses` that takes references; what its `reduction`
            says does not matter.
        size: Number of rows that the queue holds, those of the batch included.
        warmup_steps: Training steps that use the batch alone.
        batch_gradient: Whether the rows of the batch send a gradient as references,
            too, not only as anchors. False as in the paper, whose memory holds
            constants. With True and an empty queue, value and gradient are those of
            the loss of the batch in itself.

    Call arguments:
        inputs: `[embeddings, labels]`: `(batch, dim)` floats; `(batch,)` or
            `(batch, 1)` integers, booleans or strings. A third one, `(batch,)` floats,
            multiplies each row's loss.
        training: Whether the queue remembers the batch.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the labels are floats.
        ValueError: If the loss takes no references.

    Reference: Wang et al., 2020, algorithm 1 (https://arxiv.org/abs/1912.06798).
    """

    def __init__(
        self,
        loss: compat.LabelLoss,
        size: int,
        warmup_steps: int = 0,
        batch_gradient: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if isinstance(loss, dict):  # from a config
            loss = keras.losses.deserialize(loss)
        if not hasattr(loss, "per_row"):
            raise TypeError(
                "`loss` must be a loss of `tfembed.losses`, such as "
                f"`MultiSimilarity()`. Received: loss={loss!r}."
            )
        check_takes_references(loss)
        FeatureQueue(size, 1, warmup_steps)  # refuses what it must
        self.loss = loss
        self.size = int(size)
        self.warmup_steps = int(warmup_steps)
        self.batch_gradient = bool(batch_gradient)
        self.queue: Any = None  # a `FeatureQueue`
        compat.forgo_xla(self)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        if len(input_shape) not in (2, 3) or input_shape[0][-1] is None:
            raise ValueError(
                "The inputs must be `[embeddings, labels]`, or with `weights` behind "
                "them, of shapes `(batch, dim)`, dim known, and `(batch,)`. "
                f"Received: shapes {input_shape}."
            )
        self.queue = FeatureQueue(
            self.size,
            int(input_shape[0][-1]),
            self.warmup_steps,
            name="queue",
            dtype="float32",
        )
        self.queue.build()
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        embeddings, labels, *weights = inputs
        labels = class_labels(labels)
        wide = tf.cast(embeddings, tf.float32)
        losses = self.loss.per_row(labels, wide, *self._references(wide, labels))
        self.add_loss(mean_over_batch(weighted(losses, *weights)))
        if compat.is_training(training):
            with tf.control_dependencies([losses]):
                self.queue.write(wide, labels)
        return tf.identity(embeddings)

    def _references(self, embeddings, labels):
        """The queue as it will be once it holds the batch: the batch comes first."""
        first, rows = position(tf.shape(labels)[0])
        if not self.batch_gradient:
            embeddings = tf.stop_gradient(embeddings)
        own = first + tf.range(tf.shape(labels)[0])
        embeddings, labels = gather(embeddings, labels)
        old_labels, old = self.queue.read()
        stays = old.present & ~self.queue.overwritten(rows)
        references = References(
            tf.concat([embeddings, old.embeddings], axis=0),
            tf.concat([tf.ones_like(labels, tf.bool), stays], axis=0),
            own,
        )
        return tf.concat([labels, old_labels], axis=0), references

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        del training
        check_label_dtype(inputs[1].dtype)
        return compat.symbolic_like(inputs[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "loss": keras.losses.serialize(self.loss),
            "size": self.size,
            "warmup_steps": self.warmup_steps,
            "batch_gradient": self.batch_gradient,
        }


def check_takes_references(loss):
    """Refuses a loss of similarities to proxies.

    Raises:
        ValueError: If the loss takes no references.
    """
    function = getattr(type(loss), "function", None) or loss.per_row
    parameters = inspect.signature(function).parameters
    if "ref_labels" not in parameters:
        raise ValueError(
            "`loss` must take references, as a loss of pairs or triplets does. "
            f"Received: loss={loss!r}."
        )
    if getattr(loss, "ignore_label", None) is not None:
        raise ValueError(
            "`loss` must have no `ignore_label`: the queue remembers all rows. "
            f"Received: ignore_label={loss.ignore_label!r}. Leave those rows out of "
            "the data."
        )
