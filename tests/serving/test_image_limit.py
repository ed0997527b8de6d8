"""What an image's header declares, read without decoding."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfembed.serving.image_limit import check_pixels, declared_size
from tfembed.serving.status import StatusError

WIDTH, HEIGHT = 37, 23
KINDS = {
    "jpeg": {"quality": 90},
    "progressive": {"format": "jpeg", "progressive": True},
    "commented": {
        "format": "jpeg",
        "comment": b"\xff\xc0" * 9,
        "exif": b"Exif\x00\x00",
    },
    "png": {},
    "gif": {},
    "bmp": {},
    "webp": {"quality": 80},
    "lossless": {"format": "webp", "lossless": True},
}


def encoded(kind, width=WIDTH, height=HEIGHT):
    """Returns a file of that kind."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    options = {"format": kind, **KINDS[kind]}
    Image.fromarray(pixels).save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_tells_its_size(kind):
    data = encoded(kind)
    assert declared_size(data) == (WIDTH, HEIGHT)
    for end in range(0, len(data), max(len(data) // 50, 1)):  # cut short anywhere
        assert declared_size(data[:end]) in ((WIDTH, HEIGHT), (0, 0))


def test_the_largest_frame_of_a_gif_counts():
    data = bytearray(encoded("gif"))
    at = data.index(b"\x2c\x00\x00\x00\x00" + struct.pack("<HH", WIDTH, HEIGHT))
    data[at + 5 : at + 9] = struct.pack("<HH", 60_000, 50_000)
    assert declared_size(bytes(data)) == (60_000, 50_000)


def test_bmps_of_both_headers_and_upside_down():
    data = bytearray(encoded("bmp"))
    data[22:26] = struct.pack("<i", -HEIGHT)
    assert declared_size(bytes(data)) == (WIDTH, HEIGHT)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 5, 6, 1, 24)
    assert declared_size(old) == (5, 6)


@pytest.mark.parametrize("data", [b"", b"junk", b"<svg width='99999'/>", b"\xff\xd8"])
def test_what_is_no_image_declares_nothing(data):
    assert declared_size(data) == (0, 0)


def test_an_image_too_large_is_refused_wherever_it_stands():
    good, large = encoded("png"), encoded("png", 101, 100)
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(large)
    vector = np.array([good, large], object)
    with pytest.raises(StatusError, match="declares 101 x 100, item 1 .*'image_bytes'"):
        check_pixels("image_bytes", vector, 10_000)
    with pytest.raises(StatusError, match="item 0 of the input 'inputs'"):
        check_pixels("inputs", np.array([example.SerializeToString()], object), 10_000)
    check_pixels("image_bytes", vector, 10_100)
    check_pixels("images", np.zeros([2, 200, 200], np.float32), 10)
