"""Matryoshka: what the contracts do not say."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import layers, losses, miners

RNG = np.random.default_rng(0)
LABELS, X = np.arange(12) % 3, np.float32(RNG.normal(size=(12, 6)))


@pytest.mark.parametrize(
    "loss, settings, word",
    [
        (losses.NormSoftmax(), {"dims": [2]}, "a loss of embeddings"),
        (losses.NTXent(ignore_label=-1), {"dims": [2]}, "no `ignore_label`"),
        (losses.NTXent(), {"dims": []}, "`dims` must be a list"),
        (losses.NTXent(), {"dims": 2}, "`dims` must be a list"),
        (losses.NTXent(), {"dims": [4, 2]}, "from the smallest to the largest"),
        (losses.NTXent(), {"dims": [2, 2]}, "from the smallest to the largest"),
        (losses.NTXent(), {"dims": [0, 2]}, "`dims` must be a positive integer"),
        (losses.NTXent(), {"dims": [1.5]}, "`dims` must be a positive integer"),
        (losses.NTXent(), {"dims": [2, 4], "weights": [1.0]}, "as many numbers"),
        (losses.NTXent(), {"dims": [2], "weights": [-1.0]}, "`weights` must be"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(loss, settings, word):
    with pytest.raises(ValueError, match=f"{word}.*Received"):
        losses.Matryoshka(loss, **settings)
    with pytest.raises(ValueError, match=f"{word}.*Received"):
        losses.matryoshka(LABELS, X, loss=loss, **settings)


def test_a_plain_keras_loss_gets_a_sentence():
    with pytest.raises(TypeError, match="`loss` must be a loss.*Received"):
        losses.Matryoshka(keras.losses.MeanSquaredError(), [2])


def test_more_numbers_than_there_are_get_a_sentence():
    loss = losses.Matryoshka(losses.NTXent(), [2, 8])
    with pytest.raises(ValueError, match=r"dims=\[2, 8\].*shape \(12, 6\)"):
        loss(LABELS, X)


def test_numbers_beyond_the_last_prefix_have_no_gradient():
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = losses.Matryoshka(losses.NTXent(), [2, 4])(LABELS, x)
    gradient = tape.gradient(value, x).numpy()
    assert np.all(gradient[:, 4:] == 0) and np.all(np.any(gradient[:, :4], axis=0))


def test_a_wrapped_miner_and_settings_are_saved():
    inner = losses.Contrastive(
        0.4, form="cosine", miner=miners.TopKMiner(2), row_chunk=5
    )
    loss = losses.Matryoshka(inner, (2, 6), (1.0, 0.5), ignore_label=-1)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()
    assert copy.loss.miner.negatives == 2 and copy.loss.row_chunk == 5
    assert copy.ignore_label == -1 and copy.dims == [2, 6]
    np.testing.assert_allclose(copy(LABELS, X), loss(LABELS, X), rtol=1e-6)


def test_a_queue_compares_prefixes_with_prefixes():
    loss = losses.Matryoshka(losses.Contrastive(0.4, form="cosine"), [2, 4])
    layer = layers.CrossBatch(loss, size=24)
    layer([X[:6], LABELS[:6]], training=True)
    layer([X[6:], LABELS[6:]], training=True)
    own = tf.range(6)
    others = np.concatenate([LABELS[6:], LABELS[:6]])
    rows = np.concatenate([X[6:], X[:6]])
    from tfembed.ops.pairs import References

    expected = loss.per_row(LABELS[6:], X[6:], others, References(rows, own=own))
    np.testing.assert_allclose(layer.losses[0], np.mean(expected), rtol=1e-5)
