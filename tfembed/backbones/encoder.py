"""A trained encoder, from disk or from memory, that embeds on all its replicas."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

import tfembed
from tfembed.backbones.encoder_path import encoder_path
from tfembed.formats.run_config import agreed_resize, run_resize
from tfembed.hints import PathLike

if TYPE_CHECKING:
    from tensorflow import keras

__all__ = ["Encoder", "encoder_path"]


class Encoder:
    """A Keras encoder from batches of pixels to embeddings, in inference mode.

    >>> from tfembed.backbones import Encoder, build_backbone
    >>> encoder = Encoder(build_backbone("small_conv", (32, 32, 3), seed=0))
    >>> encoder.image_shape, encoder.dim
    ((32, 32, 3), 128)
    >>> encoder(np.zeros((2, 32, 32, 3), "float32")).shape
    (2, 128)

    Args:
        model: A saved Keras model, a run directory (its `model.keras`), or a
            `keras.Model`, from images `[b, height, width, channels]` in 0..255 to
            embeddings `[b, d]`.
        image_size: `(height, width)` or an integer for both; only where the model
            takes images of any size.
        channels: 1 or 3; only where the model takes any number.
        strategy: The `tf.distribute.Strategy` to load the model under, or that a
            `keras.Model` was made under. `None`: all GPUs, where it is loaded here and
            there are several.
        resize: `"squash"`, `"crop"` or `"pad"`, how pictures are brought to the size
            (`tfembed/ops/resize.py`); not of a run's encoder, which has its own.

    Attributes:
        name: Path of the model's file, or "a keras.Model".
        sha256: Digest of the file, or of the model's config and weights.
        image_shape: `(height, width, channels)`.
        resize: How pictures are brought to it; `None` where nobody said.
        dim: Length of an embedding.
        model: The `keras.Model`.
        facts: Dictionary of what is known of its making; see `open_encoder`.

    Raises:
        ValueError: If there is no such model, it cannot be loaded, or it is not an
            encoder of images of one known shape.
    """

    def __init__(
        self,
        model: PathLike | keras.Model,
        image_size: int | tuple[int, int] | None = None,
        channels: int | None = None,
        strategy: tf.distribute.Strategy | None = None,
        resize: str | None = None,
    ) -> None:
        self.name = "a keras.Model"
        self.facts: dict[str, Any] = {}
        self.resize = agreed_resize(resize)
        if isinstance(model, (str, os.PathLike)):
            path = encoder_path(os.path.expanduser(os.fspath(model)))
            self.resize = agreed_resize(
                resize, run_resize(path), f"the run of {path!r}"
            )
            self.name, self.sha256 = os.path.abspath(path), _file_digest(path)
            strategy = strategy or all_gpus()
            with strategy.scope() if strategy else contextlib.nullcontext():
                model = _load(path)
        else:
            self.sha256 = _model_digest(model)
        self.model = model
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        self.image_shape = _image_shape(model, image_size, channels)

        def call(images):
            return model(images, training=False)

        @tf.function(reduce_retracing=True)
        def infer_on_all(images):
            return self._strategy.run(call, (images,))

        images = tf.TensorSpec((None, *self.image_shape), tf.float32)
        self._infer = tf.function(call, input_signature=[images])
        self._infer_on_all = infer_on_all
        outputs = tf.nest.flatten(self._infer(tf.zeros((1, *self.image_shape))))
        if len(outputs) != 1 or outputs[0].shape.rank != 2:
            raise ValueError(
                "`model` must give one embedding an image, [b, d]. Received: outputs "
                f"of shapes {[tuple(output.shape) for output in outputs]}. Give the "
                "encoder alone."
            )
        self.dim = int(outputs[0].shape[1])

    def __call__(self, images: Any) -> np.ndarray:
        """Returns the embeddings of pixels, float32 `[b, d]`."""
        if not len(images):
            return np.empty((0, self.dim), np.float32)
        if self._replicas == 1:
            return _float32(self._infer(tf.constant(images)))
        count = len(images)
        padding = np.repeat(images[-1:], -count % self._replicas, axis=0)
        parts = np.split(np.concatenate([images, padding]), self._replicas)
        values = self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )
        found = self._infer_on_all(values)
        found = self._strategy.experimental_local_results(found)
        return np.concatenate([_float32(part) for part in found])[:count]


def all_gpus():
    """Returns a strategy over all GPUs where there are several, else `None`."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return None


def _float32(outputs):
    return tf.cast(tf.nest.flatten(outputs)[0], tf.float32).numpy()


def _load(path):
    try:
        return tfembed.load_model(path, compile=False)
    except Exception as error:  # Keras lets through whatever its layers raise
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`model` must be a model that Keras can load with TensorFlow "
            f"{tf.__version__}. Received: model={path!r}: {words} Use the stack that "
            "saved it, and import what defines its own layers."
        ) from error


def _image_shape(model, image_size, channels):
    """Returns what images the encoder is given: its own shape, or what was asked."""
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, list) and len(shape) == 1:
        shape = shape[0]
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "`model` must take images, [b, height, width, channels]. Received: one "
            f"that takes {shape}. Give the encoder alone, not what it was trained in."
        )
    size = (image_size,) * 2 if np.ndim(image_size) == 0 else tuple(image_size)
    wanted = (*size, channels) if len(size) == 2 else (None, None, channels)
    for own, asked in zip(shape[1:], wanted):
        if None not in (own, asked) and own != asked:
            raise ValueError(
                "`image_size` and `channels` must be what `model` takes, "
                f"{shape[1:]}. Received: image_size={image_size!r}, "
                f"channels={channels!r}. Leave them out."
            )
    shape = tuple(own or asked for own, asked in zip(shape[1:], wanted))
    whole = all(isinstance(side, (int, np.integer)) and side > 0 for side in shape[:2])
    if not whole or shape[2] not in (1, 3):
        raise ValueError(
            "`image_size` and `channels` must be given where `model` takes images of "
            f"any size, and channels must be 1 or 3. Received: {shape}, of "
            f"image_size={image_size!r}, channels={channels!r}."
        )
    return tuple(int(side) for side in shape)


def _file_digest(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _model_digest(model):
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
