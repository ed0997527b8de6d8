"""What each strength does, from what comes out, and that only the seed decides."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.data import Augmentation, FastAugmentation

keras_cv = pytest.importorskip("keras_cv")

_NOTHING = {
    "crop_area": None,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
    "grayscale": 0,
    "flip": 0,
}
_EACH = [
    {"crop_area": (0.2, 1.0)},
    {"brightness": 0.4},
    {"contrast": 0.4},
    {"saturation": 0.4},
    {"hue": 0.4},
    {"grayscale": 0.5},
    {"flip": 0.5},
]


def _only(shape, **strengths):
    return Augmentation(shape, **{**_NOTHING, **strengths})


@pytest.fixture(params=[Augmentation, FastAugmentation], ids=["keras-cv", "fast"])
def only(request):
    """Makes an augmentation of the named steps alone."""
    return lambda shape, **strengths: request.param(shape, **{**_NOTHING, **strengths})


@pytest.fixture(params=[Augmentation, FastAugmentation], ids=["keras-cv", "fast"])
def kind(request):
    """A class of augmentations."""
    return request.param


def _images(count, shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def _ramps(count, size):
    """Images whose two first channels are the row and the column of each pixel."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    ramp = np.stack([rows, columns, np.zeros_like(rows)], -1)
    return np.repeat(ramp[None], count, 0)


def test_all_off_changes_nothing(only):
    images = _images(5, (9, 7, 3))
    out = only((9, 7, 3))(images, [0, 0])
    assert out.dtype == tf.float32
    np.testing.assert_array_equal(out, images)


def test_areas_aspects_and_places_of_crops(only):
    count, size = 3000, 33
    crop = only((size, size, 3), crop_area=(0.25, 0.5), crop_aspect=(0.8, 1.25))
    out = crop(_ramps(count, size), [1, 2]).numpy()
    top, bottom = (out[:, edge, 0, 0] / (size - 1) for edge in (0, -1))
    left, right = (out[:, 0, edge, 1] / (size - 1) for edge in (0, -1))
    height, width = bottom - top, right - left
    area, aspect = height * width, width / height
    for values, low, high in ((area, 0.25, 0.5), (aspect, 0.8, 1.25)):
        assert low - 1e-4 <= values.min() < low + 0.01 * (high - low) + 1e-3
        assert high + 1e-4 >= values.max() > high - 0.01 * (high - low) - 1e-3
        quarters = np.quantile(values, [0.25, 0.5, 0.75])
        expected = low + (high - low) * np.array([0.25, 0.5, 0.75])
        np.testing.assert_allclose(quarters, expected, atol=0.04 * (high - low))
    for place, room in ((top, 1 - height), (left, 1 - width)):
        share = place / room
        assert share.min() >= -1e-4 and share.max() <= 1 + 1e-4
        assert abs(share.mean() - 0.5) < 0.025
    assert abs(np.corrcoef(top / (1 - height), left / (1 - width))[0, 1]) < 0.06


def test_a_crop_is_what_keras_cv_makes_of_the_same_box():
    images = _images(6, (16, 12, 3)).astype(np.float32)
    augmentation = _only((16, 12, 3), crop_area=(0.2, 0.6))
    (layer,) = augmentation.layers
    augmentation._draws.start(tf.constant([3, 4]))
    boxes = layer.get_random_transformation_batch(6)
    ours = layer.augment_images(images, boxes).numpy()
    theirs = keras_cv.layers.RandomCropAndResize((16, 12), (0.2, 0.6), (0.7, 1.3))
    for image, box, out in zip(images, boxes, ours):
        expected = theirs.augment_image(image, transformation=box[None])
        np.testing.assert_allclose(out, expected, atol=1e-4)


def test_share_and_kind_of_flips(only):
    images = _images(2000, (4, 5, 1))
    out = only((4, 5, 1), flip=0.3)(images, [5, 6]).numpy()
    flipped = (out == images[:, :, ::-1]).all((1, 2, 3))
    same = (out == images).all((1, 2, 3))
    assert (flipped ^ same).all()
    assert abs(flipped.mean() - 0.3) < 0.04


def test_share_and_kind_of_grayscale(only):
    images = _images(2000, (4, 5, 3))
    out = only((4, 5, 3), grayscale=0.2)(images, [7, 8]).numpy()
    gray = np.ptp(out, axis=-1).max((1, 2)) < 1e-3
    same = (out == images).all((1, 2, 3))
    assert (gray ^ same).all()
    assert abs(gray.mean() - 0.2) < 0.04
    expected = images[gray] @ np.array([0.2989, 0.587, 0.114])
    np.testing.assert_allclose(out[gray][..., 0], expected, atol=0.05)


