"""How far the softmax of one row over a bank is from that of another, streamed.

With `p` the softmax of an embedding's scores `s = bank @ embedding / T`, `q` that of
another row's and `t` the difference of the scores, the Kullback-Leibler divergence and
its gradient are expectations over the bank,

    KL(p || q) = E_p[t] - log sum(exp(s)) + log sum(exp(s - t))
    d KL / d embedding = (E_p[bank * t] - E_p[bank] * E_p[t]) / T,

the bank and the other row being constants. So one pass over chunks of the bank gives
the log-sum-exp, the divergence and the gradients of both; `(batch, size)` never stands
in memory.
"""

import tensorflow as tf

from tfembed.ops.rows import read_rows
from tfembed.ops.streamed_softmax import CHUNK, HUGE
from tfembed.ops.zero_rows import around_zero_rows


def streamed_divergence(embeddings, others, apart, bank, temperature, chunk=CHUNK):
    """Computes log-sum-exp over the bank, and the divergence from another row's p.

    Only the embeddings take a gradient.

    Args:
        embeddings: `(batch, dim)`, float32.
        others: `(batch, dim)`, float32: what each embedding is compared with.
        apart: `(batch,)`, bool: of which rows the divergence is wanted. Where it is
            wanted of none, the second softmax is not computed.
        bank: A `tf.Variable` of shape `(size, dim)`, float32.
        temperature: Positive scalar.
        chunk: Rows per step, an integer.

    Returns:
        `log sum(exp(bank @ embedding / temperature))` and `KL(p || q)`, both
        `(batch,)`, float32; the divergence is 0 where it is not wanted.
    """
    temperature = tf.cast(temperature, tf.float32)
    return around_zero_rows(
        lambda *rows: _with_readouts(*rows, bank, temperature, chunk),
        embeddings,
        tf.stop_gradient(others),
        apart,
    )


def _with_readouts(embeddings, others, apart, bank, temperature, chunk):
    @tf.custom_gradient
    def with_readouts(embeddings):
        queries = embeddings / temperature
        targets = others / temperature

        def both():
            log_sums, expected, moved = _stream(queries, targets, bank, chunk)
            log_sum, other_log_sum = tf.split(log_sums, 2)
            mean = tf.reduce_sum(expected * (queries - targets), axis=1)
            divergence = mean - log_sum + other_log_sum
            slope = moved - expected * mean[:, None]
            return (
                log_sum,
                tf.where(apart, divergence, 0.0),
                expected,
                tf.where(apart[:, None], slope, 0.0),
            )

        def one():
            log_sum, expected, _ = _stream(queries, None, bank, chunk)
            return log_sum, tf.zeros_like(log_sum), expected, tf.zeros_like(expected)

        log_sum, divergence, expected, slope = tf.cond(tf.reduce_any(apart), both, one)

        def gradient(of_log_sum, of_divergence):
            moved = of_log_sum[:, None] * expected + of_divergence[:, None] * slope
            return moved / temperature

        return (log_sum, divergence), gradient

    return with_readouts(embeddings)


def _stream(queries, targets, bank, chunk):
    """Returns log-sum-exps, expected rows, and expected rows times `t`.

    As in `streamed_softmax`: scores stand as `(rows, batch)`, are taken relative to
    the log-sum-exp so far, and anew relative to their maximum where that overflows.

    Args:
        queries: `(batch, dim)`, embeddings divided by the temperature.
        targets: The other rows divided by it, or `None`.
        bank: A variable `(size, dim)`.
        chunk: Rows per step, an integer.

    Returns:
        `(batch,)`, or `(2 * batch,)` with targets; `(batch, dim)`; and `(batch, dim)`,
        `None` without targets.
    """
    size, dim = bank.shape
    chunk = min(chunk, size)
    batch = tf.shape(queries)[0]
    blocks = 1 if targets is None else 2
    columns = tf.transpose(
        queries if targets is None else tf.concat([queries, targets], axis=0)
    )

    def merge(start, rows, log_sum, readout):
        values = read_rows(bank, start + tf.range(rows))
        ones = tf.ones([1, rows], values.dtype)

        def terms(shift):
            relative = tf.nn.bias_add(tf.matmul(values, columns), -shift)
            weights = tf.exp(relative)
            return relative, weights, tf.matmul(ones, weights)[0], shift

        def terms_by_maximum():
            top = tf.reduce_max(tf.matmul(values, columns), axis=0)
            return terms(tf.maximum(log_sum, top))

        found = terms(log_sum)
        relative, weights, total, shift = tf.cond(
            tf.reduce_all(found[2] < HUGE), lambda: found, terms_by_maximum
        )
        before = tf.exp(log_sum - shift)
        total += before
        share, own = before[:batch], total[:batch]
        if targets is not None:
            difference = relative[:, :batch] - relative[:, batch:]
            difference = tf.nn.bias_add(difference, shift[:batch] - shift[batch:])
            weights = weights[:, :batch]
            weights = tf.concat([weights, weights * difference], axis=1)
            share, own = tf.tile(share, [2]), tf.tile(own, [2])
        shape = readout.shape  # which a batch of one row would lose
        readout = readout * share + tf.matmul(values, weights, transpose_a=True)
        return shift + tf.math.log(total), tf.ensure_shape(readout / own, shape)

    state = (
        tf.fill([blocks * batch], columns.dtype.min),
        tf.zeros([dim, blocks * batch], columns.dtype),
    )
    whole = size // chunk * chunk
    _, *state = tf.while_loop(
        lambda start, *_: start < whole,
        lambda start, *state: (start + chunk, *merge(start, chunk, *state)),
        (tf.constant(0), *state),
        parallel_iterations=1,
    )
    if whole < size:
        state = merge(tf.constant(whole), size - whole, *state)
    log_sums, readout = state
    readout = tf.transpose(readout)
    if targets is None:
        return log_sums, readout, None
    return log_sums, readout[:batch], readout[batch:]
