"""A backup after each epoch that survives being killed at any moment."""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.formats.disk import folder_written_beside
from tfembed.hints import Logs, PathLike

_NAME = re.compile(r"epoch-(\d+)$")


class Backup(keras.callbacks.Callback):
    """Saves model and optimizer after each epoch, and restores the newest backup.

    A backup is written beside, synced and renamed; the one before it is kept until
    then. `keras.callbacks.BackupAndRestore` overwrites its only one in place.

    ```python
    backup = Backup("runs/mine/backup")
    first_epoch = backup.restore(model)
    model.fit(data, initial_epoch=first_epoch, epochs=12, callbacks=[backup])
    ```

    Put it last among the callbacks, so that the epoch's log is written before. An
    epoch whose loss is not finite is not saved: the one before it stays.

    >>> import tempfile
    >>> from tfembed.callbacks import Backup
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     backup = Backup(folder)
    ...     options = {"callbacks": [backup], "verbose": 0}
    ...     history = model.fit(np.ones((4, 2)), np.ones(4), epochs=2, **options)
    ...     backup.restore(model)  # the epoch to go on with
    2

    Args:
        folder: Folder of the backups, `folder/epoch-00003` after three epochs.
        chief: False on all workers but the first of a multi-worker run. They take
            part in saving, as distributed variables need it, and keep nothing.
    """

    def __init__(self, folder: PathLike, chief: bool = True) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.chief = chief

    def newest(self) -> tuple[int, Path | None]:
        """Returns `(epochs, folder)` of the newest whole backup, or `(0, None)`."""
        found = [(0, None)]  # type: list[tuple[int, Path | None]]
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                match = _NAME.match(path.name)
                if match:
                    found.append((int(match[1]), path))
        return max(found, key=lambda each: each[0])

    def restore(self, model: keras.Model) -> int:
        """Restores model and optimizer, both built, from the newest backup.

        Args:
            model: The compiled `keras.Model`, as it was when it was backed up.

        Returns:
            The number of epochs that are done; 0, and nothing is changed, if there
            is no backup.

        Raises:
            ValueError: If the backup is of another model.
        """
        epochs, path = self.newest()
        if path is None:
            return 0
        compat.build_optimizer(model.optimizer, model.trainable_variables)
        try:
            status = _checkpoint(model).read(str(path / "state"))
            status.assert_existing_objects_matched()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"The backup {str(path)!r} is not one of this model; give the run "
                f"another directory. {error}"
            ) from error
        return epochs

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves the state after this epoch, unless its loss is not finite.

        Raises:
            OSError: With a sentence, if there is no room; the backup before it stays.
        """
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            return
        if not self.chief:
            with tempfile.TemporaryDirectory() as folder:
                _checkpoint(self.model).write(os.path.join(folder, "state"))
            return
        final = self.folder / f"epoch-{epoch + 1:05d}"
        with folder_written_beside(final) as partial:
            _checkpoint(self.model).write(os.path.join(partial, "state"))
        for path in self.folder.iterdir():
            if _NAME.match(path.name) and path != final:
                shutil.rmtree(path)


def _checkpoint(model):
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer)
