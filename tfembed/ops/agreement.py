"""The normalised mutual information of classes and clusters, for many changes at once.

NMI is made of sums of n log n over the numbers of rows by class, by cluster, and by
both. These are whole multiples of a small unit here, so that sums do not depend on the
order of what was added: equal clusterings have equal values, to the last bit.
"""

import tensorflow as tf

AVERAGES = ("geometric", "arithmetic")
LARGEST_SUM = 2.0**51  # in units: float64 has all whole numbers up to four of them


class Agreement:
    """How well clusters agree with the classes of a batch.

    Args:
        numbers: `(rows,)`, int32: the rows' classes, from 0.
        average: One of `AVERAGES`, the mean of the entropies that NMI divides by.

    Attributes:
        of_classes: The sum of n log n over the classes, a float64 scalar, in units.
    """

    def __init__(self, numbers, average):
        self._numbers = numbers
        self._average = average
        self._rows = tf.shape(numbers)[0]
        counts = tf.cast(tf.range(self._rows + 1), tf.float64)
        values = tf.math.xlogy(counts, counts)
        self._unit = tf.maximum(values[-1], 1) / LARGEST_SUM
        self._table = tf.round(values / self._unit)
        self._nobody = tf.zeros([self._rows, 1], tf.bool)
        self.of_classes = self._left(numbers, self._nobody)[0]

    def n_log_n(self, counts):
        """Returns n log n of counts, float64, in units."""
        return tf.gather(self._table, counts)

    def joint(self, classes, clusters, moved):
        """Sums n log n over what a class and a cluster share, once rows have moved.

        Args:
            classes: `(some,)`, int32: the classes of some rows, all rows of each.
            clusters: `(some,)`, int32: their clusters.
            moved: `(some, candidates)`, bool: which of them each candidate would take
                to a new cluster.

        Returns:
            `(candidates,)`, float64, in units, with what the new cluster and each class
            would share.
        """
        left = self._left(classes * self._rows + clusters, moved)
        taken = _sums_by_group(classes, moved)
        return left + tf.reduce_sum(self.n_log_n(taken), axis=0)

    def clustered(self, clusters, moved):
        """Sums n log n over clusters that have lost rows.

        Args:
            clusters: `(some,)`, int32: the clusters of some rows, all rows of each.
            moved: As of `joint`.

        Returns:
            `(candidates,)`, float64, in units, without the new cluster; and how many
            rows have moved there, `(candidates,)`, int32.
        """
        gone = tf.reduce_sum(tf.cast(moved, tf.int32), axis=0)
        return self._left(clusters, moved), gone

    def _left(self, groups, moved):
        """Sums n log n over what is left of groups: `(candidates,)`, in units."""
        _, places, sizes = tf.unique_with_counts(groups)
        # One row, or none, counts nothing.
        rows = tf.where(tf.gather(sizes, places) > 1)[:, 0]
        stays = _sums_by_group(tf.gather(groups, rows), ~tf.gather(moved, rows))
        return tf.reduce_sum(self.n_log_n(stays), axis=0)

    def of_clusters(self, clusters):
        """Computes the NMI of `(rows,)` clusters, a float64 scalar."""
        joint = self.joint(self._numbers, clusters, self._nobody)
        return self.nmi(joint, self._left(clusters, self._nobody))[0]

    def nmi(self, joint, clustered):
        """Computes the NMI from sums of n log n, over all rows.

        Args:
            joint: `(candidates,)`, float64, in units, over classes and clusters.
            clustered: `(candidates,)`, float64, in units, over clusters.

        Returns:
            `(candidates,)`, float64. Where there is one class or one cluster 0, or 1
            where both are one.
        """
        total = self._table[-1]
        # Entropies, times the number of rows, in units.
        of_classes = total - self.of_classes
        of_clusters = total - clustered
        shared = tf.maximum(of_classes - (total - joint) + of_clusters, 0)
        one_class, one_cluster = of_classes <= 0, of_clusters <= 0
        of_classes, of_clusters = self._unit * of_classes, self._unit * of_clusters
        if self._average == "geometric":
            mean = tf.sqrt(tf.maximum(of_classes * of_clusters, 0))
        else:
            mean = (of_classes + of_clusters) / 2
        nmi = tf.math.divide_no_nan(self._unit * shared, mean)
        nmi = tf.where(one_class | one_cluster, tf.zeros_like(nmi), nmi)
        return tf.where(one_class & one_cluster, tf.ones_like(nmi), nmi)


def _sums_by_group(groups, flags):
    """Counts, in each group of rows, the flags of each candidate: int32."""
    names, places = tf.unique(groups)
    return tf.math.unsorted_segment_sum(
        tf.cast(flags, tf.int32), places, tf.size(names)
    )