def test_brightness_adds(only):
    images = np.full((2000, 3, 3, 1), 128, np.uint8)
    out = only((3, 3, 1), brightness=0.4)(images, [9, 10]).numpy()
    added = (out[:, 0, 0, 0] - 128) / 255
    assert np.abs(added).max() <= 0.4 + 1e-5
    quarters = np.quantile(added, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quarters, [-0.2, 0, 0.2], atol=0.03)


def test_contrast_multiplies_about_the_mean(only):
    images = np.zeros((2000, 2, 2, 3), np.float32)
    images[:, 0], images[:, 1] = 110, 150
    out = only((2, 2, 3), contrast=0.4)(images, [11, 12]).numpy()
    np.testing.assert_allclose(out.mean((1, 2)), 130, atol=1e-3)
    times = (out[:, 1, 0, 0] - out[:, 0, 0, 0]) / 40
    assert 0.6 - 1e-4 <= times.min() and times.max() <= 1.4 + 1e-4
    quarters = np.quantile(times, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quarters, [0.8, 1.0, 1.2], atol=0.03)


def _hsv(out):
    pixels = out[:, 0, 0].astype(np.float64) / 255
    return np.array([colorsys.rgb_to_hsv(*pixel) for pixel in pixels])


@pytest.fixture
def reddish():
    return np.tile(np.array([200, 120, 100], np.uint8), (2000, 2, 2, 1))


def test_saturation_multiplies(only, reddish):
    out = only((2, 2, 3), saturation=0.4)(reddish, [13, 14]).numpy()
    hsv, before = _hsv(out), colorsys.rgb_to_hsv(200 / 255, 120 / 255, 100 / 255)
    np.testing.assert_allclose(hsv[:, [0, 2]], [before[::2]] * 2000, atol=1e-3)
    times = hsv[:, 1] / before[1]
    quarters = np.quantile(times, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quarters, [0.6, 0.8, 1.0, 1.2, 1.4], atol=0.03)


def test_hue_turns_both_ways(only, reddish):
    out = only((2, 2, 3), hue=0.3)(reddish, [15, 16]).numpy()
    hsv, before = _hsv(out), colorsys.rgb_to_hsv(200 / 255, 120 / 255, 100 / 255)
    np.testing.assert_allclose(hsv[:, 1:], [before[1:]] * 2000, atol=1e-3)
    turned = (hsv[:, 0] - before[0] + 0.5) % 1 - 0.5
    quarters = np.quantile(turned, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quarters, [-0.3, -0.15, 0, 0.15, 0.3], atol=0.03)


@pytest.mark.parametrize("strengths", _EACH, ids=lambda one: next(iter(one)))
def test_only_the_seed_decides(only, strengths):
    shape = (8, 8, 3)
    images = np.repeat(_images(1, shape), 16, 0)
    one, two = only(shape, **strengths), only(shape, **strengths)
    first = one(images, [1, 2]).numpy()
    one(images, [5, 5])  # what a generator with a memory would remember
    np.testing.assert_array_equal(one(images, [1, 2]), first)
    np.testing.assert_array_equal(two(images, [1, 2]), first)
    assert (two(images, [1, 3]).numpy() != first).any()
    assert (two(images, [2, 2]).numpy() != first).any()
    assert len({row.tobytes() for row in first}) > 1  # rows are drawn one by one


def test_two_views_differ_and_draws_of_one_batch_are_independent(only, kind):
    augmentation = kind((16, 16, 3))
    images = _images(64, (16, 16, 3))
    views = [augmentation(images, [0, view]).numpy() for view in (0, 1)]
    assert (views[0] != views[1]).any(axis=(1, 2, 3)).all()
    count = 4000
    flat = np.full((count, 2, 2, 3), [200, 120, 100], np.uint8)
    jitter = only((2, 2, 3), brightness=0.1, hue=0.1)(flat, [3, 3]).numpy()
    hsv = _hsv(jitter)
    assert abs(np.corrcoef(hsv[:, 0], hsv[:, 2])[0, 1]) < 0.06


