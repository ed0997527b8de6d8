"""Squashing, cropping and padding against Pillow's resize of the whole, in float."""

import io
import resource

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.image_formats import RESIZES
from tfembed.ops.images import decode_image
from tfembed.ops.resize import resize_images

Image = pytest.importorskip("PIL.Image")
SIZES = [  # of the image, and wanted
    ((50, 40), (24, 24)),
    ((31, 17), (12, 20)),
    ((17, 32), (33, 9)),
    ((9, 11), (24, 24)),
    ((1, 1), (5, 7)),
    ((2, 1), (8, 8)),
    ((1, 4000), (20, 20)),
    ((4000, 1), (20, 20)),
    ((3, 1000), (7, 20)),
    ((24, 25), (24, 24)),
    ((27, 24), (24, 24)),
    ((24, 27), (24, 24)),
    ((20, 24), (25, 24)),
    ((12, 24), (24, 48)),
]


def scaled(image, size):
    """Pillow's bilinear resize of one channel, in float32, without rounding."""
    image = Image.fromarray(image.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))


def oracle(image, size, resize):
    """The whole image scaled by Pillow, then cut or padded as the docstring says."""
    (h, w), (height, width) = image.shape[:2], size
    whole = size
    if resize != "squash":
        exact = [(height, w * height / h), (h * width / w, width)]
        covers = [each[0] >= height and each[1] >= width for each in exact]
        fits = [each[0] <= height and each[1] <= width for each in exact]
        chosen = exact[(covers if resize == "crop" else fits).index(True)]
        whole = [max(1, int(side)) for side in chosen]
    channels = [scaled(image[..., c], whole) for c in range(image.shape[-1])]
    found = np.stack(channels, -1)
    if resize == "crop":
        top, left = (round((a - b) / 2) for a, b in zip(whole, size))  # half to even
        found = found[top : top + height, left : left + width]
    if resize == "pad":
        top, left = (round((b - a) / 2) for a, b in zip(whole, size))
        padded = np.full((*size, image.shape[-1]), 255, np.float32)
        padded[top : top + whole[0], left : left + whole[1]] = found
        found = padded
    return found


@pytest.fixture(scope="module")
def graphs():
    """Each resize to each size, with the image's size unknown."""
    spec = [tf.TensorSpec((None, None, None), tf.float32)]

    def graph(size, resize):
        return tf.function(lambda image: resize_images(image, size, resize), spec)

    sizes = {size for _, size in SIZES}
    return {(size, how): graph(size, how) for size in sizes for how in RESIZES}


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("have, size", SIZES)
def test_is_pillows_resize_cut_or_padded(graphs, have, size, resize):
    image = np.random.default_rng(0).integers(0, 256, (*have, 3), np.uint8)
    expected = oracle(image, size, resize)
    resized = resize_images(image, size, resize)
    assert resized.dtype == tf.float32 and resized.shape == (*size, 3)
    # Positions are float32: of 4,000 pixels a part in 2,000.
    tolerance = 1e-2 if min(have) > 3 else 0.15
    np.testing.assert_allclose(resized, expected, atol=tolerance)
    np.testing.assert_array_equal(resized, graphs[size, resize](image[..., :3]))
    gray = resize_images(image[..., :1], size, resize)
    np.testing.assert_allclose(gray[..., 0], expected[..., 0], atol=tolerance)
    batch = resize_images(np.stack([image, image[::-1]]), size, resize)
    np.testing.assert_array_equal(batch[0], resized)
    other = oracle(image[::-1], size, resize)
    np.testing.assert_allclose(batch[1], other, atol=tolerance)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(1, 1), (31, 17), (16, 16)])
def test_what_has_the_size_keeps_its_pixels(resize, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    spec = [tf.TensorSpec((None, None, None), tf.float32)]
    graph = tf.function(lambda image: resize_images(image, size, resize), spec)
    for resized in (resize_images(image, size, resize), graph(image)):
        np.testing.assert_array_equal(resized, image)


def test_what_has_one_side_is_only_cut_or_padded():
    image = np.random.default_rng(2).integers(0, 256, (16, 21, 1), np.uint8)
    np.testing.assert_array_equal(
        resize_images(image, (16, 16), "crop"), image[:, 2:18]
    )
    padded = resize_images(image, (24, 21), "pad").numpy()
    np.testing.assert_array_equal(padded[4:20], image)
    assert (padded[:4] == 255).all() and (padded[20:] == 255).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_is_turned_first(resize, channels):
    pixels = np.random.default_rng(3).integers(0, 256, (20, 13, 3), np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 8
    aside = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_270)
    aside.save(file, "PNG", exif=exif)
    found = decode_image(file.getvalue(), (12, 10, channels), resize=resize)
    image = pixels.astype(np.float64)
    if channels == 1:
        image = image @ np.array([[0.2989], [0.587], [0.1141]])
    np.testing.assert_allclose(found, oracle(image, (12, 10), resize), atol=1e-2)


@pytest.mark.parametrize("resize", RESIZES)
def test_a_long_image_takes_no_more_memory_than_others(resize):
    """Of 224 rows as long, these would have 450 million pixels."""
    length = 2_000_000
    image = np.full((1, length, 1), 7, np.uint8)
    image[0, length // 2 - 10 : length // 2 + 10] = 9
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = resize_images(image, (224, 224), resize).numpy()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000  # kilobytes
    spec = [tf.TensorSpec((None, None, None), tf.uint8)]
    graph = tf.function(lambda image: resize_images(image, (224, 224), resize), spec)
    np.testing.assert_array_equal(graph(image), found)
    if resize == "crop":
        np.testing.assert_allclose(found, 9, atol=1e-4)
        return
    middle = found[100 if resize == "squash" else 112]
    expected = scaled(image[..., 0], (1, 224)).T
    np.testing.assert_allclose(middle, expected, atol=1e-3)


def test_a_wrong_word_is_named():
    with pytest.raises(ValueError, match="`resize` must be one of 'squash', 'crop'"):
        resize_images(np.zeros((4, 4, 3), np.uint8), (2, 2), "stretch")
    with pytest.raises(ValueError, match="`resize` must be one of"):
        decode_image(b"", (2, 2, 3), resize=None)
