"""The fast way gives the images of keras-cv's layers, whatever is asked for."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.data import Augmentation, FastAugmentation

pytest.importorskip("keras_cv")

_SMALL, _LARGE = (24, 20, 3), (104, 112, 3)
_STEPS = ("brightness", "contrast", "saturation", "hue", "grayscale", "flip")


def _photos(count, shape, seed=0):
    """Smooth images, and some of one colour, black, white and gray."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, shape[2]))
    photos = tf.image.resize(coarse, shape[:2]).numpy()
    photos[0], photos[1], photos[2] = 0, 255, 128
    photos[3] = rng.integers(0, 256, shape[2])
    return photos.astype(np.uint8)


def _drawn_strengths(rng):
    """Strengths of all steps, each of them left out now and then."""
    strengths = {step: rng.choice([0.0, rng.random(), 1.0]) for step in _STEPS}
    strengths["hue"] /= 2
    low, high = np.sort(rng.uniform(0.05, 1, 2))
    strengths["crop_area"] = None if rng.random() < 0.2 else (low, high)
    return strengths


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "shape",
    [_SMALL, (21, 23, 1), _LARGE, (60, 50, 1)],
    ids=["small", "small gray", "large", "large gray"],
)
def test_equal_seeds_give_the_images_of_keras_cv(shape, seed):
    rng = np.random.default_rng(seed)
    strengths = {} if seed == 0 else _drawn_strengths(rng)
    images, key = _photos(8, shape, seed), [seed, 7]
    expected = Augmentation(shape, **strengths)(images, key).numpy()
    out = FastAugmentation(shape, **strengths)(images, key)
    assert out.dtype == tf.float32
    error = np.abs(out.numpy() - expected)
    assert np.quantile(error, 0.999) < 0.02 and error.max() < 0.05, strengths


@pytest.mark.parametrize("shape", [_SMALL, _LARGE], ids=["small", "large"])
def test_a_batch_of_unknown_size_in_a_pipeline(shape):
    augmentation = FastAugmentation(shape)
    images = _photos(7, shape)
    pipeline = tf.data.Dataset.from_tensor_slices(images).batch(4)
    seeds = tf.data.Dataset.from_tensor_slices([[1, 0], [1, 1]])
    batches = tf.data.Dataset.zip((pipeline, seeds)).map(augmentation, 2)
    out = np.concatenate(list(batches.as_numpy_iterator()))
    expected = [augmentation(images[:4], [1, 0]), augmentation(images[4:], [1, 1])]
    np.testing.assert_allclose(out, np.concatenate(expected), atol=0.02)
    assert batches.element_spec.shape.as_list() == [None, *shape]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("shape", [_SMALL, _LARGE], ids=["small", "large"])
def test_no_image_and_one(shape, count):
    augmentation, images = FastAugmentation(shape), _photos(4, shape)[:count]
    eager = augmentation(images, [1, 2])
    graph = tf.function(augmentation)(images, tf.constant([1, 2]))
    assert eager.shape == graph.shape == (count, *shape)
    np.testing.assert_allclose(graph, eager, atol=2e-3)


def test_nothing_stateful_is_in_the_graph_and_keras_cv_is_not_needed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "keras_cv", None)
    for shape in (_SMALL, _LARGE):
        traced = tf.function(FastAugmentation(shape)).get_concrete_function(
            tf.TensorSpec((None, *shape), tf.uint8), tf.TensorSpec((2,), tf.int64)
        )
        graph = traced.graph.as_graph_def()
        kinds = {node.op for node in graph.node}
        for function in graph.library.function:
            kinds |= {node.op for node in function.node_def}
        drawing = {kind for kind in kinds if "andom" in kind or "Rng" in kind}
        assert drawing and all(kind.startswith("Stateless") for kind in drawing)
        assert not {kind for kind in kinds if "Variable" in kind}


def test_moments_of_many_images_are_those_of_keras_cv():
    """The distribution, from seeds that the two do not have in common."""
    images = np.repeat(_photos(5, _SMALL)[4:], 2000, 0)
    moments = []
    for kind, key in ((Augmentation, [1, 2]), (FastAugmentation, [3, 4])):
        out = kind(_SMALL)(images, key).numpy().reshape(2000, -1, 3)
        values = np.concatenate([out.mean(1), out.std(1), out[:, 17]], 1)
        moments.append((values.mean(0), values.std(0)))
    (mean, deviation), (other, other_deviation) = moments
    np.testing.assert_array_less(np.abs(mean - other), 5 * deviation / 2000**0.5)
    np.testing.assert_allclose(other_deviation, deviation, rtol=0.12)
