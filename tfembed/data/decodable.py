"""Files of every format that is read, as the decoder in the graph takes them."""

import tensorflow as tf

from tfembed.formats.image_files import UnreadableImage, as_decodable
from tfembed.ops.images import is_decodable

__all__ = ["decodable"]


def decodable(encoded):
    """Returns an image as a file that `decode_image` reads; for `tf.data` alone.

    Most files are, and pass. The others go through Python and Pillow.

    Args:
        encoded: Scalar string tensor.

    Returns:
        Scalar string tensor; empty if nothing reads it.
    """
    return tf.ensure_shape(
        tf.cond(
            is_decodable(encoded),
            lambda: encoded,
            lambda: tf.numpy_function(_convert, [encoded], tf.string, stateful=False),
        ),
        [],
    )


def _convert(encoded):
    try:
        return as_decodable(encoded, compress_level=0)
    except UnreadableImage:
        return b""