@pytest.mark.parametrize("shape", [(12, 10, 1), (12, 10, 3)])
def test_values_stay_in_range_at_full_strength(shape, kind):
    strongest = kind(shape, (0.08, 1.0), (0.5, 2.0), 1.0, 1.0, 1.0, 0.5, 0.5, 0.5)
    for level in (0, 255, None):
        images = _images(128, shape)
        if level is not None:
            images[...] = level
        out = strongest(images, [4, 4]).numpy()
        assert out.shape == images.shape
        assert np.isfinite(out).all()
        assert out.min() >= 0 and out.max() <= 255


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_mixed_policy_changes_nothing(policy, when, kind):
    images = _images(8, (12, 12, 3))
    expected = kind((12, 12, 3))(images, [1, 1]).numpy()
    augmentation = kind((12, 12, 3)) if when == "before" else None
    keras.mixed_precision.set_global_policy(policy)
    augmentation = augmentation or kind((12, 12, 3))
    out = augmentation(images, [1, 1])
    assert out.dtype == tf.float32
    np.testing.assert_array_equal(out, expected)


def test_one_channel_leaves_out_colour():
    gray = Augmentation((8, 8, 1), hue=0.4, saturation=0.4, grayscale=0.5)
    assert len(gray.layers) == 4
    assert len(Augmentation((8, 8, 3)).layers) == 7


def test_nothing_stateful_and_no_loop_is_in_the_graph(capfd):
    augmentation = Augmentation((8, 8, 3))
    traced = tf.function(augmentation).get_concrete_function(
        tf.TensorSpec((None, 8, 8, 3), tf.uint8), tf.TensorSpec((2,), tf.int64)
    )
    graph = traced.graph.as_graph_def()
    kinds = {node.op for node in graph.node}
    for function in graph.library.function:
        kinds |= {node.op for node in function.node_def}
    drawing = {kind for kind in kinds if "andom" in kind or "Rng" in kind}
    assert drawing and all(kind.startswith("Stateless") for kind in drawing)
    assert not {kind for kind in kinds if "While" in kind or "Variable" in kind}
    assert "while_loop" not in capfd.readouterr().err


def test_graph_and_eager_agree(kind):
    augmentation = kind((8, 8, 3))
    images = _images(6, (8, 8, 3))
    eager = augmentation(images, tf.constant([1, 2], tf.int64))
    graph = tf.function(augmentation)(images, tf.constant([1, 2], tf.int64))
    np.testing.assert_allclose(graph, eager, atol=2e-3)


def test_the_configuration_makes_an_equal_one(kind):
    one = kind((8, 8, 1), crop_area=(0.5, 1), brightness=0.3, flip=0)
    two = kind(**one.get_config())
    images = _images(4, (8, 8, 1))
    np.testing.assert_array_equal(one(images, [1, 1]), two(images, [1, 1]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_area": (0.5, 1.2)},
        {"crop_area": (0, 1)},
        {"crop_area": 0.5},
        {"crop_aspect": (2, 1)},
        {"brightness": 1.5},
        {"contrast": -0.1},
        {"saturation": 2},
        {"hue": 0.6},
        {"grayscale": True},
        {"flip": -1},
        {"image_shape": (8, 8)},
        {"image_shape": (8, 8, 2)},
    ],
)
def test_what_is_out_of_range_is_named(wrong, kind):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}="):
        kind(**{"image_shape": (8, 8, 3), **wrong})


@pytest.fixture
def deterministic():
    """Operations must be deterministic, and there is no global generator."""
    from tensorflow.python.framework import config

    before = tf.random.get_global_generator()
    tf.random.set_global_generator(None)
    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()
    tf.random.set_global_generator(before)


@pytest.mark.parametrize("own", [False, True], ids=["none", "the user's own"])
@pytest.mark.parametrize("strengths", _EACH, ids=lambda one: next(iter(one)))
def test_augments_where_operations_are_deterministic(
    only, strengths, own, deterministic
):
    images, seed = _images(4, (8, 8, 3)), [3, 4]
    if own:
        generator = tf.random.Generator.from_seed(5)
        tf.random.set_global_generator(generator)
        state = generator.state.numpy()
    out = only((8, 8, 3), **strengths)(images, seed)
    if own:  # which is as it was
        assert tf.random.get_global_generator() is generator
        np.testing.assert_array_equal(generator.state, state)
    else:
        with pytest.raises(RuntimeError, match="get_global_generator"):
            tf.random.get_global_generator()
    from tensorflow.python.framework import config

    config.disable_op_determinism()
    np.testing.assert_array_equal(only((8, 8, 3), **strengths)(images, seed), out)
