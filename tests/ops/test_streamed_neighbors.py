"""The streamed search against a full sort, ties included."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.streamed_neighbors import streamed_neighbors


@pytest.mark.parametrize("chunk", [1, 5, 8, 23, 24, 4096])
@pytest.mark.parametrize("k", [1, 7, 24])
def test_equals_a_full_sort(chunk, k, run):
    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, size=(24, 3)).astype("float32")  # many ties
    queries = rng.integers(-2, 3, size=(6, 3)).astype("float32")
    bank = tf.Variable(rows)
    scores, found = run(
        lambda queries: streamed_neighbors(queries, bank, k, chunk),
        tf.constant(queries),
    )
    product = queries @ rows.T
    expected = np.argsort(-product, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(product, expected, 1))
