"""The embeddings of many images, batch by batch."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tfembed.ops.zero_rows import around_zero_rows

_TRACED: Any = weakref.WeakKeyDictionary()


def embed(encoder: keras.Model, batches: Iterable[Any]) -> np.ndarray | Any:
    """Runs an encoder in inference mode over batches of images.

    Nothing of the encoder changes: no batch statistics, no memory bank.

    >>> from tfembed.metrics import embed
    >>> encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> embed(encoder, tf.data.Dataset.from_tensors(tf.ones((2, 4, 4, 1)))).shape
    (2, 16)

    Args:
        encoder: A Keras model from images to embeddings.
        batches: Iterable of image batches, or of dictionaries with `"images"`, e.g.
            a `tf.data.Dataset`.

    Returns:
        float32 array `(images, dim)`, in the order of the batches. A model with
        several outputs gives a list of arrays.

    Raises:
        ValueError: If there is no batch.
    """
    infer = _inference(encoder)
    parts = []
    for batch in batches:
        images = batch["images"] if isinstance(batch, dict) else batch
        images = tf.convert_to_tensor(images)
        # One trace for batches of all sizes; a second call finds it.
        any_size = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        infer.get_concrete_function(any_size)
        outputs = tf.nest.flatten(infer(images))
        parts.append([np.asarray(output, np.float32) for output in outputs])
    if not parts:
        raise ValueError("`batches` must hold at least one batch. Received: none.")
    arrays = [np.concatenate(part) for part in zip(*parts)]
    return arrays[0] if len(arrays) == 1 else arrays


def _inference(encoder):
    """Returns the encoder as a `tf.function`, the same one at every call."""
    if encoder not in _TRACED:
        reference = weakref.ref(encoder)

        @tf.function
        def infer(images):
            return around_zero_rows(
                lambda images: reference()(images, training=False), images
            )

        _TRACED[encoder] = infer
    return _TRACED[encoder]
