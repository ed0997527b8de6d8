"""A watch over training with a memory bank: does it learn at all?"""

from __future__ import annotations

import warnings
from typing import Any

from tensorflow import keras

from tfembed.hints import Logs

FIRST_STEPS = 50
_RECENT = 10


class BankWatchdog(keras.callbacks.Callback):
    """Warns when training against a memory bank does not work.

    - The loss of steps 41 to 50 is above that of the first step: the bank turns from
      random rows into correlated features faster than the encoder tells them apart.
    - NCE's mean noise posterior passes one half: the normaliser Z is far too small,
      and the loss tells the encoder little.

    It warns once of each, in words that say what to change, and changes nothing.

    >>> from tfembed.callbacks import BankWatchdog
    >>> from tfembed.layers import NoiseContrastive, UnitNorm
    >>> image, id_ = keras.Input((8,)), keras.Input((), dtype="int64")
    >>> layer = NoiseContrastive(64)
    >>> outputs = layer([UnitNorm()(keras.layers.Dense(4)(image)), id_])
    >>> model = keras.Model([image, id_], outputs)
    >>> model.compile("sgd")
    >>> data = tf.data.Dataset.from_tensors(((np.ones((64, 8)), np.arange(64)),))
    >>> history = model.fit(data, callbacks=[BankWatchdog(layer)], verbose=0)

    Args:
        layer: The endpoint layer, e.g. `NoiseContrastive`.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        self.layer = layer
        self.losses: list[float] = []
        self._total = 0.0
        self._warned: set[str] = set()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Keras starts a new mean of the loss."""
        self._total = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Recovers this batch's loss from the mean, over the first steps."""
        if len(self.losses) >= FIRST_STEPS:
            return
        total = (batch + 1) * float(logs["loss"])
        self.losses.append(total - self._total)
        self._total = total
        if len(self.losses) == FIRST_STEPS:
            self._check_loss()
            self._check_posterior()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Checks the noise posterior."""
        self._check_posterior()

    def _check_loss(self):
        recent = sum(self.losses[-_RECENT:]) / _RECENT
        if recent > self.losses[0]:
            self._warn(
                "loss",
                f"After {FIRST_STEPS} steps the loss, {recent:.2f}, is above its "
                f"first value, {self.losses[0]:.2f}: training against this memory "
                "bank is not learning. Fill the bank from a forward pass before "
                "training (--bank-init forward) and put a batch normalisation "
                "without scale and centre before the unit norm (--head-norm).",
            )

    def _check_posterior(self):
        if getattr(self.layer, "objective", None) != "nce":
            return
        posterior = self.layer.noise_posterior
        if posterior > 0.5:
            self._warn(
                "posterior",
                f"The mean noise posterior of NCE is {posterior:.2f}, above one "
                f"half: the normaliser Z = {self.layer.normalizer:.3g} is far too "
                "small, and the loss tells the encoder little. Take "
                "normalizer='moving_average' on a bank filled from a forward pass "
                "(--bank-init forward), or --objective infonce, which has no Z.",
            )

    def _warn(self, kind, message):
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, UserWarning, stacklevel=2)
