"""Rows of a batch against classes: the frame of all losses on similarities."""

import tensorflow as tf

from tfembed.ops.arguments import check_count
from tfembed.ops.floats import widen
from tfembed.ops.labels import one_column


class Classes:
    """The rows of a batch against all classes, the columns.

    Attributes:
        similarity: `(batch, classes)`, float32 or float64.
        ids: `(batch,)`, int32 in `[0, classes)`; 0 for a row whose label is no class.
        known: `(batch,)`, bool: the row's label is a class.
        count: Number of classes, an integer.
    """

    def __init__(self, similarity, ids, known):
        self.similarity = similarity
        self.ids = ids
        self.known = known
        self.count = similarity.shape[1]
        self._where = tf.stack([tf.range(tf.shape(ids)[0]), ids], axis=1)

    def own(self, values):
        """Returns `(batch,)`: of each row of `values`, the column of its class."""
        return tf.gather_nd(values, self._where)

    def add_to_own(self, values, change):
        """Adds `change`, `(batch,)`, to the column of each row's class."""
        return tf.tensor_scatter_nd_add(values, self._where, change)

    def mask(self):
        """Returns `(batch, classes)`, bool: the column is the row's class."""
        return self.ids[:, None] == tf.range(self.count)[None, :]

    def cross_entropy(self, logits):
        """Returns `-log softmax(logits)` at each row's class, `(batch,)`."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(self.ids, logits)


def over_classes(rows, labels, similarities, *, per_class=1, pool=None):
    """Computes a loss of similarities to proxies.

    Args:
        rows: `rows(classes)` returns the loss of each row, `(batch,)`, from a
            `Classes`.
        labels: `(batch,)` or `(batch, 1)`, the class of each row, a whole number in
            `[0, classes)` of any numeric dtype.
        similarities: `(batch, classes * per_class)`, float. The columns of class c are
            `c * per_class` to `(c + 1) * per_class - 1`.
        per_class: Proxies of a class, its sub-centres.
        pool: Makes the class's similarities `(batch, classes)` from the sub-centres'
            `(batch, classes, per_class)`; by default the largest.

    Returns:
        `(batch,)`, float32 or float64; NaN for a row whose label is no class.

    Raises:
        ValueError: If shapes do not fit together, or labels whose values are known
            are no classes.
        TypeError: If the labels are no numbers.
    """
    similarities = widen(similarities)
    similarity = pooled(similarities, per_class, pool)
    ids, known = class_ids(labels, similarities, similarity.shape[1])
    losses = rows(Classes(similarity, ids, known))
    nothing = tf.constant(float("nan"), losses.dtype)
    return tf.where(known, losses, nothing)


def pooled(similarities, per_class=1, pool=None):
    """Returns `(batch, classes)`: of each class its most similar sub-centre, or `pool`.

    Raises:
        ValueError: If `similarities` are no `(batch, classes * per_class)`.
    """
    check_count(per_class=per_class)
    check_similarities(similarities)
    columns, per_class = similarities.shape[1], int(per_class)
    if columns % per_class:
        raise ValueError(
            "`similarities` must have `per_class` columns for each class. Received: "
            f"{columns} columns and per_class={per_class}. Give the layer `Proxies` "
            "and the loss the same `per_class`."
        )
    if pool is None and per_class == 1:
        return similarities
    parts = tf.reshape(similarities, [-1, columns // per_class, per_class])
    return tf.reduce_max(parts, axis=2) if pool is None else pool(parts)


def check_similarities(similarities):
    """Refuses what is not `(batch, columns)` with a known number of columns."""
    shape = similarities.shape
    if shape.rank != 2 or not shape[1]:
        raise ValueError(
            "`similarities` must have the shape `(batch, classes * per_class)`, the "
            f"number of columns known. Received: shape {tuple(shape)}."
        )


def class_ids(labels, similarities, classes):
    """Turns labels into column numbers.

    Args:
        labels: `(batch,)` or `(batch, 1)`, numeric.
        similarities: `(batch, ...)`, one row for each label.
        classes: Number of classes, an integer.

    Returns:
        `(batch,)`, int32, 0 where the label is no class; and a bool `(batch,)` that
        tells whether it is one.
    """
    labels = tf.convert_to_tensor(labels)
    if not (labels.dtype.is_integer or labels.dtype.is_floating):
        raise TypeError(
            "`labels` must be class numbers from 0 on. "
            f"Received: labels of dtype {labels.dtype.name}."
        )
    labels = one_column(labels)
    if not labels.shape.is_compatible_with(similarities.shape[:1]):
        raise ValueError(
            "`labels` and `similarities` must have equally many rows. Received: "
            f"{labels.shape[0]} and {similarities.shape[0]}."
        )
    values = tf.get_static_value(labels)
    if values is not None:
        wrong = values[~((values >= 0) & (values < classes) & (values % 1 == 0))]
        if len(wrong):
            raise ValueError(
                f"`labels` must be whole numbers in [0, {classes}), the classes that "
                f"`similarities` have columns for. Received: {wrong[0]}."
            )
    ids = tf.cast(labels, tf.int64)
    known = (ids >= 0) & (ids < classes) & (tf.cast(ids, labels.dtype) == labels)
    return tf.cast(tf.where(known, ids, tf.zeros_like(ids)), tf.int32), known
