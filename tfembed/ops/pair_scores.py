"""Inner products of given pairs of queries and rows, a chunk of pairs at a time."""

import tensorflow as tf

CHUNK = 1 << 14


def pair_scores(queries, rows, read, chunk=CHUNK):
    """Scores the rows that each query names.

    Args:
        queries: `(batch, dim)`, float32.
        rows: `(batch, m)`, int32; negative for none.
        read: Function of rows `(pairs,)`, none of them negative, that returns their
            embeddings, `(pairs, dim)`. Sums are in float32 whatever their dtype.
        chunk: Pairs at a time; so many rows of both sides stand in memory.

    Returns:
        `(batch, m)`, float32; -inf where there is no row.
    """
    queries = tf.convert_to_tensor(queries)
    rows = tf.cast(rows, tf.int32)
    batch, columns = tf.unstack(tf.shape(rows))
    wanted = tf.cast(tf.where(tf.reshape(rows, [-1]) >= 0)[:, 0], tf.int32)
    flat = tf.gather(tf.reshape(rows, [-1]), wanted)
    count = (tf.size(wanted) + chunk - 1) // chunk
    found = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None])

    def score(index, found):
        part = slice(index * chunk, (index + 1) * chunk)
        left = tf.gather(queries, wanted[part] // columns)
        right = tf.cast(read(flat[part]), tf.float32)
        return index + 1, found.write(index, tf.reduce_sum(left * right, axis=1))

    _, found = tf.while_loop(
        lambda index, _: index < count,
        score,
        [tf.constant(0), found],
        parallel_iterations=1,
    )
    scores = tf.cond(count > 0, found.concat, lambda: tf.zeros([0], tf.float32))
    none = tf.fill([batch * columns], -float("inf"))
    scores = tf.tensor_scatter_nd_update(none, wanted[:, None], scores)
    return tf.reshape(scores, [batch, columns])
