"""The best epoch of a run, kept beside the last; and when to stop looking for it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.formats.disk import folder_written_beside, written_beside
from tfembed.hints import Logs, PathLike
from tfembed.ops.arguments import as_count, check_choice


class KeepBest(keras.callbacks.Callback):
    """Saves an encoder whenever the epoch's logs are better than in all epochs before.

    What it keeps is on the disk, written beside and renamed, so that a run that was
    killed and goes on keeps the same; put it after what measures, and before `Backup`.

    >>> import tempfile
    >>> from tfembed.callbacks import KeepBest
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     best = KeepBest(folder, model, monitor="loss", mode="min")
    ...     options = {"callbacks": [best], "verbose": 0}
    ...     history = model.fit(np.ones((4, 2)), np.ones(4), epochs=2, **options)
    ...     best.best()["epoch"]
    2

    Args:
        folder: Folder of its own, made if need be.
        encoder: The `keras.Model` that is saved; it shares its weights with the model
            that is trained.
        monitor: The name in the logs. Not one that is measured on test images.
        mode: `"max"` or `"min"`, which values are better.
        patience: Stop after so many epochs without a better one; `None` for never.
        chief: As in `Backup`.
        every: After so many epochs the logs have the name; the others are passed over.
    """

    def __init__(
        self,
        folder: PathLike,
        encoder: keras.Model,
        monitor: str,
        mode: str = "max",
        patience: int | None = None,
        chief: bool = True,
        every: int = 1,
    ) -> None:
        super().__init__()
        check_choice(("max", "min"), mode=mode)
        if patience is not None:
            as_count("patience", patience, note=" of epochs, or None")
        self.folder = Path(folder)
        self.encoder = encoder
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.chief = chief
        self.every = every
        self._best = None
        with contextlib.suppress(FileNotFoundError):
            self._best = json.loads((self.folder / "best.json").read_text())

    def best(self) -> dict[str, Any] | None:
        """Returns `{"epoch", "value", "monitor"}` of the best epoch, or `None`."""
        return self._best

    def exhausted(self, epochs: int) -> bool:
        """Tells whether the patience is over after so many epochs."""
        best = self.best()
        if self.patience is None or best is None:
            return False
        return epochs - best["epoch"] >= self.patience

    def restore(self) -> dict[str, Any] | None:
        """Gives the encoder the weights of the best epoch.

        Returns:
            What `best` returns; where it is `None` nothing was changed.
        """
        best = self.best()
        if best is not None:
            path = self.folder / best["state"] / "state"
            status = self._checkpoint().read(str(path))
            status.assert_existing_objects_matched().expect_partial()
        return best

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves the encoder if it is better; stops if the patience is over.

        Raises:
            ValueError: If the logs have no such name.
            OSError: With a sentence, if there is no room; the best before it stays.
        """
        logs = logs or {}
        due = (epoch + 1) % self.every == 0
        if due and self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be one of {', '.join(sorted(logs))}. Received: "
                f"monitor={self.monitor!r}."
            )
        value = float(logs[self.monitor]) if due else math.nan
        best = self.best()
        if best is not None and best["epoch"] > epoch:
            best = None  # of a later epoch, which is trained again
        if math.isfinite(value) and self._better(value, best):
            self._save(epoch + 1, value)
        if self.exhausted(epoch + 1):
            self.model.stop_training = True

    def _better(self, value, best):
        if best is None:
            return True
        if self.mode == "max":
            return value > best["value"]
        return value < best["value"]

    def _save(self, epochs, value):
        name = f"epoch-{epochs:05d}"
        self._best = {
            "epoch": epochs,
            "value": value,
            "monitor": self.monitor,
            "state": name,
        }
        if not self.chief:
            with tempfile.TemporaryDirectory() as folder:
                self._checkpoint().write(os.path.join(folder, "state"))
            return
        final = self.folder / name
        with folder_written_beside(final) as partial:
            self._checkpoint().write(os.path.join(partial, "state"))
        with written_beside(self.folder / "best.json") as beside:
            Path(beside).write_text(json.dumps(self._best))
        for path in self.folder.glob("epoch-*"):
            if path != final:
                shutil.rmtree(path)

    def _checkpoint(self):
        return tf.train.Checkpoint(model=self.encoder)
