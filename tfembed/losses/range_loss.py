"""The range loss (Zhang et al., 2017)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_count, check_not_negative, check_number
from tfembed.ops.classes import class_numbers, pick_rows, whole_batch
from tfembed.ops.distances import safe_sqrt, squared_distances
from tfembed.ops.pairs import References


def range_loss(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    alpha: Number = 1.0,
    beta: Number = 1.0,
    margin: Number = 1.0,
    k: int = 2,
    squared: bool = False,
    normalize: bool = False,
) -> tf.Tensor:
    """Shrinks each class's largest distances, and parts the two nearest class centres.

        within  = harmonic mean of the k largest distances of two rows of a class,
                  averaged over the classes
        between = max(margin - the smallest distance of two classes' centres, 0)
        loss    = alpha * within + beta * between

    A centre is the mean of a class's rows. The valid terms are the classes with a
    positive pair (of fewer than k pairs all count), and the pairs of classes: each
    part is 0 where it has none. The harmonic mean is 0 where one of the distances is.
    The paper sums over the classes instead of averaging, and adds the softmax
    classifier's loss.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are positives.
        embeddings: `(batch, dim)`, float.
        ref_labels: Not supported: the batch is compared with itself.
        ref_embeddings: Likewise.
        alpha: Weight of the part within classes, at least 0.
        beta: Weight of the part between classes, at least 0.
        margin: Distance of two centres that costs nothing.
        k: Number of largest distances of a class.
        squared: Whether distances, those of centres too, are squared ones.
        normalize: Whether embeddings are divided by their length first.

    Returns:
        `(batch,)`: the batch's loss for every row, float32 or float64.

    Reference: Zhang et al., 2017, Range Loss for Deep Face Recognition with
    Long-tailed Training Data (ICCV).
    """
    _check(alpha, beta, margin, k)
    labels, rows, for_every_row = whole_batch(
        "range_loss",
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
    )
    numbers, classes = class_numbers(labels)

    def distance(left, right):
        """The distances of rows one by one, exact also where they are close."""
        between = tf.reduce_sum(tf.square(left - right), axis=-1)
        return between if squared else safe_sqrt(between)

    first, second, of_class, there = _largest(rows, numbers, int(k))
    far = distance(pick_rows(rows, first), pick_rows(rows, second))
    within = _mean_of_harmonic_means(far, of_class, there, tf.shape(rows)[0])

    sizes = _per_class(tf.ones_like(rows[:, 0]), numbers)
    centers = tf.math.divide_no_nan(_per_class(rows, numbers), sizes[:, None])
    one, other = _nearest(centers, classes)
    near = distance(pick_rows(centers, one), pick_rows(centers, other))
    between = tf.reduce_sum(tf.nn.relu(margin - near))  # no centres: of nothing
    between = tf.where(classes > 1, between, tf.zeros_like(between))
    return for_every_row(alpha * within + beta * between)


def _per_class(values, numbers):
    return tf.math.unsorted_segment_sum(values, numbers, tf.shape(numbers)[0])


def _largest(rows, numbers, k):
    """Finds the pairs of rows with the k largest distances of each class.

    Returns:
        The pairs' rows, two index vectors, their class, and whether a pair counts.
    """
    rows = tf.stop_gradient(rows)
    index = tf.range(tf.shape(rows)[0])
    later = index[:, None] < index[None, :]
    pair = later & (numbers[:, None] == numbers[None, :])
    far = squared_distances(rows, rows)
    far = tf.where(pair, far, -tf.ones_like(far))
    far = tf.pad(far, [[0, 0], [0, k]], constant_values=-1)
    # A class's k largest are among the k largest of each of its rows.
    far, second = tf.math.top_k(far, k)
    far, second = tf.reshape(far, [-1]), tf.reshape(second, [-1])
    first, of_class = tf.repeat(index, k), tf.repeat(numbers, k)
    order = tf.argsort(far, direction="DESCENDING")
    order = tf.gather(order, tf.argsort(tf.gather(of_class, order), stable=True))
    first, second, of_class, far = [
        tf.gather(values, order) for values in (first, second, of_class, far)
    ]
    # Each row brings k candidates: class c begins at k times the rows before it.
    sizes = _per_class(tf.ones_like(numbers), numbers)
    start = k * tf.gather(tf.cumsum(sizes, exclusive=True), of_class)
    there = (tf.range(tf.size(far)) < start + k) & (far >= 0)
    return first, tf.where(there, second, first), of_class, there


def _mean_of_harmonic_means(values, of_class, there, classes):
    """Averages each class's harmonic mean, over the classes that have values."""
    zero = tf.zeros_like(values)
    # In units of the class's smallest value nothing overflows.
    unit = tf.where(there, values, values.dtype.max)
    unit = tf.math.unsorted_segment_min(tf.stop_gradient(unit), of_class, classes)
    sound = there & (values > 0)
    inverse = tf.gather(unit, of_class) / tf.where(sound, values, tf.ones_like(values))
    inverse = tf.where(sound, inverse, zero)
    inverse = tf.math.unsorted_segment_sum(inverse, of_class, classes)
    counts = tf.where(there, tf.ones_like(values), zero)
    counts = tf.math.unsorted_segment_sum(counts, of_class, classes)
    sound = (counts > 0) & (unit > 0)
    unit = tf.where(sound, unit, tf.zeros_like(unit))
    means = unit * tf.math.divide_no_nan(counts, inverse)
    filled = tf.reduce_sum(tf.cast(counts > 0, values.dtype))
    return tf.math.divide_no_nan(tf.reduce_sum(means), filled)


def _nearest(centers, classes):
    """Finds the two nearest of the first `classes` centres: two index vectors.

    Of length 1, or 0 where there are no centres; any, where there is one.
    """
    centers = tf.stop_gradient(centers)
    count = tf.shape(centers)[0]
    index = tf.range(count)
    apart = (index[:, None] < index[None, :]) & (index < classes)[None, :]
    near = squared_distances(centers, centers)
    near = tf.reshape(tf.where(apart, near, near.dtype.max), [-1])
    near = tf.pad(near, [[0, 1]], constant_values=near.dtype.max)  # never bare
    pair = tf.argmin(near, output_type=tf.int32)[None][: tf.minimum(count, 1)]
    count = tf.maximum(count, 1)
    return pair // count, pair % count


def _check(alpha, beta, margin, k):
    check_not_negative(alpha=alpha, beta=beta)
    check_number(margin=margin)
    check_count(k=k)


@keras.utils.register_keras_serializable(package="tfembed")
class RangeLoss(FunctionalLoss):
    """`range_loss` as a Keras loss.

    >>> loss = RangeLoss(margin=2.0)
    >>> labels = [0, 0, 0, 1]
    >>> embeddings = [[0.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    2.3333
    """

    function = staticmethod(range_loss)
    check = staticmethod(_check)
