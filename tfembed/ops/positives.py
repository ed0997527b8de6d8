"""Each anchor's positives one after another, for losses of (anchor, positive) pairs.

A loss of triplets would need `(rows, positives, refs)` at once. Here the k-th positives
of all anchors make one step: memory is O(rows x refs), however many there are.
"""

import tensorflow as tf

from tfembed.ops.recompute import sum_of_steps


class PositiveSlots:
    """The k-th positive of every anchor, its slot k, in the order of the references.

    Args:
        positive: `(rows, refs)`, bool: any mask, such as `pairs.positive`.

    Attributes:
        count: `(rows,)`, int32: number of positives of each anchor.
        slots: The largest count, an int32 scalar; 0 for an empty batch.
    """

    def __init__(self, positive):
        rows, refs = tf.unstack(tf.shape(positive))
        # Two levels, blocks of references and what is in them: one running sum over
        # all references is slow, and O(refs^2) as XLA compiles it.
        self._size = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(refs, tf.float32))), tf.int32)
        self._size = tf.maximum(self._size, 1)
        blocks = tf.maximum((refs + self._size - 1) // self._size, 1)
        padded = tf.pad(positive, [[0, 0], [0, blocks * self._size - refs]])
        self._blocks = tf.reshape(padded, [rows, blocks, self._size])
        counts = tf.reduce_sum(tf.cast(self._blocks, tf.int32), axis=2)
        self._before = tf.cumsum(counts, axis=1)
        self.count = self._before[:, -1]
        self.slots = tf.maximum(tf.reduce_max(self.count), 0)

    def __call__(self, k):
        """Returns where slot k is, and who has one.

        Args:
            k: Number of the slot, an int32 scalar.

        Returns:
            `(rows,)`, int32: the positive's column; any column without one. And
            `(rows,)`, bool: whether there is one.
        """
        there = k < self.count
        wanted = tf.where(there, k, 0)[:, None] + 1
        block = _first(self._before, wanted)
        inside = tf.gather(self._blocks, block, batch_dims=1)
        inside = tf.cumsum(tf.cast(inside, tf.int32), axis=1)
        after = tf.gather(self._before, block, batch_dims=1)
        wanted -= (after - inside[:, -1])[:, None]
        column = block * self._size + _first(inside, wanted)
        return tf.where(there, column, 0), there


def _first(sums, wanted):
    """Returns the first column of each row's running sums that has `wanted`."""
    found = tf.searchsorted(sums, wanted)[:, 0]
    return tf.minimum(found, tf.shape(sums)[1] - 1)


def sum_over_positives(term, pairs, inputs, outputs=1):
    """Computes `sum{term(i, p) : p positive of i}` for each anchor i.

    The backward pass computes each slot again; see `sum_of_steps`.

    Args:
        term: `term(column, *inputs)` returns the terms `(rows,)` of every anchor i and
            its positive `column[i]`, or with several outputs a list of them. Where an
            anchor has no positive left, `column` is 0: what comes out does not
            count, but must be finite. What `term` needs the gradient of is in
            `inputs`; anything else is a constant.
        pairs: `Pairs`.
        inputs: List of float tensors, such as `[pairs.distance]`.
        outputs: Number of sums.

    Returns:
        `(rows,)`, in the dtype of the first input, or with several outputs a list.
    """
    slots = PositiveSlots(pairs.positive)
    nothing = tf.zeros(tf.shape(slots.count), inputs[0].dtype)

    def step(k, *inputs):
        column, there = slots(k)
        values = term(column, *inputs)
        values = [values] if outputs == 1 else values
        return [tf.where(there, value, tf.zeros_like(value)) for value in values]

    sums = sum_of_steps(step, slots.slots, [nothing] * outputs, list(inputs))
    return sums[0] if outputs == 1 else sums


@tf.custom_gradient
def entry(values, column):
    """Returns `values[i, column[i]]` of each row i, `(rows,)`."""
    shape = tf.shape(values)
    where = tf.stack([tf.range(shape[0]), tf.cast(column, tf.int32)], axis=1)

    def gradient(upstream):
        return tf.scatter_nd(where, upstream, shape), None

    return tf.gather_nd(values, where), gradient
