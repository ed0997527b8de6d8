"""Decodes a batch of encoded images in graph, so that a bad one harms no other."""

import tensorflow as tf

from tfembed.ops.image_formats import MAX_PIXELS
from tfembed.ops.images import decode_image

# Below this many bytes in a batch, starting threads costs more than they save.
_PARALLEL_BYTES = 1 << 18
_PARALLEL = 4
_FEATURES = ("image_bytes", "image/encoded")


def decode_images(image_bytes, image_shape, max_pixels=MAX_PIXELS, resize="squash"):
    """Decodes encoded images to the pixels that the network was trained on.

    A kernel that fails to decode fails the whole request, and with server-side
    batching the requests of other clients too. So the images pass through a
    `tf.data` pipeline inside the graph, which drops the elements that raise: empty
    or foreign bytes, truncated files, corrupt ones. All of it is stock TensorFlow.

    An image is not decoded at all if its header declares too many pixels. The room
    that decoding takes is about 15 bytes a pixel, 25 where it is transparent, for four
    images at a time.

    Args:
        image_bytes: `(batch,)`, string: JPEG, PNG, GIF or BMP files.
        image_shape: `(height, width, channels)`, static.
        max_pixels: Height times width above which an image counts as bad.
        resize: How images are brought to the shape, see `tfembed.ops.resize`.

    Returns:
        Images `(batch, height, width, channels)` in float32, 0..255, zero where the
        bytes do not decode; and `(batch,)` bool, whether they did.
    """
    return _decode_each(image_bytes, image_shape, max_pixels, resize, tf.identity)


def decode_examples(inputs, image_shape, max_pixels=MAX_PIXELS, resize="squash"):
    """Decodes the images of serialized examples, as `decode_images` does.

    Args:
        inputs: `(batch,)`, string: serialized `tf.train.Example`s, whose feature
            `image_bytes` (or, if it has none, `image/encoded`) is one encoded image.
        image_shape: As for `decode_images`.
        max_pixels: As for `decode_images`.
        resize: As for `decode_images`.

    Returns:
        As `decode_images`; what is no such example counts as a bad image.
    """
    return _decode_each(inputs, image_shape, max_pixels, resize, _image_of_example)


def _image_of_example(serialized):
    features = {name: tf.io.FixedLenFeature([], tf.string, "") for name in _FEATURES}
    found = tf.io.parse_single_example(serialized, features)
    first, second = (found[name] for name in _FEATURES)
    return tf.where(tf.equal(first, ""), second, first)


def _decode_each(elements, image_shape, max_pixels, resize, read):
    def decode(element):
        return decode_image(read(element), image_shape, max_pixels, resize)

    total = tf.reduce_sum(tf.cast(tf.strings.length(elements), tf.int64))
    parallel = tf.where(total < _PARALLEL_BYTES, tf.constant(1, tf.int64), _PARALLEL)
    rows, images = _decodable(elements, decode, image_shape, parallel)
    size = tf.shape(elements, tf.int64)[0]
    shape = tf.concat([[size + 1], tf.constant(image_shape, tf.int64)], 0)
    valid = tf.scatter_nd(rows[:, None], tf.ones_like(rows), [size + 1]) > 0
    images = tf.scatter_nd(rows[:, None], images, shape)[:size]
    return tf.ensure_shape(images, (None, *image_shape)), valid[:size]


def _decodable(elements, decode, image_shape, parallel):
    """Rows that decode, with their images; last comes one blank, row `batch`.

    The blank makes the batch never empty.
    """
    size = tf.shape(elements, tf.int64)[0]
    pipeline = tf.data.Dataset.from_tensor_slices((tf.range(size), elements))
    pipeline = pipeline.map(
        lambda row, element: (row, decode(element)),
        num_parallel_calls=parallel,
        deterministic=False,
    )
    pipeline = pipeline.ignore_errors()
    blank = tf.data.Dataset.from_tensors((size, tf.zeros(image_shape)))
    pipeline = pipeline.concatenate(blank).batch(size + 1)
    options = tf.data.Options()  # it would take longer to optimise than to run
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return pipeline.with_options(options).get_single_element()
