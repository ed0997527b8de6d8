"""What a stock server cannot run is refused, by name and place."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.export.stock_ops import check_stock_ops


def save(function, folder):
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32, name="x")
    module.call = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"call": module.call})
    return folder


def test_stock_ops_pass(tmp_path):
    save(lambda x: {"y": tf.while_loop(lambda x: True, lambda x: x, [x])[0]}, tmp_path)
    check_stock_ops(tmp_path)


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize(
    ("op", "make"),
    [
        ("PyFunc", lambda x: tf.numpy_function(np.sin, [x], tf.float32)),
        ("EagerPyFunc", lambda x: tf.py_function(tf.sin, [x], tf.float32)),
        ("ReadFile", lambda x: x + tf.strings.to_number(tf.io.read_file("number"))),
        ("PrintV2", lambda x: x + 0.0 * float(tf.print(x) is not None)),
        ("jit_compile=True", lambda x: tf.function(tf.sin, jit_compile=True)(x)),
    ],
)
def test_others_are_refused_by_name_and_place(tmp_path, op, make, inside):
    if inside:  # in the branch of a condition: a function of the library

        def function(x):
            with tf.name_scope("my_layer"):
                size = tf.size(x)
                return {"y": tf.cond(size > 3, lambda: make(x), lambda: x)}

    else:

        def function(x):
            with tf.name_scope("my_layer"):
                return {"y": make(x)}

    save(function, tmp_path)
    with pytest.raises(ValueError, match="stock TensorFlow server") as error:
        check_stock_ops(tmp_path)
    assert f"Received: {op} " in str(error.value)
    assert "function '" in str(error.value)
    if op.endswith("Func") and not inside:
        assert "my_layer" in str(error.value)
