"""Galleries above 2 GB, and variables that are filled in parts."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfembed.export import search_model
from tfembed.export.search_model import _gallery_variable


@pytest.mark.parametrize("dtype", [np.float32, tf.bfloat16.as_numpy_dtype, np.int32])
def test_variables_are_filled_in_parts(monkeypatch, dtype):
    monkeypatch.setattr(search_model, "_AT_ONCE", 100)
    value = np.arange(23 * 3).reshape(23, 3).astype(dtype)
    made = _gallery_variable("rows", value)
    np.testing.assert_array_equal(made.numpy(), value)
    assert made.shape.as_list() == [None, 3] and made.dtype == value.dtype
    made.assign(tf.zeros([2, 3], made.dtype))  # of any number of rows
    one_row = _gallery_variable("row", np.ones((1, 400), dtype))
    assert one_row.numpy().astype(np.float32).sum() == 400


@pytest.mark.slow
def test_a_gallery_above_two_gigabytes_needs_little_more_than_a_copy(tmp_path):
    code = f"""
import resource
import numpy as np, tensorflow as tf
from tfembed.export.search_model import _gallery_variable
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
rows = np.ones((4_300_000, 128), np.float32)
before = peak()
module = tf.Module()
module.rows = _gallery_variable("rows", rows)
spec = [tf.TensorSpec([None, 128])]
ask = tf.function(
    lambda q: {{"y": tf.gather(module.rows, [0, 4_299_999]) @ q[0, :, None]}}, spec
)
tf.saved_model.save(module, {str(tmp_path / "1")!r}, signatures={{"ask": ask}})
print((peak() - before) / rows.nbytes)
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1.3
    assert (tmp_path / "1/saved_model.pb").stat().st_size < 1 << 20
