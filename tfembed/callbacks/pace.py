"""How fast a run goes, and how long it still takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tensorflow import keras

from tfembed.hints import Logs
from tfembed.progress import duration


class Pace(keras.callbacks.Callback):
    """Logs images per second of training, and prints the time that is left.

    Put it first among the callbacks: then `images_per_second` counts training
    alone, and evaluation not.

    >>> from tfembed.callbacks import Pace
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> pace = Pace(images=4, epochs=2, report=print)
    >>> options = {"callbacks": [pace], "epochs": 2, "verbose": 0}
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), **options)
    1 of 2 epochs done, about ... left
    >>> len(history.history["images_per_second"])
    2

    Args:
        images: Images in an epoch.
        epochs: Epochs of the run.
        report: Called with a line of text after each epoch but the last; prints to
            standard error by default.
    """

    def __init__(
        self, images: int, epochs: int, report: Callable[[str], object] | None = None
    ) -> None:
        super().__init__()
        self.images = images
        self.epochs = epochs
        self.report = report or (lambda line: print(line, file=sys.stderr))
        self._first: tuple[int, float] | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Reports what is left, by the time of whole epochs."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (epoch, now)
        elif epoch > self._first[0]:
            done = epoch - self._first[0]
            left = (now - self._first[1]) / done * (self.epochs - epoch)
            self.report(
                f"{epoch} of {self.epochs} epochs done, about {duration(left)} left"
            )
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds the pace to the logs."""
        if logs is not None:
            seconds = time.perf_counter() - self._start
            logs["images_per_second"] = self.images / max(seconds, 1e-9)
