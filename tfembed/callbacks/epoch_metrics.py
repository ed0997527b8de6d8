"""What callbacks that measure after an epoch have in common."""

import math

from tensorflow import keras


class EpochMetrics(keras.callbacks.Callback):
    """Adds numbers to the epoch's logs; changes nothing of the training.

    A subclass defines `names`, and `evaluate`, which returns a number for each name.
    An epoch that is not measured, or whose loss is not finite, logs NaN: the columns of
    a CSV log are those of its first row.

    Args:
        every: Evaluate after so many epochs.
    """

    def __init__(self, every=1):
        super().__init__()
        if every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every}.")
        self.every = every

    def names(self):
        """Returns the names that it logs."""
        raise NotImplementedError

    def evaluate(self):
        """Returns a dictionary from the names to numbers."""
        raise NotImplementedError

    def on_epoch_end(self, epoch, logs=None):
        """Adds the numbers to the logs."""
        if logs is None:
            return
        broken = not math.isfinite(logs.get("loss", 0.0))
        if (epoch + 1) % self.every == 0 and not broken:
            logs.update(self.evaluate())
        else:
            logs.update(dict.fromkeys(self.names(), float("nan")))
