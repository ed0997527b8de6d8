"""The classes of a batch as numbers, rows by number, and all replicas' batch."""

import tensorflow as tf

from tfembed.ops import replicas
from tfembed.ops.floats import widen
from tfembed.ops.labels import flat_labels
from tfembed.ops.pair_checks import check_pairs, closed_batch
from tfembed.ops.pair_types import Similarities
from tfembed.ops.unit_rows import unit_rows
from tfembed.ops.zero_rows import at_least_one_row


def class_numbers(labels):
    """Numbers the distinct labels from 0, in ascending order.

    Unlike `tf.unique` its shapes are known beforehand: XLA compiles it.

    Args:
        labels: `(rows,)`, any number type.

    Returns:
        `(rows,)`, int32, each row's class; and the number of classes, an int32 scalar.
    """
    order = tf.argsort(labels)
    ascending = tf.gather(labels, order)
    new = tf.cast(ascending[1:] != ascending[:-1], tf.int32)
    ranks = tf.concat([tf.zeros_like(order[:1]), tf.cumsum(new)], axis=0)
    numbers = tf.scatter_nd(order[:, None], ranks, tf.shape(order))
    return numbers, tf.reduce_sum(new) + tf.minimum(tf.shape(order)[0], 1)


def whole_batch(
    loss, labels, embeddings, ref_labels=None, ref_embeddings=None, *, normalize
):
    """Returns the rows of all replicas, for a loss that needs the batch as one set.

    Args:
        loss: Name of the loss, for the message.
        labels: `(batch,)` or `(batch, 1)`, any dtype.
        embeddings: `(batch, dim)`, float.
        ref_labels: Refused.
        ref_embeddings: Refused.
        normalize: Whether the embeddings are divided by their length first.

    Returns:
        Labels `(rows,)`, embeddings `(rows, dim)`, float32 or float64, at least one row
        (see `ops.zero_rows`), and a function that makes a value of that batch
        `(batch,)`: one for each of the own rows.

    Raises:
        ValueError: If references or similarities are given, or shapes do not fit.
    """
    closed_batch(loss, ref_labels, ref_embeddings)
    refuse_similarities(loss, embeddings)
    labels, embeddings = flat_labels(labels), widen(embeddings)
    check_pairs(labels, embeddings)
    batch = tf.shape(embeddings)[0]
    if normalize:
        embeddings = unit_rows(embeddings)
    labels, embeddings = at_least_one_row(*replicas.gather(labels, embeddings))
    return labels, embeddings, lambda value: tf.fill([batch], value)


def refuse_similarities(loss, embeddings):
    """Refuses `Similarities` for a loss that does not depend on them alone.

    Raises:
        ValueError: If `embeddings` are `Similarities`.
    """
    if isinstance(embeddings, Similarities):
        raise ValueError(
            f"`{loss}` needs embeddings: it does not depend on the similarities of "
            "pairs alone. Received: `Similarities`."
        )


@tf.custom_gradient
def pick_rows(values, index):
    """Gathers rows.

    The gradient of `tf.gather` is an `IndexedSlices`, which the collectives between
    replicas do not take.

    Args:
        values: `(rows, dim)`, float.
        index: `(picked,)`, integer.

    Returns:
        `(picked, dim)`.
    """
    rows = tf.shape(values)[0]

    def gradient(upstream):
        return tf.math.unsorted_segment_sum(upstream, index, rows), None

    return tf.gather(values, index), gradient
