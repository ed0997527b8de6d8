"""Searches the queries of a batch one by one, in a graph."""

import tensorflow as tf

AT_ONCE = 2  # searches whose rows stand in memory at the same time


def each_query(search, elements, k):
    """Maps a search over a batch of queries.

    Args:
        search: Function of one query's part of `elements` that returns scores `(k,)`,
            float32, and rows `(k,)`, int32.
        elements: Tuple of tensors with the batch first; the batch may be empty.
        k: Scalar int32.

    Returns:
        Scores `(batch, k)` and rows `(batch, k)`.
    """

    def all_of_them():
        return tf.map_fn(
            lambda parts: search(*parts),
            elements,
            fn_output_signature=(
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ),
            parallel_iterations=AT_ONCE,
        )

    def none():  # of which a map would not know the length
        return tf.zeros([0, k]), tf.zeros([0, k], tf.int32)

    return tf.cond(tf.shape(elements[0])[0] > 0, all_of_them, none)
