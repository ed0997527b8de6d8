"""Scores against rows that are drawn for each anchor apart, a few anchors at a time.

With 4,096 negatives of 128 dimensions for each of 256 anchors the drawn rows are half
a gigabyte. Here they never stand in memory together: they are read in steps that fit
a processor's cache, once for the scores and once for the gradient, which takes less
time than writing all of them and reading them back.

A training step writes into the bank before its backward pass, which therefore must not
read it. So the gradient to the embeddings is computed ahead, as a readout of the drawn
rows, and attached to the losses:

    scores = sampled_scores(embeddings, bank, drawn)
    losses = ...                                  and weights = d losses / d scores
    readout = sampled_readout(weights, bank, drawn)
    losses = attach_gradient(losses, embeddings, readout)
"""

import tensorflow as tf

from tfembed.ops.rows import read_rows

# Drawn rows of one step.
CHUNK = 4096


def sampled_scores(embeddings, bank, drawn, chunk=CHUNK):
    """Computes `embedding[i] . bank[drawn[i, j]]`, without gradient.

    Args:
        embeddings: `(batch, dim)`, float32.
        bank: A `tf.Variable` of shape `(size, dim)`, float32.
        drawn: `(batch, m)`, integers in `[0, size)`; m must be known.
        chunk: Drawn rows per step, an integer; at least one anchor's.

    Returns:
        `(batch, m)`, float32.
    """
    return _map(
        lambda rows, queries: tf.linalg.matvec(rows, queries),
        (bank, drawn, tf.stop_gradient(embeddings)),
        chunk,
        drawn.shape[1],
    )


def sampled_readout(weights, bank, drawn, chunk=CHUNK):
    """Computes `sum{ weights[i, j] * bank[drawn[i, j]] : j }`, without gradient.

    Args:
        weights: `(batch, m)`, float32.
        bank: As in `sampled_scores`.
        drawn: As there.
        chunk: As there.

    Returns:
        `(batch, dim)`, float32.
    """
    return _map(
        lambda rows, weights: tf.linalg.matvec(rows, weights, transpose_a=True),
        (bank, drawn, tf.stop_gradient(weights)),
        chunk,
        bank.shape[1],
    )


def attach_gradient(losses, embeddings, gradients):
    """Adds a gradient that is already known to that which losses have by themselves.

    Args:
        losses: `(batch,)`; row i depends on row i of the embeddings alone.
        embeddings: `(batch, dim)`.
        gradients: `(batch, dim)`, of each loss to its embedding.

    Returns:
        The losses.
    """

    @tf.custom_gradient
    def attached(losses, embeddings):
        del embeddings
        return tf.identity(losses), lambda upstream: (
            upstream,
            upstream[:, None] * gradients,
        )

    return attached(losses, embeddings)


def _map(function, arguments, chunk, length):
    """Applies a function to each anchor's rows and vector, a few anchors at a time.

    Args:
        function: From `(anchors, m, dim)` and `(anchors, k)` to `(anchors, length)`.
        arguments: The bank, `(size, dim)`; the drawn rows, `(batch, m)`; the vectors,
            `(batch, k)`.
        chunk: Rows per step, an integer.
        length: An integer.

    Returns:
        `(batch, length)`.
    """
    bank, drawn, vectors = arguments
    anchors = max(1, chunk // drawn.shape[1])
    batch = tf.shape(drawn)[0]
    missing = -batch % anchors  # the last step is filled up with row 0

    def grouped(values):
        values = tf.pad(values, [[0, missing], [0, 0]])
        return tf.reshape(values, [-1, anchors, values.shape[1]])

    results = tf.map_fn(
        lambda parts: function(read_rows(bank, parts[0]), parts[1]),
        (grouped(drawn), grouped(vectors)),
        fn_output_signature=tf.TensorSpec([anchors, length], vectors.dtype),
        # In a graph, reads of one step beside the products of another.
        parallel_iterations=None if tf.executing_eagerly() else 2,
    )
    return tf.reshape(results, [-1, length])[:batch]
