"""Runs graph code on a part of a batch at a time, to bound what stands in memory."""

import tensorflow as tf


def in_chunks(size, chunk, function, outputs):
    """Runs a function on consecutive ranges and puts its outputs together.

    Args:
        size: Scalar int32 tensor: rows in all. None are one empty range.
        chunk: Scalar int32 tensor: rows of a range, at least 1 (less counts as 1).
        function: Of `(start, stop)`, scalar tensors. Returns a tuple of tensors with
            `stop - start` rows each.
        outputs: `(dtype, shape)` of each of them, the shape as in `tf.TensorSpec`.

    Returns:
        List of tensors with `size` rows.
    """
    chunk = tf.clip_by_value(chunk, 1, tf.maximum(size, 1))
    count = tf.maximum((size + chunk - 1) // chunk, 1)
    arrays = [
        tf.TensorArray(dtype, count, infer_shape=False, element_shape=shape)
        for dtype, shape in outputs
    ]

    def run(index, arrays):
        start = index * chunk
        found = function(start, tf.minimum(start + chunk, size))
        return index + 1, [
            array.write(index, value) for array, value in zip(arrays, found)
        ]

    _, arrays = tf.while_loop(
        lambda index, _: index < count,
        run,
        [tf.constant(0), arrays],
        parallel_iterations=1,  # or several ranges stand in memory at once
    )
    return [array.concat() for array in arrays]
