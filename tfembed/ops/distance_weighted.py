"""Distance-weighted sampling of negatives (Wu et al., 2017)."""

import tensorflow as tf

from tfembed.ops.draws import uniform
from tfembed.ops.masked import masked_max


class DistanceWeighted:
    """Draws negatives so that their distances to the anchor spread evenly.

    On the unit sphere of n dimensions the distance d of two random points has the
    density q(d) ~ d^(n - 2) * (1 - d^2 / 4)^((n - 3) / 2), all but zero far from
    sqrt(2). A negative is drawn in proportion to 1 / q(max(d, nearest)), and not at
    all from `farthest` on; from all negatives alike where none is nearer.

    Args:
        pairs: `Pairs` with keys (`draws=True`); of its negatives is drawn.
        cosines: `(rows, refs)`, of anchors and references; `None`: the pairs' inner
            products are the cosines.
        nearest: Distance below which no negative gets more likely.
        farthest: Distance from which on none is drawn.

    Reference: Wu et al., 2017, section 4 (https://arxiv.org/abs/1706.07567).
    """

    def __init__(self, pairs, cosines=None, nearest=0.5, farthest=1.4):
        if pairs.dim is None:
            raise ValueError(
                "Distance-weighted sampling needs the embeddings: the density of "
                "distances depends on their dimension. Received: similarities alone. "
                "Say `Similarities(values, of=embeddings)`."
            )
        self._row_keys, self._ref_keys = pairs.row_keys, pairs.ref_keys
        cosines = pairs.similarity if cosines is None else cosines
        # Cumulative weights in the order of the keys: no draw depends on the order
        # of the references. In blocks, as a running sum over all of them is slow.
        self._order = tf.argsort(pairs.ref_keys, stable=True)
        weights = _weights(cosines, pairs.negative, pairs.dim, nearest, farthest)
        weights = tf.transpose(tf.gather(tf.transpose(weights), self._order))
        rows, refs = tf.unstack(tf.shape(weights))
        self._size = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(refs, tf.float32))), tf.int32)
        self._size = tf.maximum(self._size, 1)
        blocks = tf.maximum((refs + self._size - 1) // self._size, 1)
        padded = tf.pad(weights, [[0, 0], [0, blocks * self._size - refs]])
        self._blocks = tf.reshape(padded, [rows, blocks, self._size])
        self._sums = tf.reduce_sum(self._blocks, axis=2)
        self._before = tf.cumsum(self._sums, axis=1)

    def __call__(self, column):
        """Draws one negative of each anchor, for its positive `column[i]`.

        Returns:
            `(rows,)`, int32: the negative's column; any column for an anchor without
            negatives.
        """
        drawn = uniform(self._row_keys, tf.gather(self._ref_keys, column))
        wanted = tf.cast(drawn, self._sums.dtype) * self._before[:, -1]
        block = _place(self._before, wanted)
        before = tf.gather(self._before - self._sums, block, batch_dims=1)
        inside = tf.cumsum(tf.gather(self._blocks, block, batch_dims=1), axis=1)
        place = block * self._size + _place(inside, tf.maximum(wanted - before, 0))
        last = tf.maximum(tf.shape(self._order)[0] - 1, 0)
        return tf.gather(self._order, tf.minimum(place, last))


def _weights(cosines, negative, dim, nearest, farthest):
    cosines = tf.stop_gradient(cosines)
    squared = 2 - 2 * cosines
    near = negative & (squared < farthest**2)
    squared = tf.clip_by_value(squared, nearest**2, farthest**2)
    logs = (2 - dim) / 2 * tf.math.log(squared)
    logs += (3 - dim) / 2 * tf.math.log(1 - squared / 4)
    weights = tf.exp(tf.minimum(logs - masked_max(logs, near)[:, None], 0))
    weights = tf.where(near, weights, tf.zeros_like(weights))
    alike = tf.cast(negative, weights.dtype)
    return tf.where(tf.reduce_any(near, axis=1)[:, None], weights, alike)


def _place(sums, wanted):
    """Returns the first column whose running sum exceeds `wanted`.

    Rounding may leave none; then it is the last one that adds to the sum.
    """
    found = tf.searchsorted(sums, wanted[:, None], side="right")
    return tf.minimum(found, tf.searchsorted(sums, sums[:, -1:]))[:, 0]
