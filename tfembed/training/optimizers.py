"""Optimizers by name, with a learning-rate schedule and weight decay."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.ops.arguments import check_choice

OPTIMIZERS = ("sgd", "adam", "adamw", "lamb", "sgdw")
SCHEDULES = ("constant", "cosine", "step")


@keras.utils.register_keras_serializable(package="tfembed")
class DecayedSGD(keras.optimizers.SGD):
    """SGD with momentum and weight decay inside the gradient, as the papers train.

        gradient = gradient + weight_decay * weight

    Keras' own `weight_decay` is decoupled: it shrinks the weights apart from the
    momentum (which tensorflow-addons calls SGDW). Every trained weight decays, as
    in the papers' PyTorch code.

    >>> from tfembed.training import DecayedSGD
    >>> weight = tf.Variable([1.0])
    >>> optimizer = DecayedSGD(learning_rate=0.1, l2=0.5)
    >>> step = optimizer.apply_gradients([(tf.constant([1.0]), weight)])
    >>> round(float(weight[0]), 4)  # 1 - 0.1 * (1 + 0.5 * 1)
    0.85

    Args:
        l2: The weight decay.
        **kwargs: As in `keras.optimizers.SGD`.
    """

    def __init__(
        self, l2: float = 0.0, name: str = "decayed_sgd", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.l2 = l2

    def update_step(self, gradient: Any, variable: Any, *args: Any) -> None:
        """Adds the decay to the gradient, which is already that of all replicas."""
        if self.l2:
            gradient = gradient + self.l2 * tf.convert_to_tensor(variable)
        return super().update_step(gradient, variable, *args)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}


def build_schedule(
    name: str,
    learning_rate: float,
    steps: int,
    steps_per_epoch: int,
    warmup_steps: int = 0,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns a learning rate, or a Keras schedule over steps.

    >>> from tfembed.training import build_schedule
    >>> rate = build_schedule("cosine", 0.1, steps=100, steps_per_epoch=10)
    >>> [round(float(rate(step)), 4) for step in (0, 50, 100)]
    [0.1, 0.05, 0.0]

    Args:
        name: `"constant"`; `"cosine"`, to 0 over the run; `"step"`, a tenth after
            60 % of the run and a hundredth after 80 % (the paper's 120 and 160 of
            200 epochs).
        learning_rate: The first, or after the warm-up, rate.
        steps: Steps of the whole run.
        steps_per_epoch: Boundaries fall on whole epochs.
        warmup_steps: Steps over which the rate rises linearly from 0.

    Raises:
        ValueError: If the name is unknown.
    """
    check_choice(SCHEDULES, schedule=name)
    if name == "constant" and not warmup_steps:
        return learning_rate
    return LearningRate(name, learning_rate, steps, steps_per_epoch, warmup_steps)


@keras.utils.register_keras_serializable(package="tfembed")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The schedules of `build_schedule`, with a linear warm-up before them.

    >>> from tfembed.training import LearningRate
    >>> rate = LearningRate("step", 0.1, 100, 10, warmup_steps=10)
    >>> [round(float(rate(step)), 4) for step in (4, 20, 70, 90)]
    [0.05, 0.1, 0.01, 0.001]
    """

    def __init__(
        self,
        kind: str,
        learning_rate: float,
        steps: int,
        steps_per_epoch: int,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.learning_rate = learning_rate
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        epochs = max(1, self.steps // self.steps_per_epoch)
        if self.kind == "cosine":
            done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
            factor = 0.5 * (
                1 + tf.cos(3.141592653589793 * tf.clip_by_value(done, 0, 1))
            )
        elif self.kind == "step":
            epoch = tf.floor(step / self.steps_per_epoch)
            drops = tf.cast(epoch >= round(0.6 * epochs), tf.float32)
            drops += tf.cast(epoch >= round(0.8 * epochs), tf.float32)
            factor = tf.pow(0.1, drops)
        else:
            factor = 1.0
        if self.warmup_steps:
            factor = factor * tf.minimum(1.0, (step + 1) / self.warmup_steps)
        return self.learning_rate * factor

    def get_config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "steps_per_epoch": self.steps_per_epoch,
            "warmup_steps": self.warmup_steps,
        }


@keras.utils.register_keras_serializable(package="tfembed")
class MultipleOfRate(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, times a number."""

    def __init__(self, schedule, multiple):
        super().__init__()
        if isinstance(schedule, dict):  # from a config
            schedule = keras.optimizers.schedules.deserialize(schedule)
        self.schedule = schedule
        self.multiple = multiple

    def __call__(self, step):
        return self.multiple * self.schedule(step)

    def get_config(self):
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "multiple": self.multiple}


