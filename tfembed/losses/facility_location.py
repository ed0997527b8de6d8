"""The facility location loss, structured clustering (Song et al., 2017)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_choice, check_not_negative
from tfembed.ops.classes import class_numbers, pick_rows, whole_batch
from tfembed.ops.distances import safe_sqrt, squared_distances
from tfembed.ops.floats import like
from tfembed.ops.medoids import AVERAGES, medoids_of_classes, most_violating_medoids
from tfembed.ops.pairs import References

SEARCHES = ("greedy", "pam")


def facility_location(
    labels: Labels,
    embeddings: Rows,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | References | None = None,
    *,
    gamma: Number = 1.0,
    search: str = "pam",
    nmi_average: str = "geometric",
    normalize: bool = False,
) -> tf.Tensor:
    """Scores the classes' own clustering above every other one, by a margin of NMI.

        F(S) = -sum{min{D[i, j] : j in S} : i}
        F_gt = -sum{min{sum{D[i, j] : i in class} : j in class} : class}
        loss = max(max{F(S) + gamma * (1 - NMI(S)) : |S| = classes} - F_gt, 0)

    D is the Euclidean distance, S a set of rows, the medoids, each of which gathers the
    rows that are nearest to it, and NMI(S) says how well these clusters agree with the
    labels. The best S is sought, not found: greedily, one medoid after another, and
    with `search="pam"` bettered in five rounds, in each of which each cluster in turn
    chooses its medoid anew. Which rows are medoids, and NMI, are constants of the
    gradient. The valid term is the batch: one that has at least two classes, and fewer
    classes than rows; any other has loss 0. The search takes O(classes x batch^2) time
    and O(batch^2) memory.

    `metric_loss_ops.cluster_loss` of TensorFlow 1 has the same search, geometric NMI,
    and no default for gamma.

    Args:
        labels: `(batch,)` or `(batch, 1)`; equal labels are a class.
        embeddings: `(batch, dim)`, float.
        ref_labels: Not supported: the batch is clustered as a whole.
        ref_embeddings: Likewise.
        gamma: Weight of the margin, at least 0.
        search: `"pam"` (the paper's, greedy and then bettered) or `"greedy"`.
        nmi_average: `"geometric"` (the paper's) or `"arithmetic"` mean of the two
            entropies, by which the mutual information is divided.
        normalize: Whether embeddings are divided by their length first.

    Returns:
        `(batch,)`: the batch's loss for every row, float32 or float64.

    Reference: Song et al., 2017, equations 3 to 8 (https://arxiv.org/abs/1612.01213).
    """
    _check(gamma, search, nmi_average)
    labels, rows, for_every_row = whole_batch(
        "facility_location",
        labels,
        embeddings,
        ref_labels,
        ref_embeddings,
        normalize=normalize,
    )
    numbers, classes = class_numbers(labels)
    count = tf.shape(rows)[0]
    gamma = like(gamma, rows)
    valid = (classes > 1) & (classes < count)

    fixed = tf.stop_gradient(rows)
    distances = safe_sqrt(squared_distances(fixed, fixed))
    own = medoids_of_classes(distances, numbers)
    best, agreement = most_violating_medoids(
        distances,
        numbers,
        tf.where(valid, classes, 0),
        tf.stop_gradient(gamma),
        average=nmi_average,
        rounds=5 if search == "pam" else 0,
    )

    def to_medoids(index):
        """The sum of the rows' distances to their medoids."""
        squares = tf.reduce_sum(tf.square(rows - pick_rows(rows, index)), axis=1)
        return tf.reduce_sum(safe_sqrt(squares))

    margin = gamma * tf.cast(1 - agreement, rows.dtype)
    loss = tf.nn.relu(to_medoids(own) - to_medoids(best) + margin)
    return for_every_row(tf.where(valid, loss, tf.zeros_like(loss)))


def _check(gamma, search, nmi_average):
    check_not_negative(gamma=gamma)
    check_choice(SEARCHES, search=search)
    check_choice(AVERAGES, nmi_average=nmi_average)


@keras.utils.register_keras_serializable(package="tfembed")
class FacilityLocation(FunctionalLoss):
    """`facility_location` as a Keras loss.

    >>> loss = FacilityLocation(gamma=2.0)
    >>> labels = [0, 0, 1, 1]
    >>> embeddings = [[0.0], [3.0], [1.0], [5.0]]
    >>> print(round(float(loss(labels, embeddings)), 4))
    6.0
    """

    function = staticmethod(facility_location)
    check = staticmethod(_check)
