"""What callbacks that measure after an epoch have in common."""

from __future__ import annotations

import math

from tensorflow import keras

from tfembed.hints import Logs
from tfembed.ops.arguments import as_count


class EpochMetrics(keras.callbacks.Callback):
    """Adds numbers to the epoch's logs; changes nothing of the training.

    A subclass defines `names`, and `evaluate`, which returns a number for each name.
    An epoch that is not measured, or whose loss is not finite, logs nothing, as with
    Keras' own `validation_freq`: callbacks that wait for a better number
    (`EarlyStopping`, `ReduceLROnPlateau`) count the epochs that have one.

    The first epoch of a fit is measured in any case: the columns of a CSV log are those
    of its first row.

    Args:
        every: Evaluate after so many epochs.
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.every = as_count("every", every)
        self._measured = False

    def names(self) -> list[str]:
        """Returns the names that it logs."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, float]:
        """Returns a dictionary from the names to numbers."""
        raise NotImplementedError

    def is_due(self, epoch: int) -> bool:
        """Tells whether an epoch is measured wherever the fit began."""
        return epoch == 0 or (epoch + 1) % self.every == 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forgets what an earlier fit measured."""
        self._measured = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds the numbers to the logs."""
        if logs is None or not math.isfinite(logs.get("loss", 0.0)):
            return
        if self.is_due(epoch) or not self._measured:
            logs.update(self.evaluate())
            self._measured = True
