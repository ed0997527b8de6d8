"""Decoding against Pillow, which knows nothing of TensorFlow's decoders."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.images import (
    decode_image,
    decode_rgb,
    is_decodable,
    to_channels,
)
from tfembed.ops.resize import resize_images

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
    if alpha and file_format == "PNG":
        pixels[..., 3] = 255
    decoded = decode_image(_encoded(pixels, file_format), (9, 7, 3)).numpy()
    np.testing.assert_array_equal(decoded, pixels[..., :3])


def _palette(colors, transparency=None, file_format="PNG", size=(8, 8)):
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    image, stream = Image.fromarray(pixels).quantize(colors), io.BytesIO()
    options = {} if transparency is None else {"transparency": transparency}
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _on_white(encoded):
    """What Pillow makes of a file, blended onto white in float64."""
    with Image.open(io.BytesIO(encoded)) as image:
        pixels = np.asarray(image.convert("RGBA"), np.float64)
        white = Image.new("RGBA", image.size, "white")
        pillow = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    alpha = pixels[..., 3:] / 255
    exact = np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha))
    assert np.abs(exact - np.asarray(pillow, np.float64)).max() <= 1
    return exact


@pytest.mark.parametrize("colors", [2, 16, 200, 256])
@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP"])
def test_a_palette_is_looked_up(file_format, colors):
    encoded = _palette(colors, file_format=file_format, size=(20, 19))
    if file_format == "BMP" and encoded[28] != 8:
        pytest.skip("Pillow wrote it with fewer bits")
    decoded = decode_image(encoded, (20, 19, 3)).numpy()
    np.testing.assert_array_equal(decoded, _on_white(encoded))


@pytest.fixture(scope="module")
def decode():
    """The decoder as a graph."""
    return tf.function(decode_rgb, [tf.TensorSpec([], tf.string)])


def _clear_files():
    rng = np.random.default_rng(8)
    rgba = Image.fromarray(rng.integers(0, 256, (21, 17, 4), np.uint8))
    rgb, gray = rgba.convert("RGB"), rgba.convert("L")
    corner = rgb.getpixel((3, 2))

    def encoded(image, **options):
        stream = io.BytesIO()
        image.save(stream, "PNG", **options)
        return stream.getvalue()

    return {
        "PNG with alpha": encoded(rgba),
        "gray PNG with alpha": encoded(rgba.convert("LA")),
        "PNG with a transparent colour": encoded(rgb, transparency=corner),
        "gray PNG with a transparent shade": encoded(gray, transparency=90),
        "PNG with a transparent entry": _palette(16, 3),
        "PNG with half transparent entries": _palette(16, bytes(range(0, 160, 10))),
        "GIF with a transparent entry": _palette(16, 3, "GIF"),
        "GIF with its last entry transparent": _palette(256, 255, "GIF", (40, 30)),
    }


@pytest.mark.parametrize("name", sorted(_clear_files()))
def test_what_is_transparent_is_white(decode, name):
    encoded = _clear_files()[name]
    exact = _on_white(encoded)
    with Image.open(io.BytesIO(encoded)) as image:
        assert np.asarray(image.convert("RGBA"))[..., 3].min() < 255
    decoded = decode_image(encoded, (*exact.shape[:2], 3)).numpy()
    np.testing.assert_array_equal(decoded, exact)
    np.testing.assert_array_equal(decode(encoded), exact)


def test_what_lies_below_does_not_show():
    """Two cut-outs that look alike are alike."""
    pixels = np.random.default_rng(9).integers(0, 256, (2, 12, 11, 4), np.uint8)
    pixels[..., 3] = np.where(np.arange(11) < 5, 0, 255)
    pixels[1, :, 5:] = pixels[0, :, 5:]
    one, other = (decode_image(_encoded(each, "PNG"), (12, 11, 3)) for each in pixels)
    np.testing.assert_array_equal(one, other)
    assert (one.numpy()[:, :5] == 255).all()


def test_a_frame_smaller_than_its_canvas_keeps_its_place():
    encoded = bytearray(_palette(16, file_format="GIF"))
    struct.pack_into("<HH", encoded, 6, 20, 15)  # the canvas, width and height
    at = encoded.index(b",\0\0\0\0\x08\0\x08\0")
    struct.pack_into("<HH", encoded, at + 1, 9, 4)  # left and top
    frame = np.asarray(Image.open(io.BytesIO(_palette(16))).convert("RGB"))
    decoded = decode_image(bytes(encoded), (15, 20, 3)).numpy()
    np.testing.assert_array_equal(decoded[4:12, 9:17], frame)
    decoded[4:12, 9:17] = 255
    assert (decoded == 255).all()


def _bmp32(alpha, header=108, masks=(0xFF0000, 0xFF00, 0xFF)):
    pixels = np.random.default_rng(10).integers(0, 256, (3, 5, 4), np.uint8)
    head = struct.pack("<IiiHHI", header, 5, -3, 1, 32, 3) + bytes(20)
    head += struct.pack("<4I", *masks, 0xFF000000 if alpha else 0)
    head = (head + bytes(header))[: max(header, 52)]
    start = struct.pack("<IHHI", 14 + len(head) + 60, 0, 0, 14 + len(head))
    return b"BM" + start + head + pixels.tobytes(), pixels


@pytest.mark.parametrize("header", [40, 56, 108, 124])
@pytest.mark.parametrize("alpha", [False, True])
def test_bmp_of_32_bits_with_masks(header, alpha):
    encoded, pixels = _bmp32(alpha, header)
    decoded = decode_image(encoded, (3, 5, 3)).numpy()
    right = pixels[..., 2::-1].astype(np.float64)
    if alpha and header >= 56:
        share = pixels[..., 3:] / 255
        right = np.rint(right * share + 255 * (1 - share))
    np.testing.assert_array_equal(decoded, right)
    with Image.open(io.BytesIO(encoded)) as image:
        assert np.abs(_on_white(encoded) - decoded).max() == 0, image.mode


def _foreign():
    rgb = Image.fromarray(_smooth(9, 7, 3))
    run, stream = bytearray(_palette(16, file_format="BMP")), io.BytesIO()
    run[30] = 1  # of runs
    rgb.save(stream, "BMP")
    old = b"BM" + bytes(8) + struct.pack("<IIHHHH", 26, 12, 1, 1, 1, 24) + bytes(4)
    few = {
        f"BMP of {bits} bits": b"".join(
            [stream.getvalue()[:28], bytes([bits]), stream.getvalue()[29:]]
        )
        for bits in (1, 4, 16)
    }
    return {
        **few,
        "BMP of runs": bytes(run),
        "BMP with the oldest header": old,
        "BMP with other masks": _bmp32(False, masks=(0xFF, 0xFF00, 0xFF0000))[0],
        "WebP": _encoded(_smooth(9, 7, 3), "WEBP"),
        "TIFF": _encoded(_smooth(9, 7, 3), "TIFF"),
        "a cut magic": b"\x89PNG\r\n\x1a" + bytes(60),
        "GIF88a": b"GIF88a" + _palette(16, file_format="GIF")[6:],
    }


@pytest.mark.parametrize("name", sorted(_foreign()))
def test_other_formats_reach_no_decoder(name):
    encoded = _foreign()[name]
    assert not is_decodable(encoded)
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty"):
        decode_image(encoded, (8, 8, 1))


def test_what_declares_too_many_pixels_reaches_no_decoder():
    for file_format in ("PNG", "JPEG", "GIF", "BMP"):
        encoded = _encoded(_smooth(20, 20, 3), file_format)
        assert decode_image(encoded, (8, 8, 1), max_pixels=400).shape == (8, 8, 1)
        with pytest.raises(tf.errors.InvalidArgumentError, match="empty"):
            decode_image(encoded, (8, 8, 1), max_pixels=399)


def test_a_16_bit_png_keeps_its_high_byte():
    pixels = np.random.default_rng(11).integers(0, 1 << 16, (6, 5)).astype(np.uint16)
    decoded = decode_image(_encoded(pixels, "PNG"), (6, 5, 1)).numpy()
    np.testing.assert_array_equal(decoded[..., 0], pixels >> 8)


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
