"""The search for the medoids that violate a clustering's margin most.

Song et al., 2017: medoids that score high, by how near the rows are to them and by how
badly the clusters around them agree with the classes. What agreement a candidate would
have is counted for all candidates at once: it takes some rows from the clusters there
are, and only the counts of rows by class, by cluster, and by both, matter. From one
medoid to the next the counts are renewed of the classes and clusters of which it took
rows: with many medoids these are few.
"""

import tensorflow as tf

from tfembed.ops.classes import class_numbers

AVERAGES = ("geometric", "arithmetic")


def medoids_of_classes(distances, numbers):
    """Finds each class's medoid: the row with the least sum of distances.

    Args:
        distances: `(rows, rows)`, float.
        numbers: `(rows,)`, int32: the rows' classes, from 0.

    Returns:
        `(rows,)`, int32: the medoid of each row's class, the first of several.
    """
    rows = tf.shape(numbers)[0]
    same = numbers[:, None] == numbers[None, :]
    totals = tf.reduce_sum(tf.where(same, distances, tf.zeros_like(distances)), axis=1)
    least = tf.math.unsorted_segment_min(totals, numbers, rows)
    found = tf.where(totals == tf.gather(least, numbers), tf.range(rows), rows)
    return tf.gather(tf.math.unsorted_segment_min(found, numbers, rows), numbers)


def most_violating_medoids(distances, numbers, count, gamma, *, average, rounds):
    """Seeks the medoids S with the largest `F(S) + gamma * (1 - NMI(S))`.

    F(S) is the negative sum of the rows' distances to their nearest medoid, NMI(S) the
    agreement of the clusters around the medoids with the classes. One medoid after the
    other is added, the best one there is; then, in each round, each cluster chooses
    anew among its rows, by the distances within the cluster and by the NMI. A medoid is
    always in its own cluster, another row in that of the first of its nearest medoids.

    Args:
        distances: `(rows, rows)`, float, without gradient.
        numbers: `(rows,)`, int32: the rows' classes, from 0.
        count: Number of medoids, an int32 scalar, at most the number of rows; with 0
            there is no search, and every row has medoid 0.
        gamma: Weight of the disagreement.
        average: One of `AVERAGES`, the mean of entropies that NMI divides by.
        rounds: Number of rounds in which clusters choose anew.

    Returns:
        `(rows,)`, int32: each row's medoid; and the NMI, a float64 scalar.
    """
    rows = tf.shape(numbers)[0]
    index = tf.range(rows)
    zeros = tf.zeros_like(tf.linalg.diag_part(distances))
    distances = tf.linalg.set_diag(distances, zeros)
    from_candidates = tf.transpose(distances)
    gamma = tf.cast(gamma, tf.float64)
    far = distances.dtype.max
    nobody = tf.zeros_like(numbers)
    agreement = _Agreement(numbers, average)

    def add(number, medoids, clusters, nearest, taken, counts):
        def moved(members):
            to_candidates = tf.gather(distances, members)
            near = to_candidates < tf.gather(nearest, members)[:, None]
            near &= ~tf.gather(taken, members)[:, None]
            return near | (members[:, None] == index[None, :])

        # A loop keeps the shapes that it knows: TensorFlow folds some in a map.
        shapes = [each.shape for each in counts]
        counts = agreement.renewed(counts, clusters, moved)
        facility = tf.minimum(from_candidates, nearest[None, :])
        facility = tf.cast(tf.reduce_sum(facility, axis=1), tf.float64)
        scores = gamma * (1 - agreement.of_counts(counts)) - facility
        best = _first_largest(tf.where(taken, scores.dtype.min, scores))
        to_best = tf.ensure_shape(from_candidates[best], nearest.shape)
        own = index == best
        taking = (to_best < nearest) & ~taken | own
        touched = agreement.touched(counts, clusters, taking, number)
        return (
            number + 1,
            tf.where(index == number, best, medoids),
            tf.where(taking, number, clusters),
            tf.minimum(nearest, to_best),
            taken | own,
            tuple(map(tf.ensure_shape, touched, shapes)),
        )

    _, medoids, clusters, *_ = tf.while_loop(
        lambda number, *_: number < count,
        add,
        (
            0,
            nobody,
            nobody,
            tf.fill([rows], far),
            nobody > 0,
            agreement.nothing_counted(count),
        ),
        parallel_iterations=1,
    )

    def to_medoids(medoids, columns, without=-1):
        """Each row's distance to the nearest of the others, its cluster, its place."""
        nearest = tf.argmin(columns, axis=1, output_type=tf.int32)
        own = tf.tensor_scatter_nd_update(
            nobody - 1, medoids[:count, None], index[:count]
        )
        own = tf.where(own == without, -1, own)
        clusters = tf.where(own < 0, nearest, own)
        return tf.gather(columns, nearest, batch_dims=1), clusters, own >= 0

    def with_column(columns, place, values):
        where = tf.stack([index, tf.fill([rows], place)], axis=1)
        return tf.tensor_scatter_nd_update(columns, where, values)

    def choose(place, medoids, columns, old):
        columns = with_column(columns, place, tf.fill([rows], far))
        nearest, clusters, taken = to_medoids(medoids, columns, without=place)
        members = tf.cast(tf.where(old == place)[:, 0], tf.int32)
        to_members = tf.transpose(tf.gather(from_candidates, members))
        first = (to_members == nearest[:, None]) & (place < clusters)[:, None]
        moved = ((to_members < nearest[:, None]) | first) & ~taken[:, None]
        moved |= index[:, None] == members[None, :]
        within = tf.reduce_sum(tf.gather(to_members, members), axis=0)
        scores = gamma * (1 - agreement(clusters, moved))
        scores -= tf.cast(within, tf.float64)
        best = tf.gather(members, _first_largest(scores))
        return (
            place + 1,
            tf.where(index == place, best, medoids),
            with_column(columns, place, from_candidates[best]),
            old,
        )

    def improve(number, medoids, columns, clusters):
        _, medoids, columns, _ = tf.while_loop(
            lambda place, *_: place < count,
            choose,
            (0, medoids, columns, clusters),
            parallel_iterations=1,
        )
        return number + 1, medoids, columns, to_medoids(medoids, columns)[1]

    if rounds:
        columns = tf.transpose(tf.gather(from_candidates, medoids[:count]))
        _, medoids, _, clusters = tf.while_loop(
            lambda number, *_: number < tf.where(count > 0, rounds, 0),
            improve,
            (0, medoids, columns, clusters),
            parallel_iterations=1,
        )
    nmi = agreement(clusters, tf.zeros([rows, 1], tf.bool))
    return tf.gather(medoids, clusters), nmi[0]


