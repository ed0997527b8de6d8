"""Sentences about numbers that are none."""

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
