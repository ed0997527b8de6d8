"""Finds the rows of ids inside a graph, in stock ops and without a table.

A lookup table would need an asset file and an initialiser. Two variables do instead:
the hashes of all ids in ascending order, and the row of each. The id at the row that
is found is compared with the one asked for, so that the answer is exact.
"""

import tensorflow as tf

from tfembed.export.gallery_state import hash_ids


def find_rows(variables, ids):
    """Finds the rows of ids.

    Args:
        variables: `{name: tf.Variable}` of `tfembed.export.gallery_state`.
        ids: String tensor of any shape.

    Returns:
        int32 tensor of that shape: the row of each id, -1 for one that is not in the
        gallery, as the empty string never is.
    """
    hashes = variables["id_hashes"]
    wanted = tf.reshape(hash_ids(ids), [1, -1])
    place = tf.raw_ops.LowerBound(
        sorted_inputs=hashes[None], values=wanted, out_type=tf.int32
    )
    place = tf.minimum(place, tf.shape(hashes)[0] - 1)
    rows = tf.reshape(tf.gather(variables["id_rows"], place), tf.shape(ids))
    there = tf.equal(tf.gather(variables["gallery_ids"], rows), ids)
    return tf.where(there, rows, -1)


def is_member(sets, values):
    """Tells which values are in a set of their own.

    Args:
        sets: int32 `(batch, e)`, `e` may be 0: one set a row.
        values: int32 `(batch, m)`, below the largest int32.

    Returns:
        bool `(batch, m)`: whether a value is in the set of its row.
    """
    sets = tf.sort(tf.pad(sets, [[0, 0], [0, 1]], constant_values=tf.int32.max))
    place = tf.raw_ops.LowerBound(sorted_inputs=sets, values=values, out_type=tf.int32)
    return tf.equal(tf.gather(sets, place, batch_dims=1), values)
