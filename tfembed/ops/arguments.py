"""Sentences about arguments that are out of their range, or no numbers.

Strings and truth values are no numbers. There are two kinds of functions:

- `check_...` refuse. Tensors and variables pass: their values are not known while a
  graph is built, and what is computed with may be any number, `2.0` a count.
- `as_...` return what they were given, as Python's own: what is counted, stored or sent
  with has to be of the right kind, too. They, and those of rows, do without TensorFlow.
"""

import math
import numbers

_ROWS_AT_ONCE = 1 << 16


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
    _check(
        _integer(least, None),
        lambda value: value >= least and value % 1 == 0,
        arguments,
    )


def check_choice(choices, **arguments):
    """Refuses each argument that is none of `choices`."""
    for name, value in arguments.items():
        if not any(_is_same(value, choice) for choice in choices):
            names = ", ".join(map(repr, choices))
            raise ValueError(
                f"`{name}` must be one of {names}. Received: {name}={value!r}."
            )


def check_untrained(**arguments):
    """Refuses tensors and variables, for what is read once, as a number."""
    for name, value in arguments.items():
        if _is_tensor(value):
            raise TypeError(
                f"`{name}` must be a Python number: it is read once, and can be "
                f"neither trained nor driven. Received: {name}={value!r}."
            )


def as_count(name, value, least=1, most=None, note=""):
    """Returns an integer as `int`; floats, whole ones too, are refused.

    Args:
        name: The argument's name.
        value: What was given: Python's or NumPy's integer.
        least: The least that is allowed.
        most: The most that is allowed; `None`: there is none.
        note: What more to say of what is allowed, such as `", or None for all"`.

    Raises:
        ValueError: If it is none, or out of range.
    """
    most = math.inf if most is None else most
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise _refused(name, _integer(least, most) + note, value)
    return int(value)


def as_number(
    name, value, least=-math.inf, most=math.inf, above=None, below=None, note=""
):
    """Returns a finite number as `float`.

    Args:
        name: The argument's name.
        value: What was given: Python's or NumPy's number.
        least: The least that is allowed.
        most: The most that is allowed.
        above: All that is allowed is above it, instead of `least`.
        below: All that is allowed is below it, instead of `most`.
        note: What more to say of what is allowed.

    Raises:
        ValueError: If it is none, or out of range.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    right = (
        number
        and math.isfinite(value)
        and (least <= value if above is None else above < value)
        and (value <= most if below is None else value < below)
    )
    if not right:
        raise _refused(name, _range(least, most, above, below) + note, value)
    return float(value)


def as_shape(name, value, axes=("height", "width", "channels"), channels=None):
    """Returns a shape as a tuple of `int`.

    Args:
        name: The argument's name.
        value: What was given: as many positive integers as there are axes.
        axes: What the integers are.
        channels: Allowed values of the last; `None`: any.

    Raises:
        ValueError: If it is no such shape.
    """
    try:
        shape = () if isinstance(value, (str, bytes)) else tuple(value)
        shape = tuple(as_count(name, side) for side in shape)
    except (TypeError, ValueError):
        shape = ()
    allowed = channels is None or (shape and shape[-1] in channels)
    if len(shape) != len(axes) or not allowed:
        what = f"({', '.join(axes)}), positive integers"
        if channels is not None:
            what += f", with {' or '.join(map(str, channels))} channels"
        raise _refused(name, what, value)
    return shape


def check_rows(subject, values, kinds="f", note=""):
    """Refuses what is no table of numbers with rows.

    Args:
        subject: What it is, the start of a sentence: an argument's quoted name.
        values: Array.
        kinds: The kinds of numbers that are allowed, NumPy's letters.
        note: What more to say of what is allowed.

    Raises:
        ValueError: If it is none.
    """
    shape, dtype = tuple(values.shape), values.dtype
    if len(shape) != 2 or not shape[1] or dtype.kind not in kinds:
        what = "floats" if kinds == "f" else "numbers"
        raise ValueError(
            f"{subject} must be a matrix of {what}, one embedding a row{note}. "
            f"Received: {dtype} of shape {shape}."
        )
    if not shape[0]:
        raise ValueError(f"{subject} must have at least one row. Received: none.")


def check_finite_rows(subject, values, row=str):
    """Refuses rows with a number that is not finite.

    Args:
        subject: As for `check_rows`.
        values: Array of numbers `(n, d)`; no second one of its size is made.
        row: Function of a row's number to what it is called.

    Raises:
        ValueError: With the first such row.
    """
    for start in range(0, len(values), _ROWS_AT_ONCE):
        finite = (abs(values[start : start + _ROWS_AT_ONCE]) < math.inf).all(axis=1)
        if not finite.all():
            first = start + int(finite.argmin())
            raise ValueError(
                f"{subject} must be finite. Received: NaN or infinity, first in row "
                f"{row(first)}. Leave it out, or mend it."
            )


def _check(what, allowed, arguments):
    for name, value in arguments.items():
        if _is_tensor(value):
            continue
        try:
            none = _is_truth(value) or isinstance(value, (str, bytes))
            number = math.nan if none else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or not allowed(number):
            raise _refused(name, what, value)


def _is_tensor(value):
    if isinstance(value, (numbers.Number, str)):
        return False
    import tensorflow as tf

    return tf.is_tensor(value) or isinstance(value, tf.Variable)


def _is_same(value, choice):
    """Whether a value is a choice; True is not 1, and an array is neither."""
    try:
        same = bool(value == choice)
    except (TypeError, ValueError):
        return False
    return same and _is_truth(value) == _is_truth(choice)


def _is_truth(value):
    return isinstance(value, bool) or getattr(value, "dtype", None) == "bool"


def _integer(least, most):
    if most is not None and most < math.inf:
        return f"an integer from {least} to {most}"
    return "a positive integer" if least == 1 else f"an integer of at least {least}"


def _range(least, most, above, below):
    if above == 0 and most == math.inf and below is None:
        return "a positive number"
    if above is None and below is None and math.inf not in (-least, most):
        return f"a number from {least:g} to {most:g}"
    if above is not None and below is not None:
        return f"a number between {above:g} and {below:g}"
    ends = []
    if above is not None or least > -math.inf:
        ends.append(f"of at least {least:g}" if above is None else f"above {above:g}")
    if below is not None or most < math.inf:
        of = "" if ends else "of "
        ends.append(f"{of}at most {most:g}" if below is None else f"below {below:g}")
    return f"a number {' and '.join(ends)}" if ends else "a finite number"


def _refused(name, what, value):
    return ValueError(f"`{name}` must be {what}. Received: {name}={value!r}.")
