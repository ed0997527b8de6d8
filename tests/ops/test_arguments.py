"""Sentences about numbers that are none."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops import arguments

CHECKS = [
    arguments.check_number,
    arguments.check_positive,
    arguments.check_not_negative,
    arguments.check_fraction,
    arguments.check_count,
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "value", ["1", b"1", "0.5", None, [1], np.nan, np.inf, -np.inf, "nan", {}]
)
def test_what_is_no_number_is_refused(check, value):
    with pytest.raises(ValueError, match="`x` must be .*number|`x` must be .*integer"):
        check(x=value)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "value", [1, 1.0, np.float32(1), np.int64(1), tf.constant(1.0), tf.Variable(1.0)]
)
def test_numbers_tensors_and_variables_pass(check, value):
    check(x=value)


@pytest.mark.parametrize("value", [tf.constant(1.0), tf.Variable(1.0)])
def test_what_is_read_once_is_no_tensor(value):
    arguments.check_untrained(x=1.0)
    with pytest.raises(TypeError, match="`x` must be a Python number.*Received: x="):
        arguments.check_untrained(x=value)


NO_NUMBERS = ["1", b"1", None, [1], np.nan, np.inf, True, np.True_, {}, 1j]


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, 1.0, 1.5, np.float32(1), np.array([1]), tf.constant(1)]
)
def test_what_is_counted_is_an_integer(value):
    with pytest.raises(ValueError, match="`x` must be a positive integer. Received: x"):
        arguments.as_count("x", value)


@pytest.mark.parametrize(
    ("bounds", "right", "wrong", "sentence"),
    [
        ({}, [1, np.int64(7), 2**70], [0, -1], "a positive integer"),
        ({"least": 0}, [0, np.uint8(0)], [-1], "an integer of at least 0"),
        ({"most": 4}, [1, 4], [0, 5], "an integer from 1 to 4"),
        ({"least": -2, "most": 0}, [-2, 0], [1, -3], "an integer from -2 to 0"),
    ],
)
def test_counts_have_bounds(bounds, right, wrong, sentence):
    for value in right:
        found = arguments.as_count("x", value, **bounds)
        assert type(found) is int and found == value
    for value in wrong:
        with pytest.raises(ValueError) as caught:
            arguments.as_count("x", value, note=", or more words", **bounds)
        assert str(caught.value) == (
            f"`x` must be {sentence}, or more words. Received: x={value!r}."
        )


@pytest.mark.parametrize("value", [*NO_NUMBERS, np.array([1.0]), tf.constant(1.0)])
def test_what_is_stored_as_a_number_is_one(value):
    with pytest.raises(ValueError, match="`x` must be a finite number. Received: x"):
        arguments.as_number("x", value)


@pytest.mark.parametrize(
    ("bounds", "right", "wrong", "sentence"),
    [
        ({}, [0, -1.5, np.float32(2)], [], "a finite number"),
        ({"above": 0}, [1e-9, 5], [0, -1], "a positive number"),
        ({"least": 0}, [0, 5], [-1e-9], "a number of at least 0"),
        ({"most": 2}, [2, -5], [2.1], "a number of at most 2"),
        ({"below": 2}, [1.9, -5], [2], "a number below 2"),
        ({"least": -1, "most": 1}, [-1, 1], [-1.1, 1.1], "a number from -1 to 1"),
        ({"above": 0, "most": 1}, [0.1, 1], [0, 1.1], "a number above 0 and at most 1"),
        ({"above": 0, "below": 1}, [0.5], [0, 1], "a number between 0 and 1"),
        (
            {"least": 0, "below": 1},
            [0, 0.9],
            [-0.1, 1],
            "a number of at least 0 and below 1",
        ),
    ],
)
def test_numbers_have_bounds(bounds, right, wrong, sentence):
    for value in right:
        found = arguments.as_number("x", value, **bounds)
        assert type(found) is float and found == value
    for value in wrong:
        with pytest.raises(ValueError) as caught:
            arguments.as_number("x", value, **bounds)
        assert str(caught.value) == f"`x` must be {sentence}. Received: x={value!r}."


@pytest.mark.parametrize(
    "shape", [(28, 30, 1), [np.int64(2), 2, 3], tf.TensorShape([9, 9, 3])]
)
def test_shapes(shape):
    found = arguments.as_shape("x", shape, channels=(1, 3))
    assert type(found) is tuple and found == tuple(map(int, shape))
    assert all(type(side) is int for side in found)


@pytest.mark.parametrize(
    "shape",
    [None, 28, "283", b"283", (28, 28), (28, 28, 2), (0, 28, 3), (28.0, 28, 3)]
    + [(28, 28, True), (28, "28", 3), (28, 28, 3, 1), (None, 28, 3), ()],
)
def test_what_is_no_shape(shape):
    with pytest.raises(ValueError) as caught:
        arguments.as_shape("x", shape, channels=(1, 3))
    assert str(caught.value) == (
        "`x` must be (height, width, channels), positive integers, with 1 or 3 "
        f"channels. Received: x={shape!r}."
    )


def test_choices_are_not_taken_for_what_equals_them():
    arguments.check_choice((None, 1, 3), x=np.int64(3))
    arguments.check_choice((True, "on"), x=True)
    for value in (True, "1", np.True_, np.array([1, 3]), 2, tf.constant([1, 2])):
        with pytest.raises(ValueError, match="`x` must be one of None, 1, 3. Received"):
            arguments.check_choice((None, 1, 3), x=value)
    with pytest.raises(ValueError, match="must be one of True. Received: x=1"):
        arguments.check_choice((True,), x=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_tables_of_rows(dtype):
    table = np.arange(12).reshape(4, 3).astype(dtype)
    arguments.check_rows("`x`", table, "fi")
    arguments.check_finite_rows("`x`", table)
    for wrong, said in (
        (table[0], "matrix of numbers, one embedding a row. Received: .* shape"),
        (table[:, :0], "matrix of numbers"),
        (table.astype(str), "matrix of numbers"),
        (table > 1, "matrix of numbers"),
        (table[:0], "at least one row. Received: none"),
    ):
        with pytest.raises(ValueError, match=f"`x` must .*{said}"):
            arguments.check_rows("`x`", wrong, "fi")
    if dtype == np.int32:
        with pytest.raises(ValueError, match="matrix of floats.* int32 of shape"):
            arguments.check_rows("`x`", table)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 65_535, 65_536, 70_000])
def test_the_first_row_that_is_not_finite(bad, row):
    table = np.zeros((70_001, 2), np.float32)
    table[row, 1] = table[70_000, 0] = bad
    with pytest.raises(ValueError, match=f"^It must be finite.* first in row <{row}>"):
        arguments.check_finite_rows("It", table, lambda number: f"<{number}>")


def test_what_is_counted_and_stored_needs_no_tensorflow():
    code = """
import sys
from tfembed.ops import arguments
arguments.as_count("x", 1), arguments.as_number("x", 1.5)
arguments.as_shape("x", (1, 2, 3)), arguments.check_choice((None, "a"), x="a")
arguments.check_count(x=3), arguments.check_positive(x=1.5)
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
