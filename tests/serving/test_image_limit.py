"""What the local server refuses by what an image declares."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfembed.serving.image_limit import check_pixels
from tfembed.serving.status import StatusError


def encoded(kind, width=37, height=23):
    """Returns a file of that kind."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


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
