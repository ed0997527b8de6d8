"""Numbers of one's own in the logs of each epoch."""

from __future__ import annotations

from collections.abc import Callable

from tensorflow import keras

from tfembed.hints import Logs


class LogValues(keras.callbacks.Callback):
    """Adds numbers to the logs of each epoch, where bar, CSV and TensorBoard find them.

    >>> from tfembed.callbacks import LogValues
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> log = LogValues(rate=lambda: float(model.optimizer.learning_rate))
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), callbacks=[log], verbose=0)
    >>> [round(rate, 4) for rate in history.history["rate"]]
    [0.01]

    Args:
        **values: Name to function without arguments, which returns a number.
    """

    def __init__(self, **values: Callable[[], float]) -> None:
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Asks each function."""
        if logs is not None:
            logs.update({name: float(value()) for name, value in self.values.items()})
