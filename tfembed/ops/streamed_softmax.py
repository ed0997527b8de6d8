"""Softmax cross-entropy over the rows of a memory bank, streamed.

The gradient of the non-parametric softmax is a readout of the bank,

    d loss[i] / d embeddings[i] = (sum{ p[i, j] * bank[j] } - bank[ids[i]]) / T,

because the bank takes no gradient. One pass over chunks of the bank with a
running log-sum-exp and a running readout gives loss and gradient together;
`(batch, size)` never stands in memory.
"""

import tensorflow as tf

from tfembed.ops.rows import read_rows
from tfembed.ops.unit_rows import unit_rows
from tfembed.ops.zero_rows import around_zero_rows

# Rows of one step. A Python number, so that all shapes are known to XLA; at a batch
# of 256 the scores of a step are 4 MB (twice as many were slower: malloc gives larger
# buffers back to the system, step by step).
CHUNK = 4096
# A sum of exponentials from here on is taken anew relative to the maximum: far below
# the largest float32, because the terms are still multiplied with the rows.
HUGE = 1e20


def streamed_softmax(embeddings, bank, ids, temperature, chunk=CHUNK):
    """Computes `-log softmax(bank @ embedding / temperature)[id]` of each row.

    The bank is a constant: no gradient reaches it.

    Args:
        embeddings: `(batch, dim)`, float32.
        bank: A `tf.Variable` of shape `(size, dim)`, float32.
        ids: `(batch,)`, int64 in `[0, size)`.
        temperature: Positive scalar, a float or a tensor.
        chunk: Rows per step, an integer.

    Returns:
        `(batch,)`, float32.

    Reference: Wu et al., 2018, equation 2 (https://arxiv.org/abs/1805.01978).
    """
    temperature = tf.cast(temperature, tf.float32)

    def of_rows(embeddings, ids):
        @tf.custom_gradient
        def loss_with_readout(embeddings):
            own = read_rows(bank, ids)
            queries = embeddings / temperature
            log_sum, readout = _stream(
                queries,
                bank.shape[0],
                chunk,
                lambda start, rows: read_rows(bank, start + tf.range(rows)),
            )
            loss = log_sum - tf.reduce_sum(queries * own, axis=1)

            def gradient(upstream):
                return upstream[:, None] * (readout - own) / temperature

            return loss, gradient

        return loss_with_readout(embeddings)

    return around_zero_rows(of_rows, embeddings, ids)


def trained_softmax(
    embeddings, weights, labels, temperature, chunk=CHUNK, unit=False, own=None
):
    """Computes `-log softmax(weights @ embedding / temperature)[label]` of each row.

    The same stream as `streamed_softmax`, for rows that are trained: the backward
    pass goes over the chunks a second time for their gradient.

    Args:
        embeddings: `(batch, dim)`, float32.
        weights: Tensor or variable `(classes, dim)`, float32.
        labels: `(batch,)`, integers in `[0, classes)`.
        temperature: Positive scalar.
        chunk: Rows per step, an integer.
        unit: Whether the rows of `weights` are divided by their length first, and the
            gradient is that of `weights` as they are.
        own: What becomes of the product with the own class's row, `(batch,)` to
            `(batch,)`, element by element: a margin. `None`: nothing.

    Returns:
        `(batch,)`, float32.
    """
    temperature = tf.cast(temperature, tf.float32)
    weights = tf.convert_to_tensor(weights)
    return around_zero_rows(
        lambda embeddings, labels: _trained_softmax(
            embeddings, weights, labels, temperature, chunk, unit, own
        ),
        embeddings,
        tf.cast(labels, tf.int32),
    )


def _trained_softmax(embeddings, weights, labels, temperature, chunk, unit, own):
    def prepared(rows):
        return unit_rows(rows) if unit else rows

    @tf.custom_gradient
    def loss_with_readout(embeddings, weights):
        size, dim = weights.shape
        own_weights = tf.gather(weights, labels)
        own_rows = prepared(own_weights)
        product = tf.reduce_sum(embeddings * own_rows, axis=1)
        slope, logit, change = 1.0, product / temperature, None
        if own is not None:
            with tf.GradientTape() as tape:
                tape.watch(product)
                changed = own(product)
            slope = tape.gradient(changed, product)
            change = (changed - product) / temperature
            logit = changed / temperature
        queries = embeddings / temperature
        step = min(chunk, size)

        def read(start, rows):
            return prepared(tf.slice(weights, [start, 0], [rows, dim]))

        log_sum, readout = _stream(queries, size, step, read, labels, change)
        loss = log_sum - logit

        def gradient(upstream):
            pulled = upstream[:, None] * queries
            # What the stream has of the own class is its probability.
            probability = tf.exp(-loss)
            share = ((probability - 1) * slope - probability)[:, None]

            def of_rows(start, rows):
                part = tf.slice(weights, [start, 0], [rows, dim])
                ready = prepared(part)
                scores = tf.matmul(ready, queries, transpose_b=True)
                scores = _add_to_own(scores, start, labels, change)
                moved = tf.matmul(tf.exp(scores - log_sum), pulled)
                return _through_length(moved, part, ready) if unit else moved

            blocks = size // step
            _, moved = tf.while_loop(  # one after another: a block's scores at a time
                lambda i, _: i < blocks,
                lambda i, moved: (i + 1, moved.write(i, of_rows(i * step, step))),
                (
                    tf.constant(0),
                    tf.TensorArray(tf.float32, blocks, element_shape=[step, dim]),
                ),
                parallel_iterations=1,
            )
            moved = tf.reshape(moved.stack(), [blocks * step, dim])
            if blocks * step < size:
                rest = of_rows(tf.constant(blocks * step), size - blocks * step)
                moved = tf.concat([moved, rest], axis=0)
            own_moved = share * pulled
            if unit:
                own_moved = _through_length(own_moved, own_weights, own_rows)
            return (
                upstream[:, None] * (readout + share * own_rows) / temperature,
                tf.tensor_scatter_nd_add(moved, labels[:, None], own_moved),
            )

        return loss, gradient

    return loss_with_readout(embeddings, weights)


