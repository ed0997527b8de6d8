"""Scores of given pairs against a loop."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.pair_scores import pair_scores


@pytest.mark.parametrize("batch", [0, 1, 3, 17])
@pytest.mark.parametrize("columns", [0, 1, 9])
@pytest.mark.parametrize("chunk", [4, 1000])
def test_equals_a_loop(batch, columns, chunk, run, rng):
    gallery = rng.standard_normal((50, 6)).astype("float32")
    queries = rng.standard_normal((batch, 6)).astype("float32")
    rows = rng.integers(-20, 50, (batch, columns)).astype("int32")
    found = run(
        lambda q, r: pair_scores(q, r, lambda flat: tf.gather(gallery, flat), chunk),
        tf.constant(queries),
        tf.constant(rows),
    )
    expected = np.full((batch, columns), -np.inf)
    for place in zip(*np.nonzero(rows >= 0)):
        expected[place] = gallery[rows[place]].astype(np.float64) @ queries[place[0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_pair_at_all():
    rows = tf.fill([2, 3], -1)
    found = pair_scores(tf.ones([2, 4]), rows, lambda flat: tf.ones([len(flat), 4]))
    assert (found.numpy() == -np.inf).all()
