"""The weighted vote of the nearest neighbours."""

import tensorflow as tf


def weighted_vote(scores, labels, num_classes, temperature):
    """Lets each neighbour vote for its class with weight `exp(score / temperature)`.

        weight[c] = sum{ exp(scores[i] / temperature) : labels[i] == c }

    The largest score is subtracted before `exp`, which changes neither the winner
    nor its share and keeps small temperatures from overflowing.

    Args:
        scores: `(batch, k)`, float32 similarities of the neighbours.
        labels: `(batch, k)`, integer classes in `[0, num_classes)`; a negative
            label does not vote.
        num_classes: Number of classes, an integer or a scalar tensor.
        temperature: Positive float.

    Returns:
        The winning class `(batch,)`, in the dtype of `labels`, the lowest one where
        several are equal and -1 where nobody votes; and its share of all votes
        `(batch,)`, float32.

    Reference: Wu et al., 2018, section 3.4 (https://arxiv.org/abs/1805.01978).
    """
    labels = tf.convert_to_tensor(labels)
    shares = vote_shares(scores, labels, num_classes, temperature)
    share = tf.reduce_max(shares, axis=1)
    winner = tf.argmax(shares, axis=1, output_type=tf.int64)
    winner = tf.where(share > 0, winner, -1)
    return tf.cast(winner, labels.dtype), share


def vote_shares(scores, labels, num_classes, temperature):
    """Returns the share of every class in the weighted vote.

    Args:
        scores: As for `weighted_vote`.
        labels: As for `weighted_vote`.
        num_classes: As for `weighted_vote`.
        temperature: As for `weighted_vote`.

    Returns:
        `(batch, num_classes)`, float32: rows that sum to 1, of zeros where nobody
        votes.
    """
    scores = tf.convert_to_tensor(scores)
    labels = tf.convert_to_tensor(labels)
    batch = tf.shape(scores, tf.int64)[0]
    num_classes = tf.cast(num_classes, tf.int64)
    top = tf.reduce_max(scores, axis=1, keepdims=True)
    weights = tf.exp((scores - top) / tf.cast(temperature, scores.dtype))
    votes = tf.range(batch)[:, None] * num_classes + tf.cast(labels, tf.int64)
    votes = tf.where(labels >= 0, votes, -1)  # a segment of -1 is left out
    totals = tf.math.unsorted_segment_sum(weights, votes, batch * num_classes)
    totals = tf.reshape(totals, tf.stack([batch, num_classes]))
    return tf.math.divide_no_nan(totals, tf.reduce_sum(totals, axis=1, keepdims=True))
