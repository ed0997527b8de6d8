"""Callbacks that see the averages of the weights, and not the weights."""

import contextlib

from tensorflow import keras


class WithAverages(keras.callbacks.Callback):
    """Runs callbacks at the end of an epoch with other weights in the model.

    >>> from tfembed.callbacks import CollapseWatchdog, WithAverages
    >>> from tfembed.training import averaged, build_optimizer
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> encoder.compile(build_optimizer("sgd", 0.1, ema=0.9), "mse")
    >>> encoder.optimizer.build(encoder.trainable_variables)
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

    def __init__(self, callbacks, averaged=contextlib.nullcontext):
        super().__init__()
        self.callbacks = list(callbacks)
        self.averaged = averaged

    def set_model(self, model):
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params):
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def on_train_begin(self, logs=None):
        """Tells the callbacks, with the averages."""
        with self.averaged(self.model):
            for callback in self.callbacks:
                callback.on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Tells the callbacks, with the averages."""
        with self.averaged(self.model):
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        """Tells the callbacks."""
        for callback in self.callbacks:
            callback.on_train_end(logs)
