"""Refuses images by what their headers declare, before anything is decoded.

A file of a few bytes can declare a billion pixels, and decoding it takes their memory.
The header tells: nothing here decodes.
"""

from tfembed.formats.image_header import declared_size
from tfembed.serving.status import invalid_argument


def check_pixels(name, values, limit):
    """Refuses a tensor with an image that declares too many pixels.

    Args:
        name: Name of the input.
        values: `np.ndarray`; only arrays of bytes are looked at. They may be image
            files, or serialized `tf.Example`s with image files in them.
        limit: The most pixels that are allowed.

    Raises:
        StatusError: INVALID_ARGUMENT, with a sentence.
    """
    if values.dtype.kind not in "OS":
        return
    for row, value in enumerate(values.ravel()):
        for image in _images(value, name):
            width, height = declared_size(image)
            if width * height > limit:
                raise invalid_argument(
                    f"Images must have at most {limit / 1e6:g} million pixels "
                    "(--max-image-megapixels). Received: one that declares "
                    f"{width} x {height}, item {row} of the input {name!r}. "
                    "Send it smaller."
                )


def _images(value, name):
    """Yields the values that may be images: itself, or the bytes of an Example."""
    if isinstance(value, str):
        return
    yield value
    if name != "inputs" or not value:
        return
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        features = example_pb2.Example.FromString(value).features.feature
    except DecodeError:
        return
    for feature in features.values():
        yield from feature.bytes_list.value
