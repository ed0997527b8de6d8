"""Says when a run spends more than half of its time on augmentation."""

import statistics
import time

import numpy as np
from tensorflow import keras

__all__ = ["AugmentationShare"]

_TIMED = 3


class AugmentationShare(keras.callbacks.Callback):
    """Times a step and, beside it, the augmentation of its images; once a run.

    A step is what passes between the ends of two batches of the first epoch, input
    and training side by side.

    Args:
        augmentation: Function of images and a seed.
        images: Images of a step, all views of them, `[b, height, width, channels]`.
        report: Called with a sentence where augmenting takes more than half of a step.
    """

    def __init__(self, augmentation, images, report):
        super().__init__()
        self.share = None
        """The augmentation's time over a step's; `None` before the first epoch ends."""
        self._augmentation, self._images, self._report = augmentation, images, report
        self._first = self._last = None

    def on_train_batch_end(self, batch, logs=None):
        """Notes the time."""
        self._last = batch, time.perf_counter()
        self._first = self._first or self._last

    def on_epoch_end(self, epoch, logs=None):
        """Compares, after the first epoch."""
        if self.share is not None or self._last is None:
            return
        steps = self._last[0] - self._first[0]
        if steps < 1:  # a step's time is not known
            return
        step = (self._last[1] - self._first[1]) / steps
        augmenting = self._seconds()
        self.share = augmenting / max(step, 1e-9)
        if self.share > 0.5:
            self._report(
                f"keras-cv augments a step's images in {1e3 * augmenting:.0f} ms, "
                f"and a step takes {1e3 * step:.0f} ms: `--augmentation fast` makes "
                "the same images in less time"
            )

    def _seconds(self):
        import tensorflow as tf

        with tf.device("CPU:0"):
            images = tf.constant(self._images)
            augment = tf.function(self._augmentation)
            seconds = []
            for number in range(1 + _TIMED):  # the first traces
                start = time.perf_counter()
                np.asarray(augment(images, tf.constant([0, number], tf.int32)))
                seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[1:])
