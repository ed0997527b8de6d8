"""Decoding in graph: every format, and a bad image among good ones."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfembed.export.image_bytes import decode_images
from tfembed.ops.images import decode_image

SHAPE = (24, 20, 3)


def encode(kind, size=(20, 24), mode="RGB", seed=0):
    """A smooth random image as a file of the given kind."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    image = small.resize(size, Image.BICUBIC).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue(), image.convert("RGB")


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def decode(image_bytes):
    return decode_images(image_bytes, SHAPE)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_pixels_are_those_of_pillow(kind):
    encoded, image = encode(kind)
    reread = Image.open(io.BytesIO(encoded)).convert("RGB")
    images, valid = decode([encoded])
    assert valid.numpy().tolist() == [True]
    tolerance = 3 if kind == "JPEG" else 0  # colour conversion rounds otherwise
    np.testing.assert_allclose(images[0], np.asarray(reread), atol=tolerance)


def test_every_kind_and_size_in_one_batch_in_order():
    kinds = [("PNG", (20, 24)), ("JPEG", (64, 31)), ("BMP", (7, 9)), ("GIF", (33, 33))]
    files = [encode(*kind, seed=seed)[0] for seed, kind in enumerate(kinds * 5)]
    images, valid = decode(files)
    assert valid.numpy().all()
    for image, encoded in zip(images, files):
        np.testing.assert_array_equal(image, decode_image(encoded, SHAPE))


def test_large_batches_decode_in_parallel_and_in_order():
    files = [encode("PNG", (300, 200), seed=seed)[0] for seed in range(12)]
    files[5] = files[5][:-100]
    assert sum(map(len, files)) > 1 << 18
    images, valid = decode(files)
    assert valid.numpy().tolist() == [row != 5 for row in range(12)]
    for row, encoded in enumerate(files):
        if row != 5:
            np.testing.assert_array_equal(images[row], decode_image(encoded, SHAPE))


def _flipped(data, position):
    data = bytearray(data)
    data[position] ^= 0xFF
    return bytes(data)


PNG, JPEG = encode("PNG")[0], encode("JPEG")[0]
HUGE = struct.pack(">I4sIIB", 13, b"IHDR", 60000, 60000, 8) + b"\2" + bytes(100)
BAD = {
    "huge by its header": PNG[:8] + HUGE,
    "empty": b"",
    "one byte": b"\x89",
    "text": b"no image at all",
    "webpage": b"<html></html>" * 100,
    "png magic only": PNG[:8],
    "png header only": PNG[:33],
    "png cut": PNG[: len(PNG) // 2],
    "png without its end": PNG[:-12],
    "png header corrupt": _flipped(PNG, 17),
    "png data corrupt": _flipped(PNG, 60),
    "jpeg magic only": JPEG[:3],
    "jpeg header only": JPEG[:20],
    "jpeg cut": JPEG[: len(JPEG) // 2],
    "gif magic only": b"GIF89a",
    "gif cut": encode("GIF")[0][:200],
    "bmp magic only": b"BM",
    "bmp cut": encode("BMP")[0][:100],
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_image_is_flagged_and_harms_no_other(name):
    good = [encode("PNG", seed=1)[0], encode("JPEG", seed=2)[0]]
    images, valid = decode([good[0], BAD[name], good[1]])
    assert valid.numpy().tolist() == [True, False, True]
    assert not images[1].numpy().any()
    for row, encoded in ((0, good[0]), (2, good[1])):
        np.testing.assert_array_equal(images[row], decode_image(encoded, SHAPE))


def test_images_above_the_limit_are_not_decoded():
    function = tf.function(
        lambda image_bytes: decode_images(image_bytes, SHAPE, max_pixels=400),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    sizes = [(20, 20), (21, 20), (401, 1), (400, 1), (19, 21)]
    for kind in ("PNG", "JPEG", "BMP", "GIF"):
        _, valid = function([encode(kind, size)[0] for size in sizes])
        assert valid.numpy().tolist() == [True, False, False, True, True], kind


def test_only_bad_images_and_none_at_all():
    images, valid = decode(list(BAD.values()))
    assert images.shape == (len(BAD), *SHAPE) and not valid.numpy().any()
    images, valid = decode(tf.constant([], tf.string))
    assert images.shape == (0, *SHAPE) and valid.shape == (0,)
