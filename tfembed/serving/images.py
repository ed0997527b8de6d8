"""Reads what a user calls an image into what a signature takes."""

import os

import numpy as np


def as_input(images, image_shape):
    """Makes the input of a request from images.

    Args:
        images: One image or a sequence of images of one kind: paths of image files,
            their contents as bytes, or arrays `(height, width, channels)` of values
            0 to 255. One array `(batch, height, width, channels)` holds many. Where
            there is one channel, its axis may be missing.
        image_shape: Function that returns the model's `(height, width, channels)`;
            called for arrays alone. None is any size.

    Returns:
        `("bytes", list of bytes)` or `("images", float32 array (batch, height,
        width, channels))`.

    Raises:
        TypeError: If `images` is something else.
        ValueError: If a file cannot be read, or an array does not fit the model.
    """
    if isinstance(images, np.ndarray) and images.dtype != object:
        return "images", _from_array(images, image_shape())
    if isinstance(images, (str, bytes, bytearray, os.PathLike)):
        images = [images]
    try:
        images = list(images)
    except TypeError:
        raise _not_images(images) from None
    if not images:
        raise ValueError("`images` must hold at least one image. Received: none.")
    if all(isinstance(image, (str, os.PathLike)) for image in images):
        return "bytes", [_read(path) for path in images]
    if all(isinstance(image, (bytes, bytearray)) for image in images):
        return "bytes", [bytes(image) for image in images]
    if not all(isinstance(image, np.ndarray) for image in images):
        raise _not_images(images)
    shape = image_shape()
    return "images", np.concatenate([_from_array(image, shape) for image in images])


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(
            "`images` must be paths of image files that can be read. "
            f"Received: {os.fspath(path)!r} ({error.strerror})."
        ) from error


def _from_array(array, shape):
    """Returns a float32 batch of the model's shape."""
    if array.dtype.kind not in "uif":
        raise TypeError(
            "An array of images must be of integers or floats from 0 to 255. "
            f"Received: dtype={array.dtype}."
        )
    batch = _batched(array, shape)
    if batch is None:
        raise ValueError(
            f"An array of images must be of the model's size {_shown(shape)}, or a "
            f"batch of that. Received: shape={array.shape}. Resize it, or send paths "
            "or the bytes of image files, which the model resizes itself."
        )
    if not len(batch):
        raise ValueError("`images` must hold at least one image. Received: none.")
    batch = np.asarray(batch, np.float32)
    low, high = batch.min(), batch.max()
    if not (low >= 0.0 and high <= 255.0):  # false for NaN
        raise ValueError(
            "An array of images must hold values from 0 to 255. "
            f"Received: values from {low} to {high}."
        )
    return batch


def _batched(array, shape):
    """Adds the missing axes; None if the array does not fit."""
    if shape[-1] in (1, None):
        if _fits(array.shape, shape[:-1]):
            return array[None, ..., None]
        if _fits(array.shape[1:], shape[:-1]) and not _fits(array.shape, shape):
            return array[..., None]
    if _fits(array.shape, shape):
        return array[None]
    return array if _fits(array.shape[1:], shape) else None


def _fits(got, wanted):
    return len(got) == len(wanted) and all(
        size in (None, here) for here, size in zip(got, wanted)
    )


def _shown(shape):
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def _not_images(received):
    if isinstance(received, list):
        kinds = sorted({type(image).__name__ for image in received})
        shown = "a list of " + ", ".join(kinds)
    else:
        shown = type(received).__name__
    return TypeError(
        "`images` must be paths, bytes or NumPy arrays, all of one kind. "
        f"Received: {shown}."
    )
