"""Callbacks that see the averages of the weights, and not the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tensorflow import keras

from tfembed.hints import Logs


class WithAverages(keras.callbacks.Callback):
    """Runs callbacks at the end of an epoch with other weights in the model.

    >>> from tfembed.callbacks import CollapseWatchdog, WithAverages
    >>> from tfembed.training import averaged, build_optimizer
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> encoder.compile(build_optimizer("sgd", 0.1, ema=0.9), "mse")
    >>> images = np.random.default_rng(0).normal(size=(64, 8))
    >>> measured = WithAverages([CollapseWatchdog(encoder, images)], averaged)
    >>> options = {"callbacks": [measured], "verbose": 0}
    >>> history = encoder.fit(images, np.ones((64, 4)), **options)
    >>> "effective_rank" in history.history
    True

    Args:
        callbacks: Keras callbacks that measure or save at the end of an epoch.
        averaged: Function of the model that returns a context manager, such as
            `tfembed.training.averaged`, in which the other weights are there.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        averaged: Callable[
            [keras.Model], AbstractContextManager[Any]
        ] = contextlib.nullcontext,
    ) -> None:
        super().__init__()
        self.callbacks = list(callbacks)
        self.averaged = averaged

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Tells the callbacks, with the averages."""
        with self.averaged(self.model):
            for callback in self.callbacks:
                callback.on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Tells the callbacks, with the averages."""
        with self.averaged(self.model):
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Tells the callbacks."""
        for callback in self.callbacks:
            callback.on_train_end(logs)