def _first_largest(scores):
    return tf.argmax(scores, output_type=tf.int32)


class _Agreement:
    """The NMI of classes and clusters after some rows moved to a new cluster.

    Args:
        numbers: `(rows,)`, int32: classes.
        average: One of `AVERAGES`.
    """

    def __init__(self, numbers, average):
        self._numbers = numbers
        self._average = average
        self._rows = tf.shape(numbers)[0]
        counts = tf.range(tf.cast(self._rows + 1, tf.float64), dtype=tf.float64)
        self._table = tf.math.xlogy(counts, counts)
        self._classes = _groups(numbers)

    def __call__(self, clusters, moved):
        """Computes the NMI for each of several new clusters.

        Args:
            clusters: `(rows,)`, int32: clusters, from 0.
            moved: `(rows, candidates)`, bool: which rows the new cluster would have.

        Returns:
            `(candidates,)`, float64. Where there is one class or one cluster 0, or 1
            where both are one.
        """
        moved = tf.cast(moved, tf.float32)
        joint = self._by_class(self._numbers, self._classes, clusters, moved)
        clustered, _ = self._left(clusters, _groups(clusters), moved)
        return self._nmi(
            tf.reduce_sum(joint, axis=0),
            tf.reduce_sum(clustered, axis=0),
            tf.reduce_sum(moved, axis=0),
        )

    def nothing_counted(self, clusters):
        """Returns counts that are all to be renewed, for up to so many clusters.

        They are which classes and which clusters to renew, vectors; n log n of each
        class's rows by cluster, and of each cluster's rows, if a candidate took its
        own; and how many it would take of each cluster: `(groups, rows)`.
        """
        of_clusters = tf.zeros([clusters, self._rows], tf.float64)
        return (
            tf.fill([self._classes], True),
            tf.range(clusters) == 0,
            tf.zeros([self._classes, self._rows], tf.float64),
            of_clusters,
            tf.cast(of_clusters, tf.float32),
        )

    def renewed(self, counts, clusters, moved):
        """Returns the counts, those of the touched classes and clusters anew.

        Args:
            counts: As of `nothing_counted`.
            clusters: `(rows,)`, int32.
            moved: `moved(members)` returns which of some rows each candidate would
                take, `(members, rows)`, bool.
        """
        in_class, in_cluster, joint, clustered, gone = counts
        where, groups, members = _members(in_class, self._numbers)
        joint_there = self._by_class(
            groups,
            tf.shape(where)[0],
            tf.gather(clusters, members),
            tf.cast(moved(members), tf.float32),
        )
        joint = tf.tensor_scatter_nd_update(joint, where, joint_there)
        where, groups, members = _members(in_cluster, clusters)
        left, gone_there = self._left(
            groups, tf.shape(where)[0], tf.cast(moved(members), tf.float32)
        )
        clustered = tf.tensor_scatter_nd_update(clustered, where, left)
        gone = tf.tensor_scatter_nd_update(gone, where, gone_there)
        return in_class, in_cluster, joint, clustered, gone

    def touched(self, counts, clusters, taking, number):
        """Marks what changes as some rows move on to cluster `number`."""
        _, in_cluster, *others = counts
        size = tf.shape(in_cluster)[0]
        taking = tf.cast(taking, tf.int32)
        return (
            tf.math.unsorted_segment_max(taking, self._numbers, self._classes) > 0,
            (tf.math.unsorted_segment_max(taking, clusters, size) > 0)
            | (tf.range(size) == number),
            *others,
        )

    def of_counts(self, counts):
        """Computes the NMI for each candidate, `(rows,)`."""
        _, _, *values = counts
        return self._nmi(*[tf.reduce_sum(value, axis=0) for value in values])

    def _n_log_n(self, counts):
        """Returns n log n of counts, from a table: quicker than computing it."""
        return tf.gather(self._table, tf.cast(counts, tf.int32))

    def _left(self, groups, number, moved):
        """Returns n log n of the rows left in each group, and how many moved."""
        sizes = tf.math.unsorted_segment_sum(tf.ones_like(groups), groups, number)
        gone = tf.math.unsorted_segment_sum(moved, groups, number)
        return self._n_log_n(tf.cast(sizes, tf.float32)[:, None] - gone), gone

    def _by_class(self, classes, number, clusters, moved):
        """Sums n log n over each class's rows in each cluster, the new one too."""
        cells, there = class_numbers(classes * self._rows + clusters)
        left, _ = self._left(cells, there, moved)
        class_of = tf.math.unsorted_segment_max(classes, cells, there)
        taken = tf.math.unsorted_segment_sum(moved, classes, number)
        left = tf.math.unsorted_segment_sum(left, class_of, number)
        return left + self._n_log_n(taken)

    def _nmi(self, joint, clustered, moved):
        clustered += self._n_log_n(moved)
        sizes = tf.math.unsorted_segment_sum(
            tf.ones_like(self._numbers), self._numbers, self._rows
        )
        total = self._n_log_n(self._rows)
        # Entropies, times the number of rows.
        of_classes = total - tf.reduce_sum(self._n_log_n(sizes))
        of_clusters = total - clustered
        shared = tf.maximum(of_classes + of_clusters - (total - joint), 0)
        if self._average == "geometric":
            mean = tf.sqrt(tf.maximum(of_classes * of_clusters, 0))
        else:
            mean = (of_classes + of_clusters) / 2
        one_class, one_cluster = of_classes <= 1e-9, of_clusters <= 1e-9
        nmi = tf.math.divide_no_nan(shared, mean)
        nmi = tf.where(one_class | one_cluster, tf.zeros_like(nmi), nmi)
        return tf.where(one_class & one_cluster, tf.ones_like(nmi), nmi)


def _groups(numbers):
    """Returns how many groups there are, numbered from 0."""
    return tf.reduce_max(tf.concat([numbers, [-1]], axis=0)) + 1


def _members(touched, groups):
    """Finds the rows of some groups.

    Returns:
        `(some, 1)`: the groups; then their rows' groups, numbered among these alone,
        and these rows, both `(members,)`, int32.
    """
    among = tf.cumsum(tf.cast(touched, tf.int32)) - 1
    members = tf.cast(tf.where(tf.gather(touched, groups))[:, 0], tf.int32)
    where = tf.cast(tf.where(touched), tf.int32)
    return where, tf.gather(among, tf.gather(groups, members)), members
