"""The only module that knows which Keras is installed.

tfembed runs on Keras 2.15 (TensorFlow 2.15) and on Keras 3 with the TensorFlow
backend (TensorFlow 2.16 and later). Everything else says `import tensorflow as
tf` and `from tensorflow import keras` and uses what both share; the differences
live here, by name.
"""

from __future__ import annotations

import threading
from typing import Any

import tensorflow as tf
from tensorflow import keras

KERAS_3 = hasattr(keras, "ops")

if KERAS_3 and keras.config.backend() != "tensorflow":
    raise ImportError(
        "tfembed needs the TensorFlow backend of Keras. "
        f"Received: backend={keras.config.backend()!r}. "
        "Set KERAS_BACKEND=tensorflow before Keras is imported."
    )


def add_state(layer, name, shape, dtype="float32", initializer="zeros"):
    """Adds a weight that is saved with the layer, never trained and never cast.

    Every replica writes the same value into its own copy, hence no aggregation.

    Args:
        layer: The `keras.layers.Layer` that owns the weight.
        name: Name of the weight.
        shape: Its shape.
        dtype: Its dtype, whatever the mixed-precision policy.
        initializer: A Keras initializer, or its name.

    Returns:
        The layer's weight. `variable` gives the `tf.Variable` behind it.
    """
    if KERAS_3:
        seam = {"autocast": False, "aggregation": "none"}
    else:
        seam = {
            "experimental_autocast": False,
            "aggregation": tf.VariableAggregation.NONE,
        }
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        trainable=False,
        **seam,
    )


def add_float32_weight(layer, name, shape, initializer, regularizer=None):
    """Adds a trained weight that stays float32 under a mixed-precision policy."""
    seam = {"autocast": False} if KERAS_3 else {"experimental_autocast": False}
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype="float32",
        initializer=initializer,
        regularizer=regularizer,
        trainable=True,
        **seam,
    )


def variable(weight):
    """Returns the `tf.Variable` behind a weight of a layer or an optimizer."""
    if isinstance(weight, tf.Variable) or not KERAS_3:
        return weight
    return weight.value


def forgo_xla(layer):
    """Keeps Keras 3 from compiling a model with `layer` by XLA of its own accord.

    XLA drops assertions on ids, and cannot reach a variable of another replica.
    An explicit `jit_compile=True` still compiles.
    """
    if KERAS_3:
        layer.supports_jit = False


def optimizer_variables(optimizer):
    """Returns the `tf.Variable`s that hold an optimizer's state."""
    variables = optimizer.variables
    if callable(variables):
        variables = variables()
    return [variable(weight) for weight in variables]


def build_optimizer(optimizer, weights):
    """Makes an optimizer create its state now, instead of at its first step."""
    if KERAS_3:
        optimizer.build([weight for weight in weights])
    elif hasattr(optimizer, "build"):
        optimizer.build(weights)
    else:  # Keras 2's legacy optimizers, which tensorflow-addons builds on
        optimizer._create_all_weights(weights)


def set_precision(policy):
    """Sets the global mixed-precision policy by name."""
    keras.mixed_precision.set_global_policy(policy)


def symbolic_like(tensor):
    """Returns a new symbolic tensor like `tensor`, for `compute_output_spec`."""
    return symbolic(tensor.shape, tensor.dtype)


def symbolic(shape, dtype):
    """Returns a new symbolic tensor, for `compute_output_spec`."""
    return keras.KerasTensor(shape, dtype=dtype)


def is_training(training):
    """Turns a layer's `training` argument into a Python bool.

    A tensor whose value is not known while tracing, as Keras 2 passes it when it
    builds a functional model, counts as not training: nothing is updated then.
    """
    if tf.is_tensor(training):
        training = tf.get_static_value(training)
    return bool(training)


def repeatable_draws(model):
    """Makes dropout and the like draw from a state that can be set back.

    Keras 3's do; Keras 2's draw from TensorFlow's global generator by default.
    """
    if KERAS_3:
        return
    for layer in model._flatten_layers():
        generator = getattr(layer, "_random_generator", None)
        if getattr(generator, "_rng_type", None) == "legacy_stateful":
            generator._rng_type = "stateful"
            generator._built = False
            generator._maybe_init()


def moving_state(model):
    """Returns what a forward pass moves: moving averages, states of generators."""
    if KERAS_3:
        return list(model.non_trainable_variables)
    state = [each for each in model.non_trainable_weights if not each.trainable]
    for layer in model._flatten_layers():
        generator = getattr(layer, "_random_generator", None)
        if getattr(generator, "_generator", None) is not None:
            state.append(generator._generator.state)
    return state


def take_added_losses(model):
    """Returns what layers added as losses in their last call, and forgets it.

    Without regularizers of weights, which belong to no call.
    """
    losses = []
    for layer in model._flatten_layers():
        losses += layer._losses if KERAS_3 else layer._eager_losses
        if not KERAS_3:  # what was added while a functional model was put together
            layer._losses = []
    model._clear_losses()
    return losses


def number(weight):
    """Returns a scalar weight or tensor, mirrored or not, as a Python number."""
    return tf.convert_to_tensor(weight).numpy().item()


def plain(value):
    """Returns a setting as it goes into a config: the number of a variable."""
    return number(value) if isinstance(value, tf.Variable) else value


class LabelLoss(keras.losses.Loss):
    """A Keras loss whose `call` gets labels in the dtype that they have.

    Keras 3 would make them float32: integers above 2^24 collapse, and strings fail.
    """

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tf.Tensor:
        if not KERAS_3:
            return super().__call__(y_true, y_pred, sample_weight)
        nothing = ()  # to be cast
        return _OfLabels(self, y_true)(nothing, y_pred, sample_weight)


class _OfLabels(keras.losses.Loss):
    """A loss that knows its labels already; made for one call, by one replica."""

    def __init__(self, loss, labels):
        super().__init__(name=loss.name, reduction=loss.reduction)
        self._loss, self._labels = loss, labels

    def call(self, y_true, y_pred):
        del y_true
        return self._loss.call(self._labels, y_pred)


class ReplicaLosses:
    """A mixin for layers that call `add_loss` in models whose replicas talk.

    Keras 3 keeps the added losses of all replicas in one list of the layer. Replicas
    take turns at each exchange, in the layer's `call` or in the compiled loss, so that
    one of them would find the loss of another in the list and report it as its own, or
    clear the list that another has still to read. Here each finds what it added itself,
    and clears no more.
    """

    def add_loss(self, loss: Any) -> None:
        """Adds a loss, remembering whose it is."""
        super().add_loss(loss)  # type: ignore[misc]  # of the layer beside it
        if KERAS_3:
            loss._tfembed_thread = threading.get_ident()

    def _clear_losses(self):
        if not KERAS_3:
            super()._clear_losses()
            return
        mine = threading.get_ident()
        running = {thread.ident for thread in threading.enumerate()} - {mine}
        others = [
            loss
            for loss in self._losses
            if getattr(loss, "_tfembed_thread", mine) in running
        ]
        super()._clear_losses()
        self._losses.extend(others if _is_replica() else [])

    def _get_own_losses(self):
        losses = super()._get_own_losses()
        if not _is_replica():
            return losses
        mine = threading.get_ident()  # a replica of MirroredStrategy is a thread
        return [
            loss for loss in losses if getattr(loss, "_tfembed_thread", mine) == mine
        ]


def _is_replica():
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1
