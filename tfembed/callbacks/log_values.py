"""Numbers of one's own in the logs of each epoch."""

from tensorflow import keras


class LogValues(keras.callbacks.Callback):
    """Adds numbers to the logs of each epoch, where bar, CSV and TensorBoard find them.

    Args:
        **values: Name to function without arguments, which returns a number.
    """

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        """Asks each function."""
        if logs is not None:
            logs.update({name: float(value()) for name, value in self.values.items()})
