"""What an image says of its size, and the first frame of an animation."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfembed.ops.declared_size import declared_pixels
from tfembed.ops.gif_frame import gif_frame
from tfembed.ops.images import decode_image

WIDTH, HEIGHT = 33, 21
KINDS = ["PNG", "JPEG", "BMP", "GIF"]


@pytest.fixture(scope="module")
def ask():
    """The two functions, as graphs."""
    spec = [tf.TensorSpec([], tf.string)]
    frame = tf.function(lambda encoded: gif_frame(encoded).encoded, spec)
    return tf.function(declared_pixels, spec), frame


def encode(kind, frames=1, size=(WIDTH, HEIGHT), **options):
    rng = np.random.default_rng(frames)
    pixels = rng.integers(0, 256, (frames, *size[::-1], 3), dtype=np.uint8)
    first, *others = [Image.fromarray(each) for each in pixels]
    file = io.BytesIO()
    if others:
        options.update(save_all=True, append_images=others)
    first.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_of_each_kind(ask, kind):
    assert int(ask[0](encode(kind))) == WIDTH * HEIGHT


def png(width, height):
    header = struct.pack(">I4sIIB", 13, b"IHDR", width, height, 8)
    return b"\x89PNG\r\n\x1a\n" + header + b"\2" + bytes(100)


def bmp(width, height):
    return b"BM" + bytes(16) + struct.pack("<ii", width, height) + bytes(100)


def gif(canvas, frame):
    head = b"GIF89a" + struct.pack("<HH", *canvas) + bytes(3)
    note = b"!\xfe\x03abc\x02de\0"  # a comment in two blocks
    return head + note + b"," + struct.pack("<HHHH", 0, 0, *frame) + b"\0\2\1\0\0;"


def jpeg(width, height):
    encoded = bytearray(encode("JPEG"))
    place = encoded.index(b"\xff\xc0") + 5
    encoded[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(encoded)


@pytest.mark.parametrize(
    ("encoded", "wanted"),
    [
        (png(60000, 60000), 60000**2),
        (bmp(60000, -60000), 60000**2),
        (bmp(1 << 30, 1 << 30), 1 << 60),
        (gif((3, 2), (60000, 50000)), 60000 * 50000),
        (gif((60000, 50000), (3, 2)), 60000 * 50000),
        (gif((3, 2), (4, 1)), 4 * 2),
        (jpeg(60000, 50000), 60000 * 50000),
        (b"", 0),
        (b"BM", 0),
        (b"\x89PNG\r\n\x1a\n", 0),
        (b"<svg width='60000'>" + bytes(100), 0),
    ],
)
def test_of_headers_that_lie(ask, encoded, wanted):
    assert int(ask[0](encoded)) == wanted


def test_an_animation_is_cut_behind_its_first_frame(ask):
    encoded = encode("GIF", frames=6, comment=b"x" * 700, loop=0)
    cut = ask[1](encoded).numpy()
    assert len(cut) < len(encoded) / 3
    assert Image.open(io.BytesIO(cut)).n_frames == 1
    np.testing.assert_array_equal(
        decode_image(cut, (HEIGHT, WIDTH, 3)), decode_image(encoded, (HEIGHT, WIDTH, 3))
    )


def test_a_large_frame_is_found_whole(ask):
    encoded = encode("GIF", size=(400, 300))
    assert len(encoded) > 100 * 256
    cut = ask[1](encoded).numpy()
    with Image.open(io.BytesIO(cut)) as image:
        right = Image.open(io.BytesIO(encoded)).convert("RGB")
        np.testing.assert_array_equal(image.convert("RGB"), right)
    assert len(cut) > len(encoded) - 50


@pytest.mark.parametrize("end", [0, 1, 5, 12, 13, 20, 60, 200, 800, -5])
def test_a_file_that_is_cut_short_gives_nothing(ask, end):
    encoded = encode("GIF")[:end]
    assert ask[1](encoded).numpy() == b""
    assert int(ask[0](encoded)) in (0, WIDTH * HEIGHT)


def test_blocks_of_every_length_are_given_up(ask):
    blocks = b"".join(bytes([1 + i % 2]) + bytes(1 + i % 2) for i in range(9000))
    encoded = gif((3, 2), (3, 2))[:-4] + blocks + b"\0;"
    assert ask[1](encoded).numpy() == b""
