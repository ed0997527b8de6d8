"""Decoding against Pillow, which knows nothing of TensorFlow's decoders."""

import io

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.images import decode_image, resize_images, to_channels

Image = pytest.importorskip("PIL.Image")


def _encoded(pixels, file_format, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def _smooth(height, width, channels, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), np.uint8)
    planes = [
        np.asarray(Image.fromarray(small[..., c]).resize((width, height), 2))
        for c in range(channels)
    ]
    return planes[0] if channels == 1 else np.stack(planes, -1)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF"])
def test_a_gray_image_keeps_exactly_its_pixels(file_format):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = np.random.default_rng(1).permutation(pixels.ravel()).reshape(16, 16)
    encoded = _encoded(pixels, file_format)
    gray = decode_image(encoded, (16, 16, 1)).numpy()
    np.testing.assert_array_equal(gray[..., 0], pixels)
    rgb = decode_image(encoded, (16, 16, 3)).numpy()
    np.testing.assert_array_equal(rgb, np.repeat(pixels[..., None], 3, -1))


@pytest.mark.parametrize("file_format", ["PNG", "BMP"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_colour_image_keeps_exactly_its_pixels(file_format, alpha):
    pixels = np.random.default_rng(2).integers(0, 256, (9, 7, 3 + alpha), np.uint8)
    decoded = decode_image(_encoded(pixels, file_format), (9, 7, 3)).numpy()
    np.testing.assert_array_equal(decoded, pixels[..., :3])


def test_a_palette_png_is_looked_up():
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).quantize(16)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    decoded = decode_image(stream.getvalue(), (8, 8, 3)).numpy()
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close_to_pillow(channels):
    encoded = _encoded(_smooth(40, 32, channels), "JPEG", quality=95)
    with Image.open(io.BytesIO(encoded)) as image:
        expected = np.asarray(image.convert("RGB"), np.float64)
    decoded = decode_image(encoded, (40, 32, 3)).numpy()
    assert np.abs(decoded - expected).max() <= 2


def test_the_first_frame_of_an_animation():
    frames = [np.full((6, 5), value, np.uint8) for value in (10, 200)]
    stream = io.BytesIO()
    first, second = (Image.fromarray(frame) for frame in frames)
    first.save(stream, "GIF", save_all=True, append_images=[second])
    decoded = decode_image(stream.getvalue(), (6, 5, 1)).numpy()
    np.testing.assert_array_equal(decoded[..., 0], frames[0])


@pytest.mark.parametrize("size", [(8, 8), (50, 20), (100, 90)])
def test_resize_is_pillows_bilinear(size):
    pixels = np.random.default_rng(4).integers(0, 256, (50, 40, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.BILINEAR))
    resized = resize_images(pixels, size).numpy()
    assert np.abs(resized - expected).max() <= 1.01  # Pillow rounds after each pass.
    assert np.abs(resized - expected).mean() < 0.5


def test_resizing_to_its_own_size_is_exact_with_unknown_static_shape():
    pixels = np.random.default_rng(5).integers(0, 256, (2, 31, 17, 3), np.uint8)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    def resize(images):
        return resize_images(images, (31, 17))

    np.testing.assert_array_equal(resize(pixels).numpy(), pixels)


def test_luma():
    pixels = np.random.default_rng(6).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    gray = to_channels(pixels, 1).numpy()[..., 0]
    expected = pixels.astype(np.float64) @ [0.2989, 0.587, 0.1141]
    np.testing.assert_allclose(gray, expected, atol=1e-4)


def test_in_a_mapped_graph():
    images = [_smooth(20, 30, 3), _smooth(11, 9, 1)]
    encoded = [_encoded(images[0], "PNG"), _encoded(images[1], "BMP")]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def decode(batch):
        return tf.map_fn(
            lambda one: decode_image(one, (8, 8, 1)),
            batch,
            fn_output_signature=tf.TensorSpec((8, 8, 1), tf.float32),
        )

    batch = decode(tf.constant(encoded)).numpy()
    for row, one in zip(batch, encoded):
        np.testing.assert_allclose(row, decode_image(one, (8, 8, 1)), atol=1e-4)


@pytest.mark.parametrize("encoded", [b"", b"no image", b"BM", b"\x89PNG\r\n"])
def test_bytes_that_are_no_image_raise(encoded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(encoded, (8, 8, 1))


def test_a_cut_jpeg_raises():
    encoded = _encoded(_smooth(64, 64, 3), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(encoded[: len(encoded) // 2], (8, 8, 3))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 2), (0, 8, 1), None, (8, 8, "x")])
def test_a_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match="image_shape"):
        decode_image(b"", shape)
