"""A temperature or scale that changes while `fit` runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Logs
from tfembed.ops.arguments import check_choice

UNITS = ("epoch", "step")
_OWN = "_tfembed_schedules"


class TemperatureSchedule(keras.callbacks.Callback):
    """Sets the temperature or scale of a loss or layer as training goes on.

    The value is a function of the epoch, or of the optimizer's step, and of nothing
    else: a run that is resumed, by `Backup` or by `keras.callbacks.BackupAndRestore`,
    goes on with the value that it would have had.

    The heated-up softmax divides cosines by 1/16 and, in the last 20 of 80 epochs, by
    1/4:

    ```python
    loss = tfembed.losses.NormSoftmax(temperature=1 / 16)
    model.compile("sgd", loss=loss)
    schedule = TemperatureSchedule(loss, {0: 1 / 16, 60: 1 / 4})
    model.fit(data, epochs=80, callbacks=[schedule])
    ```

    During `fit` the attribute is a variable, one on each replica, that the compiled
    step reads, in validation too; the config of the loss or layer still gives its
    number. Afterwards the attribute is a number again, the last value.

    It logs the value of each epoch, under the attribute's name.

    >>> from tfembed.callbacks import TemperatureSchedule
    >>> from tfembed.losses import SupCon
    >>> loss = SupCon(temperature=0.2)
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile("sgd", loss=loss)
    >>> schedule = TemperatureSchedule(loss, {0: 0.2, 1: 0.05})
    >>> options = {"callbacks": [schedule], "epochs": 2, "verbose": 0}
    >>> history = model.fit(np.random.rand(8, 8), np.arange(8) // 2, **options)
    >>> [round(float(each), 4) for each in history.history["temperature"]]
    [0.2, 0.05]

    Args:
        target: The loss, or the layer, that the model was compiled with, or holds.
        schedule: `schedule(epoch)` returns the value, a positive number or scalar
            tensor, as Keras' own `LearningRateSchedule`s do; or a dictionary from the
            first epoch of each value to the value, with 0 among its keys.
        attribute: Name of what is set; by default `"temperature"`, or `"scale"` where
            the target has no temperature. Others are possible, such as the
            `"annealing"` of `SphereFace`.
        unit: `"epoch"`, or `"step"`: the schedule is then given the number of steps
            that the optimizer has done. With `steps_per_execution` the value changes
            between executions.
    """

    def __init__(
        self,
        target: keras.losses.Loss | keras.layers.Layer,
        schedule: Callable[[int], Any] | Mapping[int, float],
        attribute: str | None = None,
        unit: str = "epoch",
    ) -> None:
        super().__init__()
        if attribute is None:
            named = [name for name in ("temperature", "scale") if hasattr(target, name)]
            attribute = named[0] if named else "temperature"
        if not hasattr(target, attribute):
            raise ValueError(
                "`target` must be a loss or layer with the attribute that is set. "
                f"Received: {type(target).__name__}, which has no {attribute!r}."
            )
        check_choice(UNITS, unit=unit)
        if isinstance(schedule, Mapping):
            schedule = _steps(schedule)
        if not callable(schedule):
            raise ValueError(
                "`schedule` must be a function of the epoch, or a dictionary from "
                f"first epochs to values. Received: schedule={schedule!r}."
            )
        self.target = target
        self.schedule = schedule
        self.attribute = attribute
        self.unit = unit
        self._variable: Any = None

    def value(self, number: int) -> float:
        """Returns the value at an epoch, or step, as a float.

        Raises:
            ValueError: If the schedule's value is not a positive number.
        """
        value = float(self.schedule(number))
        allowed = value > 0 or (value == 0 and self.attribute == "annealing")
        if not (math.isfinite(value) and allowed):
            raise ValueError(
                f"`schedule` must give positive numbers. Received: {value} at "
                f"{self.unit} {number}."
            )
        return value

    def set_model(self, model: keras.Model) -> None:
        """Puts the variable in place before the model's functions are traced."""
        super().set_model(model)
        start = getattr(self.target, self.attribute)
        start = start.numpy() if isinstance(start, tf.Variable) else start
        with model.distribute_strategy.scope():
            self._variable = tf.Variable(
                float(start),
                trainable=False,
                dtype=keras.backend.floatx(),
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name=self.attribute,
            )
        # Functions that are traced from now on read the variable: it lives on.
        kept = self.target.__dict__.setdefault(_OWN, [])
        kept[:] = [*kept, self._variable]
        self._place(self._variable)
        model.train_function = None
        model.test_function = None
        model.predict_function = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the epoch's value."""
        if self.unit == "epoch":
            self._variable.assign(self.value(epoch))

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Sets the step's value."""
        if self.unit == "step":
            self._variable.assign(self.value(self._step()))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Logs the value."""
        if logs is not None:
            logs[self.attribute] = self._number()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leaves the last value behind, as a number."""
        self._place(self._number())

    def _step(self):
        return int(tf.convert_to_tensor(self.model.optimizer.iterations))

    def _number(self):
        return float(tf.convert_to_tensor(self._variable))

    def _place(self, value):
        # Past Keras' own bookkeeping: the variable is no weight of a layer, neither
        # saved nor counted.
        object.__setattr__(self.target, self.attribute, value)


def _steps(values):
    """Returns the function that a dictionary of first epochs stands for."""
    if 0 not in values or not all(
        isinstance(first, int) and first >= 0 for first in values
    ):
        raise ValueError(
            "`schedule`, as a dictionary, must have whole numbers from 0 on as keys, 0 "
            f"among them. Received: schedule={dict(values)!r}."
        )
    return lambda number: values[max(first for first in values if first <= number)]
