"""Cosines cut to [-1, 1], beyond which rounding may leave them."""

import tensorflow as tf


def cut_cosines(scores, rows):
    """Cuts the cosines of nearest rows to [-1, 1].

    Those that become equal are put into the order of their rows, as equal ones are;
    everything else stays as it is, bit for bit.

    Args:
        scores: `(batch, k)`, float32, largest first and equal ones in the order of
            their rows.
        rows: `(batch, k)`, int32 or int64, negative where there is none: the score of
            that is left.

    Returns:
        Scores and rows, in shape and type as they were.
    """
    scores, rows = tf.convert_to_tensor(scores), tf.convert_to_tensor(rows)
    cut = tf.where(rows >= 0, tf.clip_by_value(scores, -1.0, 1.0), scores)

    def ordered():
        by_row = tf.argsort(rows, axis=1, stable=True)
        values = tf.gather(cut, by_row, batch_dims=1)
        # The first of equal scores is the lowest row's, now that rows ascend.
        values, places = tf.math.top_k(values, tf.shape(values)[1])
        places = tf.gather(by_row, places, batch_dims=1)
        return values, tf.gather(rows, places, batch_dims=1)

    # An answer that needs nothing is not sorted again.
    return tf.cond(tf.reduce_any(cut != scores), ordered, lambda: (scores, rows))
