"""Center loss: each embedding beside the centre of its class."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import ClassEndpoint, embedding_dim
from tfembed.ops.arguments import check_choice, check_count, check_not_negative
from tfembed.ops.replicas import gather
from tfembed.ops.rows import read_rows, write_rows
from tfembed.ops.zero_rows import at_least_one_row, first_rows

UPDATES = ("paper", "gradient")


@keras.utils.register_keras_serializable(package="tfembed")
class Centers(ClassEndpoint):
    """Draws each embedding to the centre of its class.

    An endpoint layer: it takes `[embeddings, labels]`, adds its loss to the model and
    passes the embeddings through. With `centers` one row for each class:

        loss[i] = weight / 2 * |embedding[i] - centers[labels[i]]|^2

    averaged over the global batch (the paper sums up; beside a cross-entropy that is
    averaged too, `weight` is its lambda). Alone it would put everything at one point: a
    softmax classifier keeps the classes apart. The two train together, by two outputs:

    >>> images = keras.Input((8,), name="images")
    >>> labels = keras.Input((), dtype="int64", name="labels")
    >>> embeddings = keras.layers.Dense(2)(images)
    >>> embeddings = Centers(num_classes=3, name="centers")([embeddings, labels])
    >>> logits = keras.layers.Dense(3, name="logits")(embeddings)
    >>> model = keras.Model([images, labels], {"centers": embeddings, "logits": logits})
    >>> cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile("sgd", loss={"logits": cross_entropy})
    >>> x, y = tf.random.normal([6, 8]), tf.constant([0, 1, 2, 0, 1, 2], tf.int64)
    >>> data = tf.data.Dataset.from_tensors(
    ...     ({"images": x, "labels": y}, {"logits": y})
    ... )
    >>> history = model.fit(data, verbose=0)

    The centres move, in training, after the loss has read them, by one of two rules:

    - `"paper"`: by the batch alone, without the optimizer. n_j is the number of class
      j's embeddings x_i in the global batch; classes that are not in it stay.

          centers[j] -= rate * sum{centers[j] - x_i} / (1 + n_j)

    - `"gradient"`: the optimizer trains them, with the gradient of the loss that has
      `rate` where `weight` stands; with `weight` itself they would hardly move. Other
      implementations have an optimizer for the centres to the same end.

    Args:
        num_classes: Number of classes.
        weight: Of the loss; lambda in the paper.
        rate: How far the centres move; alpha in the paper.
        update: `"paper"` or `"gradient"`.
        initializer: Keras initializer of the centres, `(num_classes, dim)`.

    Call arguments:
        inputs: `[embeddings, labels]`: `(batch, dim)` floats; `(batch,)` integers in
            `[0, num_classes)`. A third one, `(batch,)` floats, multiplies each row's
            loss.
        training: Whether the centres move.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the labels are not integers.
        tf.errors.InvalidArgumentError: If a label is out of range. Under XLA the loss
            is NaN instead. No centre moves either way.

    Reference: Wen et al., 2016, equations 2 to 5.
    """

    def __init__(
        self,
        num_classes: int,
        weight: float = 0.003,
        rate: float = 0.5,
        update: str = "paper",
        initializer: str | keras.initializers.Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        check_not_negative(weight=weight, rate=rate)
        check_choice(UPDATES, update=update)
        check_count(num_classes=num_classes)
        super().__init__(num_classes, **kwargs)
        self.weight = weight
        self.rate = rate
        self.update = update
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        shape = (self.num_classes, embedding_dim(input_shape))
        if self.update == "paper":
            self.centers = compat.add_state(
                self, "centers", shape, initializer=self.initializer
            )
        else:
            self.centers = compat.add_float32_weight(
                self, "centers", shape, self.initializer
            )
        self.built = True

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        centers = compat.variable(self.centers)
        if self.update == "paper":
            return self.weight / 2 * _squared(embeddings - read_rows(centers, ids))
        own = tf.gather(centers, ids)
        pull = self.weight / 2 * _squared(embeddings - tf.stop_gradient(own))
        move = self.rate / 2 * _squared(tf.stop_gradient(embeddings) - own)
        return pull + (move - tf.stop_gradient(move))  # a value of 0, and a gradient

    def after_loss(self, embeddings: tf.Tensor, ids: tf.Tensor) -> None:
        if self.update != "paper":
            return
        centers = compat.variable(self.centers)
        embeddings, ids = gather(tf.stop_gradient(embeddings), ids)
        rows = tf.shape(ids)[0]
        embeddings, ids = at_least_one_row(embeddings, ids)
        ids, valid = self.checked(ids)
        # An embedding that is not finite does not count.
        finite = tf.reduce_all(tf.math.is_finite(embeddings), axis=1)
        embeddings = tf.where(finite[:, None], embeddings, 0.0)
        same = tf.cast((ids[:, None] == ids[None, :]) & finite[None, :], tf.float32)
        count = tf.reduce_sum(same, axis=1, keepdims=True)
        old = read_rows(centers, tf.where(valid, ids, 0))
        change = (count * old - tf.matmul(same, embeddings)) / (1 + count)
        new = old - self.rate * change
        new = tf.where(
            tf.reduce_all(tf.math.is_finite(new), 1, keepdims=True), new, old
        )
        # Rows of one class write one value. XLA drops writes out of range.
        ids = tf.where(valid, ids, self.num_classes)
        write_rows(centers, first_rows(ids, rows), first_rows(new, rows))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight": compat.plain(self.weight),
            "rate": self.rate,
            "update": self.update,
            "initializer": keras.initializers.serialize(self.initializer),
        }


def _squared(rows):
    return tf.reduce_sum(tf.square(rows), axis=1)
