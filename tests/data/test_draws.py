"""Draws: a function of the batch's seed and of the place within the batch."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.data.draws import Draws, stateless_factor, use_draws

keras_cv = pytest.importorskip("keras_cv")


def _three(draws, seed):
    draws.start(tf.constant(seed))
    return [draws.uniform((4,), -1.0, 2.0).numpy() for _ in range(3)]


def test_a_seed_starts_the_same_sequence():
    draws = Draws()
    first, other, again = (_three(draws, seed) for seed in ([1, 2], [1, 3], [1, 2]))
    np.testing.assert_array_equal(first, again)
    values = np.concatenate([*first, *other])
    assert len(set(values)) == values.size
    assert values.min() >= -1 and values.max() < 2


def test_drawing_before_the_start_is_an_error():
    with pytest.raises(RuntimeError, match="start"):
        Draws().uniform()


def test_a_layer_with_a_generator_of_its_own_is_refused():
    draws = Draws()
    own = keras_cv.layers.RandomBrightness(factor=0.3, dtype="float32")
    with pytest.raises(TypeError, match="RandomBrightness.factor"):
        use_draws(own, draws)
    factor = stateless_factor(draws, -0.3, 0.3)
    layer = keras_cv.layers.RandomBrightness(factor=factor, dtype="float32")
    assert use_draws(layer, draws)._random_generator is draws
