"""A run is told where augmenting takes more than half of a step, and only there."""

import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.recipes.augmentation_share import AugmentationShare


def sleeping(seconds):
    """An augmentation that changes nothing and takes its time."""

    def sleep(images):
        time.sleep(seconds)
        return images

    return lambda images, seed: tf.numpy_function(sleep, [images], tf.float32)


class Slow(keras.callbacks.Callback):
    """Makes each step last."""

    def on_train_batch_begin(self, batch, logs=None):
        time.sleep(0.2)


def trained(augmentation, rows=8, epochs=2, **settings):
    said = []
    images = np.zeros((rows, 2, 2, 1), np.float32)
    share = AugmentationShare(augmentation, images[:2], said.append)
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    model.compile("sgd", "mse", **settings)
    model.fit(
        images,
        np.zeros((rows, 4)),
        batch_size=2,
        epochs=epochs,
        callbacks=[Slow(), share],
        verbose=0,
    )
    return share.share, said


@pytest.mark.parametrize("settings", [{}, {"steps_per_execution": 2}], ids=["", "two"])
def test_a_slow_one_is_told_once(settings):
    share, said = trained(sleeping(0.5), **settings)
    assert share > 0.5
    (line,) = said
    assert "`--augmentation fast`" in line and " ms, and a step takes " in line


def test_a_quick_one_is_not():
    share, said = trained(lambda images, seed: images)
    assert 0 <= share < 0.5 and said == []


def test_of_one_step_nothing_is_known():
    assert trained(sleeping(0.5), rows=2) == (None, [])