def build_optimizer(
    name: str,
    schedule: float | keras.optimizers.schedules.LearningRateSchedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    rates: Mapping[str, float] | None = None,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Builds an optimizer by name.

    >>> from tfembed.training import build_optimizer, build_schedule
    >>> schedule = build_schedule("cosine", 0.03, steps=1000, steps_per_epoch=100)
    >>> optimizer = build_optimizer("sgd", schedule, weight_decay=5e-4)
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(optimizer, "mse")

    Args:
        name: `"sgd"`, weight decay inside the gradient, as the papers train;
            `"adam"`, without weight decay; `"adamw"`; `"lamb"` and `"sgdw"`,
            from tensorflow-addons, on its stack alone.
        schedule: A learning rate or a Keras schedule.
        momentum: Of `sgd` and `sgdw`.
        weight_decay: Strength; for the decoupled `adamw` and `sgdw` it is
            multiplied by the learning rate.
        rates: Multiples of the learning rate, by the name of a weight, as
            `{"proxies": 100}`; those of 1 may be left out. Not with the optimizers of
            tensorflow-addons.
        ema: Momentum of averages of the weights, which `averaged` puts in their place;
            0 for none. Not with the optimizers of tensorflow-addons.

    Raises:
        ValueError: If the name is unknown, `adam` is asked to decay, or the optimizer
            takes no `rates` or no `ema`.
        ImportError: If tensorflow-addons is needed and cannot be imported.
    """
    check_choice(OPTIMIZERS, optimizer=name)
    rates = {each: rate for each, rate in (rates or {}).items() if rate != 1}
    if rates:
        if name in ("lamb", "sgdw"):
            raise ValueError(
                "`rates` go with Keras' optimizers. Received: "
                f"optimizer={name!r}, rates={rates}."
            )
        optimizer = build_optimizer(name, schedule, momentum, weight_decay, ema=ema)
        return with_rates(optimizer, rates)
    if ema:
        if name in ("lamb", "sgdw"):
            raise ValueError(
                "`ema` goes with Keras' optimizers. Received: "
                f"optimizer={name!r}, ema={ema}."
            )
        return _averaging(build_optimizer(name, schedule, momentum, weight_decay), ema)
    if name == "sgd":
        return DecayedSGD(l2=weight_decay, learning_rate=schedule, momentum=momentum)
    if name == "adam":
        if weight_decay:
            raise ValueError(
                "`weight_decay` must be 0 with optimizer='adam'; take "
                f"optimizer='adamw'. Received: weight_decay={weight_decay}."
            )
        return keras.optimizers.Adam(schedule)
    if name == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    addons = _addons(name)
    if name == "lamb":
        return addons.LAMB(schedule, weight_decay=weight_decay)

    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        decay = MultipleOfRate(schedule, weight_decay)  # type: Any
    else:
        decay = weight_decay * schedule
    return addons.SGDW(decay, schedule, momentum=momentum)


def _averaging(optimizer, momentum):
    """Has Keras average the weights, and never put the averages in their place."""
    base = type(optimizer)

    class Averaging(base):
        def finalize_variable_values(self, var_list):
            """Leaves the weights, so that training can go on."""

    Averaging.__name__ = base.__name__
    config = optimizer.get_config()
    return Averaging.from_config({**config, "use_ema": True, "ema_momentum": momentum})


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Puts the averages of a model's weights in their place, within a block.

    >>> from tfembed.training import averaged, build_optimizer
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(build_optimizer("sgd", 0.1, ema=0.9), "mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0)
    >>> trained = model.get_weights()[0].copy()
    >>> with averaged(model):
    ...     bool(np.allclose(trained, model.get_weights()[0]))
    False
    >>> bool(np.allclose(trained, model.get_weights()[0]))
    True

    Args:
        model: A compiled `keras.Model` whose optimizer was built with `ema`; with any
            other nothing is done.
    """
    averages = _averages(model)
    if not averages:
        yield
        return
    weights = model.trainable_variables
    before = [tf.convert_to_tensor(compat.variable(weight)) for weight in weights]
    before = [tf.identity(each) for each in before]
    for weight, average in zip(weights, averages):
        weight.assign(tf.convert_to_tensor(compat.variable(average)))
    try:
        yield
    finally:
        for weight, value in zip(weights, before):
            weight.assign(value)


def begin_averages(model: keras.Model) -> None:
    """Has averages begin with the weights that a model has now.

    >>> from tfembed.training import averaged, begin_averages, build_optimizer
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(build_optimizer("sgd", 0.1, ema=0.9), "mse")
    >>> model.set_weights([np.full((2, 1), 3.0), np.zeros(1)])  # from another run
    >>> begin_averages(model)
    >>> with averaged(model):
    ...     model.get_weights()[0].tolist()
    [[3.0], [3.0]]

    Args:
        model: As for `averaged`, whose weights were changed since it was built.
    """
    if not _averages(model):  # not built, or without averages
        model.optimizer.build(model.trainable_variables)
    for weight, average in zip(model.trainable_variables, _averages(model)):
        average.assign(tf.convert_to_tensor(compat.variable(weight)))


def _averages(model):
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not getattr(optimizer, "use_ema", False):
        return []
    # An optimizer that is not built has none yet.
    return getattr(optimizer, "_model_variables_moving_average", [])


def with_rates(optimizer, rates):
    """Gives some weights a multiple of an optimizer's learning rate.

    An update of such a weight is made as always, and then multiplied; so it holds for
    optimizers whose updates do not follow the gradient's size, too. Decoupled weight
    decay, which is multiplied by the learning rate, is multiplied likewise.

    Args:
        optimizer: A Keras optimizer, not yet built.
        rates: `{name: multiple}`; a weight is meant that has the name among the parts
            of its path, of which Keras 3 shows the last alone here.

    Returns:
        An optimizer of a class of its own, to train with; saved models do not hold it.
    """

    def rate_of(_, variable):
        rate = _rate_of(variable, rates)
        return None if rate is None else (rate, 0)

    return _rated(optimizer, rate_of)


def with_groups(
    optimizer: keras.optimizers.Optimizer,
    groups: Sequence[tuple[Sequence[Any], float, int]],
) -> keras.optimizers.Optimizer:
    """Gives groups of weights multiples of the learning rate, from a step on.

    As `with_rates`, by the weights themselves. Before its first step a group's rate is
    0: its weights stay, with their weight decay, while the optimizer's averages
    of their gradients go on.

    >>> from tfembed.training import with_groups
    >>> backbone, head = keras.layers.Dense(4), keras.layers.Dense(2)
    >>> model = keras.Sequential([keras.Input((8,)), backbone, head])
    >>> groups = [(backbone.trainable_variables, 0.1, 100)]  # frozen for 100 steps
    >>> model.compile(with_groups(keras.optimizers.SGD(0.1), groups), "mse")
    >>> before = backbone.get_weights()[0].copy()
    >>> history = model.fit(np.ones((8, 8)), np.ones((8, 2)), verbose=0)
    >>> bool(np.allclose(before, backbone.get_weights()[0]))
    True

    Args:
        optimizer: A Keras optimizer, not yet built.
        groups: List of `(weights, multiple, first step)`.

    Returns:
        An optimizer of a class of its own, to train with; saved models do not hold it.
    """
    found = {}  # type: dict[Any, Any]

    def rate_of(self, variable):
        return found.get(self._var_key(variable))

    rated = _rated(optimizer, rate_of)
    for weights, multiple, first_step in groups:
        for weight in weights:
            found[rated._var_key(weight)] = (multiple, first_step)
    return rated


def _rated(optimizer, rate_of):
    """Multiplies the updates of weights for which `rate_of` says `(multiple, step)`."""
    base = type(optimizer)

    class WithRates(base):
        def update_step(self, gradient, variable, *args):
            found = rate_of(self, variable)
            if found is None:
                return super().update_step(gradient, variable, *args)
            multiple, first_step = found
            before = tf.identity(variable)
            rate = tf.cast(multiple, before.dtype)
            if first_step:
                begun = tf.convert_to_tensor(self.iterations) >= first_step
                rate = tf.where(begun, rate, tf.zeros_like(rate))
            if self.weight_decay and super()._use_weight_decay(variable):
                decay = rate * self.weight_decay
                shrink = decay * tf.cast(self.learning_rate, before.dtype)
                before -= shrink * before
                variable.assign(before)
            with tf.control_dependencies([before]):
                result = super().update_step(gradient, variable, *args)
            after = tf.convert_to_tensor(variable)
            variable.assign(before + rate * (after - before))
            return result

        def _use_weight_decay(self, variable):
            # Keras would decay it by the rate of all others, before the update.
            return rate_of(self, variable) is None and super()._use_weight_decay(
                variable
            )

    WithRates.__name__ = base.__name__
    return WithRates.from_config(optimizer.get_config())


def _rate_of(variable, rates):
    """Returns the multiple for a weight, `None` for one that is not named."""
    parts = getattr(variable, "path", variable.name).split(":")[0].split("/")
    return next((rate for part, rate in rates.items() if part in parts), None)


def _addons(name):
    try:
        import tensorflow_addons
    except ImportError as error:
        raise ImportError(
            f"optimizer={name!r} comes from tensorflow-addons, which cannot be "
            "imported here. It works with TensorFlow 2.15 (Python 3.9 to 3.11): "
            "pip install 'tfembed[addons]'. Elsewhere take 'sgd' or 'adamw'."
        ) from error
    return tensorflow_addons.optimizers
