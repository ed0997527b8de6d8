"""Batches larger than memory, with the gradient of the whole batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.ops.arguments import check_count
from tfembed.ops.rows import overwrite


@keras.utils.register_keras_serializable(package="tfembed")
class GradCacheModel(compat.ReplicaLosses, keras.Model):
    """Encodes a batch chunk by chunk, and trains as if it had been in one piece.

    A pair loss compares all rows of a batch, so that a batch cannot be cut into smaller
    ones. But it only compares embeddings, which are small. A training step

    1. encodes the batch chunk by chunk, and keeps nothing but the embeddings;
    2. computes the loss of all embeddings, and its gradient with respect to them;
    3. encodes each chunk again, and sends its embeddings' gradient into the weights.

    The memory is that of one chunk, the gradient is exact, the cost a second forward
    pass. The steps are Keras' own: the model is compiled and trained like any other,
    with any loss, on several replicas (`chunk_size` is then each replica's), with mixed
    precision, and it can be a part of another model, such as one that ends in
    `tfembed.layers.CrossBatch`.

    What looks at other rows within the encoder sees a chunk alone. Batch normalisation
    in training so normalises each chunk by itself: the result differs from that of the
    whole batch, unless its layers are frozen; and it cannot be synchronised over
    replicas here. The encoder's state (moving averages, seeds of dropout) is set back
    between the passes: dropout drops the same in both, and moving averages move once.
    The inputs are data: no gradient flows into what they may have been computed from.

    >>> from tfembed.losses import MultiSimilarity
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = GradCacheModel(encoder, chunk_size=32)
    >>> model.compile("sgd", loss=MultiSimilarity())
    >>> images, labels = np.ones((128, 8)), np.arange(128) // 4
    >>> history = model.fit(images, labels, batch_size=128, verbose=0)

    Args:
        encoder: A functional `keras.Model`, or a `Sequential` that begins with an
            `Input`, with one input and one output, `(batch, ...)`.
        chunk_size: Rows that are encoded at once.

    Call arguments:
        inputs: `(batch, ...)`, what the encoder takes.
        training: Passed on to the encoder.

    Returns:
        The encoder's output for all rows.

    Reference: Gao et al., 2021 (https://arxiv.org/abs/2101.06983).
    """

    def __init__(self, encoder: keras.Model, chunk_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(encoder, dict):  # from a config
            encoder = keras.utils.deserialize_keras_object(encoder)
        if not len(getattr(encoder, "outputs", None) or []) == 1:
            raise ValueError(
                "`encoder` must be a functional `keras.Model`, or a `Sequential` that "
                "begins with an `Input`, with one output. "
                f"Received: encoder={encoder!r}."
            )
        check_count(chunk_size=chunk_size)
        self.encoder = encoder
        self.chunk_size = int(chunk_size)
        compat.repeatable_draws(encoder)
        compat.forgo_xla(self)

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        training = compat.is_training(training)
        if tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context():
            return self.encoder(inputs, training=training)  # a graph is being built
        outputs, added = self._encode(tf.convert_to_tensor(inputs), training)
        if added is not None:
            self.add_loss(added)
        return outputs

    def _encode(self, inputs, training):
        """Returns the output for all rows, and the losses that the encoder added."""
        size, rows = self.chunk_size, tf.shape(inputs)[0]
        chunks = (rows + size - 1) // size  # of no rows none: nothing runs, or moves
        state = [compat.variable(each) for each in compat.moving_state(self.encoder)]
        kinds = set()

        def chunk(values, i):
            return values[i * size : tf.minimum((i + 1) * size, rows)]

        def encode(part):
            compat.take_added_losses(self.encoder)
            outputs = self.encoder(part, training=training)
            added = compat.take_added_losses(self.encoder)
            kinds.update(each.dtype for each in added)
            share = tf.shape(part)[0] / tf.maximum(rows, 1)
            total = tf.add_n([tf.zeros([]), *[tf.cast(x, tf.float32) for x in added]])
            return outputs, tf.cast(share, tf.float32) * total

        @tf.custom_gradient
        def whole(inputs):
            before = [tf.identity(each) for each in state]

            def forward(i, outputs, total):
                output, added = encode(chunk(inputs, i))
                return i + 1, outputs.write(i, output), total + added

            output = self.encoder.outputs[0]
            outputs = tf.TensorArray(
                tf.as_dtype(output.dtype),
                size=chunks,
                infer_shape=False,
                element_shape=[None, *output.shape[1:]],
            )
            _, outputs, total = _loop(chunks, forward, outputs, tf.zeros([]))

            def gradient(upstream, upstream_total, variables=()):
                after = [tf.identity(each) for each in state]
                _restore(state, before)

                def backward(i, *gradients):
                    with tf.GradientTape() as tape:
                        ends = encode(chunk(inputs, i))
                    own = tape.gradient(
                        ends,
                        list(variables),
                        output_gradients=[chunk(upstream, i), upstream_total],
                        unconnected_gradients=tf.UnconnectedGradients.ZERO,
                    )
                    return (
                        i + 1,
                        *[a + tf.convert_to_tensor(b) for a, b in zip(gradients, own)],
                    )

                zeros = [tf.zeros(each.shape, each.dtype) for each in variables]
                _, *gradients = _loop(chunks, backward, *zeros)
                with tf.control_dependencies(gradients):
                    _restore(state, after)
                return None, gradients

            return (outputs.concat(), total), gradient

        outputs, total = whole(tf.stop_gradient(inputs))
        return outputs, total if kinds else None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], *self.encoder.outputs[0].shape[1:])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        del training
        return compat.symbolic_like(self.encoder.outputs[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "name": self.name,
            "encoder": keras.utils.serialize_keras_object(self.encoder),
            "chunk_size": self.chunk_size,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> GradCacheModel:
        del custom_objects
        return cls(**config)


def _loop(steps, body, *initial):
    return tf.while_loop(
        lambda i, *_: i < steps, body, (tf.constant(0), *initial), parallel_iterations=1
    )


def _restore(variables, values):
    for variable, value in zip(variables, values):
        overwrite(variable, value)
