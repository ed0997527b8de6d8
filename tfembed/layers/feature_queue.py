"""The last rows that the encoder put out, with their labels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.hints import Labels, Rows
from tfembed.ops.arguments import check_count
from tfembed.ops.labels import flat_labels
from tfembed.ops.pairs import References
from tfembed.ops.replicas import gather
from tfembed.ops.rows import overwrite, read_rows, write_rows

EMPTY = tf.int64.min  # the label of a slot that holds nothing


@keras.utils.register_keras_serializable(package="tfembed")
class FeatureQueue(keras.layers.Layer):
    """Remembers the last `size` embeddings and their labels: cross-batch memory.

    A ring: new rows overwrite the oldest. Rows, labels and the place to write at are
    weights of the layer: saved, restored and resumed with the model, never trained.
    Every replica keeps the whole queue and writes the rows of all replicas, in the
    replicas' order, so that the copies stay equal. Of a batch that is larger than the
    queue, the last rows are kept. An embedding that is not finite is not remembered,
    and takes no other's slot.

    What is remembered goes to any loss that takes references. A slot that is empty
    makes no pair, so that the shapes are always the same:

    >>> from tfembed.losses import multi_similarity
    >>> queue = FeatureQueue(size=4, dim=2)
    >>> queue.write([[1.0, 0.0], [0.6, 0.8]], labels=[7, 8])
    >>> losses = multi_similarity([7], [[0.0, 1.0]], *queue.read(), epsilon=None)
    >>> print(losses.numpy().round(4))
    [0.9566]

    Args:
        size: Number of slots.
        dim: Length of an embedding.
        warmup_steps: How many writes pass before anything counts: while the encoder
            still moves quickly, what it said is soon out of date. The rows are
            written all the same. A write of no rows is none.

    Call arguments:
        inputs: `[embeddings, labels]`: `(batch, dim)` floats; `(batch,)` or
            `(batch, 1)` integers, booleans or strings.
        training: Whether to remember them.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the labels are floats.

    Reference: Wang et al., 2020, section 3.2 (https://arxiv.org/abs/1912.06798).
    """

    def __init__(
        self, size: int, dim: int, warmup_steps: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_count(size=size, dim=dim)
        check_count(0, warmup_steps=warmup_steps)
        self.size = int(size)
        self.dim = int(dim)
        self.warmup_steps = int(warmup_steps)
        compat.forgo_xla(self)

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.embeddings = compat.add_state(self, "embeddings", (self.size, self.dim))
        self.labels = compat.add_state(
            self,
            "labels",
            (self.size,),
            "int64",
            keras.initializers.Constant(EMPTY),
        )
        self.place = compat.add_state(self, "place", (), "int64")
        self.steps = compat.add_state(self, "steps", (), "int64")
        self.built = True

    def read(self) -> tuple[tf.Tensor, References]:
        """Returns what is remembered, as a loss takes it.

        Returns:
            `ref_labels`, `(size,)`, int64, and `ref_embeddings`, a
            `tfembed.ops.pairs.References` of `(size, dim)`, float32, without gradient.
        """
        self.build()
        slots = tf.range(self.size)
        labels = read_rows(compat.variable(self.labels), slots)
        rows = read_rows(compat.variable(self.embeddings), slots)
        warm = tf.identity(compat.variable(self.steps)) >= self.warmup_steps
        present = (labels != EMPTY) & warm
        return labels, References(tf.stop_gradient(rows), present)

    def overwritten(self, rows: Any) -> Any:
        """Tells which slots the next `rows` rows go to: `(size,)`, bool."""
        self.build()
        place = tf.identity(compat.variable(self.place))
        ahead = (tf.range(self.size, dtype=tf.int64) - place) % self.size
        return ahead < tf.cast(rows, tf.int64)

    def write(self, embeddings: Rows, labels: Labels) -> None:
        """Remembers rows, those of all replicas; the oldest make room.

        Args:
            embeddings: `(batch, dim)`, float; no gradient is taken.
            labels: `(batch,)`, integers, booleans or strings.
        """
        self.build()
        embeddings = tf.stop_gradient(tf.cast(embeddings, tf.float32))
        embeddings, labels = gather(embeddings, class_labels(labels))
        finite = tf.reduce_all(tf.math.is_finite(embeddings), axis=1)
        # The finite rows last, in their order, and of all the last `size`.
        order = tf.argsort(tf.cast(finite, tf.int32), stable=True)[-self.size :]
        kept, labels = tf.gather(embeddings, order), tf.gather(labels, order)
        there = tf.gather(finite, order)
        count = tf.reduce_sum(tf.cast(finite, tf.int64))
        new = tf.reduce_sum(tf.cast(there, tf.int64))
        place = tf.identity(compat.variable(self.place))
        rows = tf.size(order, tf.int64)
        # Those that are not finite write what the slots behind the new rows hold.
        behind = (tf.range(rows) - (rows - new)) % tf.maximum(rows, 1)
        slots = (place + count - new + behind) % self.size
        old = read_rows(compat.variable(self.embeddings), slots)
        old_labels = read_rows(compat.variable(self.labels), slots)
        write_rows(
            compat.variable(self.embeddings), slots, tf.where(there[:, None], kept, old)
        )
        write_rows(
            compat.variable(self.labels), slots, tf.where(there, labels, old_labels)
        )
        overwrite(compat.variable(self.place), (place + count) % self.size)
        steps = compat.variable(self.steps)
        overwrite(steps, steps + tf.cast(count > 0, steps.dtype))

    def fill(self, embeddings: Rows, labels: Labels) -> None:
        """Sets the whole queue, from a forward pass; outside of replicas.

        Args:
            embeddings: `(rows, dim)`; of more than `size` rows the last are kept, and
                none that is not finite.
            labels: `(rows,)`.
        """
        self.build()
        rows = tf.cast(embeddings, tf.float32)
        finite = tf.reduce_all(tf.math.is_finite(rows), axis=1)
        rows = rows[finite][-self.size :]
        labels = class_labels(labels)[finite][-self.size :]
        empty = [[0, self.size - rows.shape[0]]]
        compat.variable(self.embeddings).assign(tf.pad(rows, [*empty, [0, 0]]))
        compat.variable(self.labels).assign(
            tf.pad(labels, empty, constant_values=EMPTY)
        )
        compat.variable(self.place).assign(rows.shape[0] % self.size)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        embeddings, labels = inputs
        labels = class_labels(labels)
        if compat.is_training(training):
            self.write(embeddings, labels)
        return tf.identity(embeddings)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        del training
        check_label_dtype(inputs[1].dtype)
        return compat.symbolic_like(inputs[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "dim": self.dim,
            "warmup_steps": self.warmup_steps,
        }


def class_labels(labels):
    """Returns labels as int64 `(batch,)`, strings as hashes.

    Raises:
        TypeError: If the labels are floats.
    """
    labels = tf.convert_to_tensor(labels)
    check_label_dtype(labels.dtype)
    return tf.cast(flat_labels(labels), tf.int64)


def check_label_dtype(dtype):
    """Refuses labels that are floats, which 64-bit integers cannot tell apart."""
    dtype = tf.as_dtype(dtype)
    if dtype.is_floating:
        raise TypeError(
            "Labels that are remembered must be integers or strings, e.g. from "
            f"`keras.Input((), dtype='int64')`. Received: labels of dtype {dtype.name}."
        )
