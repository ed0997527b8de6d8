"""Images drawn on the spot: ten patterns, shifted, dimmed and noisy.

They need no file and no network, so that every pipeline can be tried at once. A
pattern is a class; shifts and noise make the images of a class differ.
"""

import numpy as np

from tfembed.data.array_split import ArraySplit, numbered_names
from tfembed.data.request import Source

__all__ = ["find"]

_CLASSES = 10
_TRAIN, _TEST = 2000, 500


def find(argument, request):
    """Draws 2,000 training and 500 test images, 28x28x1 unless asked otherwise."""
    height, width = request.image_size or (28, 28)
    rng = np.random.default_rng([request.seed, 100])
    patterns = _patterns(rng, height, width, request.channels or 1)

    def draw(part, size):
        labels = rng.permutation(np.arange(size) % _CLASSES)
        return ArraySplit(
            _images(rng, patterns, labels),
            labels,
            numbered_names("synthetic", part, size),
        )

    names = tuple(f"pattern {number}" for number in range(_CLASSES))
    return Source(draw("train", _TRAIN), draw("test", _TEST), names)


def _patterns(rng, height, width, channels):
    """Random values on a 4x4 grid, interpolated: float64 `[classes, h, w, c]`."""
    grid = rng.uniform(0, 255, (_CLASSES, 4, 4, channels))
    return np.einsum("yi,nijc,xj->nyxc", _weights(height), grid, _weights(width))


def _weights(size):
    positions = np.linspace(0, 3, size)[:, None]
    return np.maximum(0, 1 - np.abs(positions - np.arange(4)))


def _images(rng, patterns, labels):
    height, width, channels = patterns.shape[1:]
    shifts = rng.integers(-2, 3, (len(labels), 2))
    images = np.empty((len(labels), height, width, channels))
    for image, label, shift in zip(images, labels, shifts):
        image[...] = np.roll(patterns[label], shift, axis=(0, 1))
    images *= rng.uniform(0.7, 1.0, (len(labels), 1, 1, 1))
    images += rng.normal(0, 15, images.shape)
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)
