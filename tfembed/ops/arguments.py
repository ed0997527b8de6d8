"""Sentences about arguments that are out of their range, or no numbers.

Strings and truth values are no numbers. Tensors and variables pass: their values are
not known while a graph is built.
"""

import math

import tensorflow as tf


def check_number(**arguments):
    """Refuses each argument that is not a finite number."""
    _check("a finite number", lambda value: True, arguments)


def check_positive(**arguments):
    """Refuses each argument that is not a positive number."""
    _check("a positive number", lambda value: value > 0, arguments)


def check_not_negative(**arguments):
    """Refuses each argument that is not a number of at least 0."""
    _check("a number of at least 0", lambda value: value >= 0, arguments)


def check_fraction(**arguments):
    """Refuses each argument that is not a number from 0 to 1."""
    _check("a number from 0 to 1", lambda value: 0 <= value <= 1, arguments)


def check_count(least=1, /, **arguments):
    """Refuses each argument that is not an integer of `least` or more."""
    what = "a positive integer" if least == 1 else f"an integer of at least {least}"
    _check(what, lambda value: value >= least and value % 1 == 0, arguments)


def check_choice(choices, **arguments):
    """Refuses each argument that is none of `choices`."""
    names = ", ".join(repr(choice) for choice in choices)
    for name, value in arguments.items():
        if value not in choices:
            raise ValueError(
                f"`{name}` must be one of {names}. Received: {name}={value!r}."
            )


def check_untrained(**arguments):
    """Refuses tensors and variables, for what is read once, as a number."""
    for name, value in arguments.items():
        if tf.is_tensor(value) or isinstance(value, tf.Variable):
            raise TypeError(
                f"`{name}` must be a Python number: it is read once, and can be "
                f"neither trained nor driven. Received: {name}={value!r}."
            )


def _check(what, allowed, arguments):
    for name, value in arguments.items():
        if tf.is_tensor(value) or isinstance(value, tf.Variable):
            continue
        truth = isinstance(value, bool) or getattr(value, "dtype", None) == "bool"
        try:
            none = truth or isinstance(value, (str, bytes))
            number = math.nan if none else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or not allowed(number):
            raise ValueError(f"`{name}` must be {what}. Received: {name}={value!r}.")