def _through_length(gradient, rows, units):
    """Returns the gradient of rows from that of the rows divided by their length."""
    along = tf.reduce_sum(gradient * units, axis=1, keepdims=True)
    length = tf.reduce_sum(rows * units, axis=1, keepdims=True)  # 0 for a zero row
    return tf.math.divide_no_nan(gradient - along * units, length)


def _add_to_own(scores, start, labels, change):
    """Adds `change` to the scores `(rows, batch)` of the own class, where it is here.

    Args:
        scores: Products with the rows from number `start` on.
        start: Number of the first row.
        labels: `(batch,)`, int32.
        change: `(batch,)`, or `None`.
    """
    if change is None:
        return scores
    rows = scores.shape[0]
    here = labels - start
    inside = (here >= 0) & (here < rows)
    columns = tf.range(tf.shape(labels)[0])
    where = tf.stack([tf.clip_by_value(here, 0, rows - 1), columns], axis=1)
    change = tf.where(inside, change, tf.zeros_like(change))
    return tf.tensor_scatter_nd_add(scores, where, change)


def _stream(queries, size, chunk, read, labels=None, change=None):
    """Returns log-sum-exp `(batch,)` and expected row `(batch, dim)`.

    The rows read so far are remembered as their log-sum-exp and their expected row.
    That log-sum-exp is also what the next chunk's scores are taken relative to: it is
    at least their maximum so far, and known before the chunk is, so that no pass over
    the scores looks for a maximum. A chunk whose terms would overflow all the same is
    computed again relative to its own maximum; the first one always is.

    Scores stand as `(rows, batch)`: both products are faster so, and the subtraction
    is then a bias, which the product adds.

    Args:
        queries: `(batch, dim)`, embeddings divided by the temperature.
        size: Number of rows, an integer.
        chunk: Rows per step, an integer.
        read: `read(start, rows)` returns that many rows, `(rows, dim)`; `start` may
            be a tensor.
        labels: `(batch,)`, int32, with `change`.
        change: `(batch,)`, added to the score of each row's own label; `None`: nothing.
    """
    chunk = min(chunk, size)
    queries = tf.transpose(queries)

    def merge(start, rows, log_sum, expected):
        ones = tf.ones([1, rows.shape[0]], queries.dtype)

        def scores():
            return _add_to_own(tf.matmul(rows, queries), start, labels, change)

        def terms(shift):
            weights = tf.exp(tf.nn.bias_add(scores(), -shift))
            return weights, tf.matmul(ones, weights)[0], shift

        def terms_by_maximum():
            top = tf.reduce_max(scores(), axis=0)
            return terms(tf.maximum(log_sum, top))

        weights, total, shift = terms(log_sum)
        weights, total, shift = tf.cond(
            tf.reduce_all(total < HUGE),
            lambda: (weights, total, shift),
            terms_by_maximum,
        )
        before = tf.exp(log_sum - shift)
        total += before
        expected = expected * before + tf.matmul(rows, weights, transpose_a=True)
        return shift + tf.math.log(total), expected / total

    sums = tf.fill(tf.shape(queries)[1:], queries.dtype.min), tf.zeros_like(queries)
    whole = size // chunk * chunk
    _, *sums = tf.while_loop(
        lambda start, *_: start < whole,
        lambda start, *sums: (
            start + chunk,
            *merge(start, read(start, chunk), *sums),
        ),
        (tf.constant(0), *sums),
        parallel_iterations=1,
    )
    if whole < size:
        start = tf.constant(whole)
        sums = merge(start, read(start, size - whole), *sums)
    log_sum, expected = sums
    return log_sum, tf.transpose(expected)
