"""Decodes a batch of encoded images in graph, so that a bad one harms no other."""

import tensorflow as tf

from tfembed.ops.images import decode_image

# Below this many bytes in a batch, starting threads costs more than they save.
_PARALLEL_BYTES = 1 << 18


def decode_images(image_bytes, image_shape):
    """Decodes encoded images to the pixels that the network was trained on.

    A kernel that fails to decode fails the whole request, and with server-side
    batching the requests of other clients too. So the images pass through a
    `tf.data` pipeline inside the graph, which drops the elements that raise: empty
    or foreign bytes, truncated files, corrupt ones. All of it is stock TensorFlow.

    Args:
        image_bytes: `(batch,)`, string: JPEG, PNG, GIF or BMP files.
        image_shape: `(height, width, channels)`, static.

    Returns:
        Images `(batch, height, width, channels)` in float32, 0..255, zero where the
        bytes do not decode; and `(batch,)` bool, whether they did.
    """
    total = tf.reduce_sum(tf.cast(tf.strings.length(image_bytes), tf.int64))
    rows, images = tf.cond(
        total < _PARALLEL_BYTES,
        lambda: _decodable(image_bytes, image_shape, None),
        lambda: _decodable(image_bytes, image_shape, 16),
    )
    size = tf.shape(image_bytes, tf.int64)[0]
    shape = tf.concat([[size + 1], tf.constant(image_shape, tf.int64)], 0)
    valid = tf.scatter_nd(rows[:, None], tf.ones_like(rows), [size + 1]) > 0
    images = tf.scatter_nd(rows[:, None], images, shape)[:size]
    return tf.ensure_shape(images, (None, *image_shape)), valid[:size]


def _decodable(image_bytes, image_shape, parallel):
    """Rows that decode, with their images; last comes one blank, row `batch`.

    The blank makes the batch never empty.
    """
    size = tf.shape(image_bytes, tf.int64)[0]
    pipeline = tf.data.Dataset.from_tensor_slices((tf.range(size), image_bytes))
    pipeline = pipeline.map(
        lambda row, encoded: (row, decode_image(encoded, image_shape)),
        num_parallel_calls=parallel,
        deterministic=None if parallel is None else False,
    )
    pipeline = pipeline.ignore_errors()
    blank = tf.data.Dataset.from_tensors((size, tf.zeros(image_shape)))
    pipeline = pipeline.concatenate(blank).batch(size + 1)
    options = tf.data.Options()  # it would take longer to optimise than to run
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return pipeline.with_options(options).get_single_element()
