"""The dynamic soft margin, whose weights are how hard other triplets have been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import Endpoint, embedding_dim
from tfembed.ops.arguments import check_count, check_fraction
from tfembed.ops.masked import masked_count, masked_min, masked_sum
from tfembed.ops.pairs import Pairs, of_each_row, over_terms, sum_over_rows
from tfembed.ops.rows import overwrite
from tfembed.ops.soft_histograms import soft_histograms


@keras.utils.register_keras_serializable(package="tfembed")
class DynamicSoftMargin(Endpoint):
    """Weighs each triplet by the share of triplets that are no harder than it.

    An endpoint layer: it takes `[embeddings, labels]`, adds its loss to the model and
    passes the embeddings through. A triplet is a positive pair (i, j) and the nearest
    negative of either end, as in `HardNet`:

        x[i, j]    = D[i, j] - min(n(i), n(j)),  n(i) = min{D[i, k] : k negative}
        loss(i, j) = CDF(x[i, j]) * x[i, j]

    D is the Euclidean distance of unit rows: embeddings are normalised inside, and x is
    from -2 to 2. CDF is the distribution function of all x so far, a moving average of
    the batches' histograms: there is no margin to choose, and triplets that are harder
    than most count most. A valid term is a positive pair that has a negative at either
    end, ordered; the loss is their mean, 0 without any, and it may be negative. The
    weights are constants to the gradient.

    In training, the histogram of the batch of all replicas is mixed in before the loss
    reads it, and stands in `layer.histogram`: values count for the two nodes that they
    are between. The first batch is taken as it is. In inference the loss is the same,
    and nothing is remembered. A row that is not finite has the loss NaN, and is in no
    triplet of others.

    The official code takes pairs of views, whose negatives are rows of the other side
    alone, and leaves out negatives that are all but equal. pytorch-metric-learning's
    `DynamicSoftMarginLoss` takes all triplets where it has labels and these pairs where
    it has none; a batch counts there by its number of triplets (`momentum` times that,
    beside `1 - momentum`), and the weights have a gradient.

    >>> images = keras.Input((8,))
    >>> labels = keras.Input((), dtype="int64")
    >>> embeddings = keras.layers.Dense(4)(images)
    >>> outputs = DynamicSoftMargin()([embeddings, labels])
    >>> keras.Model([images, labels], outputs).compile("sgd")

    Args:
        bins: Number of intervals between the histogram's nodes, from -2 to 2; 511 in
            the official code.
        momentum: Weight of a batch in the moving average, from 0 to 1.
        miner: A miner of `tfembed.miners`: which pairs count; `None`: all.
        row_chunk: Rows of a block at most, to bound memory; `None`: all at once.

    Call arguments:
        inputs: `[embeddings, labels]`: `(batch, dim)` floats; `(batch,)` integers.
            A third one, `(batch,)` floats, multiplies each row's loss.
        training: Whether the histogram remembers the batch.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the labels are not integers.

    Reference: Zhang and Rusinkiewicz, 2019, Learning Local Descriptors With a
    CDF-Based Dynamic Soft Margin, section 3 (ICCV).
    """

    kind = "Labels"

    def __init__(
        self,
        bins: int = 512,
        momentum: float = 0.01,
        miner: Callable[[Pairs], tuple[tf.Tensor, tf.Tensor]] | None = None,
        row_chunk: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_count(bins=bins)
        check_fraction(momentum=momentum)
        if row_chunk is not None:
            check_count(row_chunk=row_chunk)
        super().__init__(**kwargs)
        if isinstance(miner, dict):  # from a config
            miner = keras.utils.deserialize_keras_object(miner)
        self.bins = int(bins)
        self.momentum = momentum
        self.miner = miner
        self.row_chunk = row_chunk

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        embedding_dim(input_shape)  # refuses what it must
        self.histogram = compat.add_state(self, "histogram", (self.bins + 1,))
        self.built = True

    def checked(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return ids, tf.constant(True)

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        finite = tf.math.is_finite(tf.reduce_sum(tf.square(embeddings), axis=1))
        embeddings = tf.where(finite[:, None], embeddings, tf.zeros_like(embeddings))
        sound = tf.cast(finite, embeddings.dtype)
        batch = ids, embeddings
        frame = {"normalize": True, "miner": self.miner, "row_chunk": self.row_chunk}

        def nearest(pairs):
            _keep_sound(pairs)
            largest = pairs.distance.dtype.max
            return masked_min(pairs.distance, pairs.negative, empty=largest)

        of_row = {"row_inputs": [sound], "ref_inputs": [sound]}
        ends = of_each_row(nearest, *batch, **of_row, **frame)

        def triplets(pairs):
            """Returns x, where there is one, and its place between the nodes."""
            _keep_sound(pairs)
            own, other = pairs.row_inputs[1], pairs.ref_inputs[1]
            hardest = tf.minimum(own[:, None], other[None, :])
            there = pairs.positive & (hardest < hardest.dtype.max)
            x = pairs.distance - tf.where(there, hardest, tf.zeros_like(hardest))
            place = (tf.stop_gradient(x) + 2) / 4 * self.bins
            return x, there, tf.clip_by_value(place, 0, self.bins)

        def counts(pairs):
            _, there, place = triplets(pairs)
            return soft_histograms(place, [there], self.bins)[:, 0]

        of_row = {"row_inputs": [sound, ends], "ref_inputs": [sound, ends]}
        new = sum_over_rows(counts, [self.bins + 1], *batch, **of_row, **frame)
        histogram = self._mixed(tf.stop_gradient(new))
        if training:
            overwrite(compat.variable(self.histogram), histogram)
        share = tf.cumsum(histogram)

        def rows(pairs):
            x, there, place = triplets(pairs)
            weights = tf.gather(share, tf.cast(tf.floor(place), tf.int32))
            return masked_sum(weights * x, there), masked_count(there, x.dtype)

        losses = over_terms(rows, *batch, **of_row, **frame)
        return tf.where(finite, losses, tf.fill(tf.shape(losses), float("nan")))

    def _mixed(self, counts):
        """Returns the moving average once it has a batch's histogram; it sums to 1."""
        old = tf.convert_to_tensor(compat.variable(self.histogram))
        total = tf.reduce_sum(counts)
        new = tf.math.divide_no_nan(counts, total)
        moved = old + self.momentum * (new - old)
        moved = tf.where(tf.reduce_sum(old) > 0, moved, new)
        return tf.where(total > 0, moved, old)

    def get_config(self) -> dict[str, Any]:
        miner = self.miner and keras.utils.serialize_keras_object(self.miner)
        return {
            **super().get_config(),
            "bins": self.bins,
            "momentum": compat.plain(self.momentum),
            "miner": miner,
            "row_chunk": self.row_chunk,
        }


def _keep_sound(pairs):
    """Leaves out the rows that are not finite, as anchors and as references."""
    sound = (pairs.row_inputs[0] > 0)[:, None] & (pairs.ref_inputs[0] > 0)[None, :]
    pairs.keep(sound, sound)
