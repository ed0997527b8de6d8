"""Images to try an export with, as encoded files."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed.formats.image_files import UnreadableImage, as_decodable


def encode_samples(samples, image_shape):
    """Returns sample images as encoded bytes.

    Args:
        samples: Paths of images, their bytes, or an array of pixels in 0..255,
            `(n, height, width, channels)`; `None`: four images of noise.
        image_shape: `(height, width, channels)` of the noise.

    Returns:
        List of bytes, at least one.

    Raises:
        ValueError: If there is none, or one cannot be read.
    """
    if samples is None:
        rng = np.random.default_rng(0)
        samples = rng.integers(0, 256, (4, *image_shape), dtype=np.uint8)
    if isinstance(samples, (str, bytes, Path)):
        samples = [samples]
    encoded = [_encoded(sample) for sample in samples]
    if not encoded:
        raise ValueError("`samples` must hold an image, or be None. Received: none.")
    return encoded


def _encoded(sample):
    if isinstance(sample, bytes):
        return _decodable(sample, "bytes")
    if isinstance(sample, (str, Path)):
        try:
            return _decodable(Path(sample).read_bytes(), repr(str(sample)))
        except OSError as error:
            raise ValueError(
                f"`samples` must be images that can be read. Received: {str(sample)!r},"
                f" of which it says: {error.strerror}."
            ) from error
    pixels = np.asarray(sample)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(
            "`samples` must be paths, bytes or pixels (n, height, width, channels). "
            f"Received: one of shape {pixels.shape}."
        )
    pixels = np.round(pixels).clip(0, 255).astype(np.uint8)
    return tf.io.encode_png(pixels).numpy()


def _decodable(data, name):
    try:
        return as_decodable(data, max_pixels=None)
    except UnreadableImage as error:
        raise ValueError(
            f"`samples` must be images that can be read. Received: {name}: {error}."
        ) from error
