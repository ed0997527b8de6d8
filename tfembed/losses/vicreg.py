"""Variance, invariance and covariance of two views (Bardes et al., 2022)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_not_negative, check_positive
from tfembed.ops.classes import class_numbers, whole_batch
from tfembed.ops.floats import like
from tfembed.ops.pairs import References, Similarities


def vicreg(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    invariance: Number = 25.0,
    variance: Number = 25.0,
    covariance: Number = 1.0,
    target: Number = 1.0,
    epsilon: Number = 1e-4,
) -> tf.Tensor:
    """Draws two views of each image together, and keeps the numbers apart and varied.

    The batch holds two views of each image: two rows with the same label, that of the
    image. Z is `(images, dim)`, the first views, and Z' the second ones.

        s    = mean{(Z[i, k] - Z'[i, k])^2 : i, k}
        v(Z) = mean{max(target - sqrt(var(Z[:, k]) + epsilon), 0) : k} / 2
        c(Z) = sum{C[k, l]^2 : k != l} / dim,  C the covariance matrix of Z
        loss = invariance * s + variance * (v(Z) + v(Z')) + covariance * (c(Z) + c(Z'))

    Variance and covariance divide by images - 1; with one image they are 0. This is
    the official code and pytorch-metric-learning's `VICRegLoss`, which gets the views
    apart. The paper's equations sum up s over the numbers instead (`invariance` times
    dim), and have v without the half (`variance` times 2). Embeddings are taken as they
    are: unit rows cannot reach a target of 1.

    A valid term is an image with two views. Labels that come once are left out; of one
    that comes more often the first two rows count, in the order of the rows, first
    replica first.

    Args:
        labels: `(batch,)` or `(batch, 1)`: the image of each row.
        embeddings: `(batch, dim)`, float.
        ref_labels: Refused: it is a loss of a closed batch.
        ref_embeddings: Likewise.
        invariance: Weight of the views' distance, at least 0; lambda in the paper.
        variance: Weight of the standard deviations, at least 0; mu.
        covariance: Weight of the covariances, at least 0; nu.
        target: Standard deviation that each number shall have, positive; gamma.
        epsilon: Added to the variance within the root, positive.

    Returns:
        `(batch,)`: the batch's loss for every row, float32 or float64.

    Reference: Bardes et al., 2022, equations 1 to 6 (https://arxiv.org/abs/2105.04906).
    """
    _check(invariance, variance, covariance, target, epsilon)
    if not isinstance(embeddings, Similarities):  # which are refused
        embeddings = _widen(tf.convert_to_tensor(embeddings))
    labels, rows, for_every_row = whole_batch(
        "vicreg", labels, embeddings, ref_labels, ref_embeddings, normalize=False
    )
    views, valid = _views(labels, rows)
    kept = tf.cast(valid, rows.dtype)[:, None]
    images = tf.reduce_sum(kept)
    apart = tf.reduce_sum(tf.square(views[0] - views[1]), axis=0)
    loss = like(invariance, rows) * tf.reduce_mean(_share(apart, images))
    for view in views:
        centred = (view - _share(tf.reduce_sum(view, axis=0), images)) * kept
        products = tf.matmul(centred, centred, transpose_a=True)
        matrix = _share(products, images - 1)
        variances = tf.linalg.diag_part(matrix)
        lack = like(target, rows) - tf.sqrt(variances + like(epsilon, rows))
        lack = tf.where(images > 1, tf.nn.relu(lack), tf.zeros_like(lack))
        loss += like(variance, rows) * tf.reduce_mean(lack) / 2
        others = tf.square(tf.linalg.set_diag(matrix, tf.zeros_like(variances)))
        loss += like(covariance, rows) * tf.reduce_mean(tf.reduce_sum(others, axis=1))
    return for_every_row(loss)


def _widen(embeddings):
    """Makes float16 float32; a gradient beyond the largest half float becomes that."""
    if embeddings.dtype != tf.float16:
        return embeddings

    @tf.custom_gradient
    def cast(half):
        def gradient(upstream):
            within = tf.clip_by_value(upstream, half.dtype.min, half.dtype.max)
            return tf.cast(within, half.dtype)

        return tf.cast(half, tf.float32), gradient

    return cast(embeddings)


def _views(labels, rows):
    """Finds the first two rows of each label that has two.

    Returns:
        Two tensors like `rows`, one for each of as many classes as there are rows, 0
        where the class has no two; and whether it has, `(rows,)`.
    """
    numbers, _ = class_numbers(labels)
    count = tf.shape(numbers)[0]
    place = tf.range(count)
    first = tf.math.unsorted_segment_min(place, numbers, count)
    later = tf.where(place > tf.gather(first, numbers), place, place.dtype.max)
    second = tf.math.unsorted_segment_min(later, numbers, count)
    valid = second < count
    views = []
    for which in (first, second):
        own = (place == tf.gather(which, numbers)) & tf.gather(valid, numbers)
        own = tf.where(own[:, None], rows, tf.zeros_like(rows))
        views.append(tf.math.unsorted_segment_sum(own, numbers, count))
    return views, valid


def _share(sums, count):
    """Divides by a number, or by 1 where it is 0 or less."""
    return sums / tf.maximum(count, tf.ones_like(count))


def _check(invariance, variance, covariance, target, epsilon):
    check_not_negative(invariance=invariance, variance=variance, covariance=covariance)
    check_positive(target=target, epsilon=epsilon)


@keras.utils.register_keras_serializable(package="tfembed")
class VICReg(FunctionalLoss):
    """`vicreg` as a Keras loss.

    >>> loss = VICReg()
    >>> images = [0, 1, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.0, 1.0]]
    >>> print(round(float(loss(images, embeddings)), 4))
    13.6309
    """

    function = staticmethod(vicreg)
    check = staticmethod(_check)
