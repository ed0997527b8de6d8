"""The search for the medoids that violate a clustering's margin most.

Song et al., 2017: medoids that score high, by how near the rows are to them and by how
badly the clusters around them agree with the classes. What agreement a candidate would
have is counted for all candidates at once: it takes some rows from the clusters there
are, and only the counts of rows by class, by cluster, and by both, matter.
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
    nought = tf.zeros_like(tf.linalg.diag_part(distances))
    distances = tf.linalg.set_diag(distances, nought)
    gamma = tf.cast(gamma, tf.float64)
    far = distances.dtype.max

    def margins(clusters, moved):
        return gamma * (1 - _agreement(numbers, clusters, moved, average))

    def add(number, medoids, clusters, nearest, taken):
        moved = (distances < nearest[:, None]) & ~taken[:, None]
        moved |= index[:, None] == index[None, :]
        facility = tf.reduce_sum(tf.minimum(distances, nearest[:, None]), axis=0)
        scores = margins(clusters, moved) - tf.cast(facility, tf.float64)
        best = _first_largest(tf.where(taken, scores.dtype.min, scores))
        return (
            number + 1,
            tf.where(index == number, best, medoids),
            tf.where(tf.gather(moved, best, axis=1), number, clusters),
            tf.minimum(nearest, tf.gather(distances, best, axis=1)),
            taken | (index == best),
        )

    nobody = tf.zeros_like(numbers)
    _, medoids, clusters, _, _ = tf.while_loop(
        lambda number, *_: number < count,
        add,
        (0, nobody, nobody, tf.fill([rows], far), nobody > 0),
        parallel_iterations=1,
    )

    def to_medoids(medoids, without=-1):
        """Each row's distance to the nearest of the others, its cluster, its place."""
        columns = tf.gather(distances, medoids[:count], axis=1)
        places = index[:count]
        columns = tf.where(places == without, far, columns)
        nearest = tf.argmin(columns, axis=1, output_type=tf.int32)
        own = tf.tensor_scatter_nd_update(nobody - 1, medoids[:count, None], places)
        own = tf.where(own == without, -1, own)
        clusters = tf.where(own < 0, nearest, own)
        return tf.reduce_min(columns, axis=1), clusters, own >= 0

    def choose(place, medoids, old):
        nearest, clusters, taken = to_medoids(medoids, without=place)
        members = tf.where(old == place)[:, 0]
        columns = tf.gather(distances, members, axis=1)
        first = (columns == nearest[:, None]) & (place < clusters)[:, None]
        moved = ((columns < nearest[:, None]) | first) & ~taken[:, None]
        moved |= index[:, None] == tf.cast(members, tf.int32)[None, :]
        within = tf.reduce_sum(tf.gather(columns, members), axis=0)
        scores = margins(clusters, moved) - tf.cast(within, tf.float64)
        best = tf.cast(tf.gather(members, _first_largest(scores)), tf.int32)
        return place + 1, tf.where(index == place, best, medoids), old

    def improve(number, medoids, clusters):
        _, medoids, _ = tf.while_loop(
            lambda place, *_: place < count,
            choose,
            (0, medoids, clusters),
            parallel_iterations=1,
        )
        return number + 1, medoids, to_medoids(medoids)[1]

    if rounds:
        _, medoids, clusters = tf.while_loop(
            lambda number, *_: number < tf.where(count > 0, rounds, 0),
            improve,
            (0, medoids, clusters),
            parallel_iterations=1,
        )
    agreement = _agreement(numbers, clusters, tf.zeros([rows, 1], tf.bool), average)
    return tf.gather(medoids, clusters), agreement[0]


def _first_largest(scores):
    return tf.argmax(scores, output_type=tf.int32)


def _agreement(numbers, clusters, moved, average):
    """Computes the NMI of classes and clusters after some rows moved to a new cluster.

    Args:
        numbers: `(rows,)`, int32: classes.
        clusters: `(rows,)`, int32: clusters, from 0.
        moved: `(rows, candidates)`, bool: which rows the new cluster would have.
        average: One of `AVERAGES`.

    Returns:
        `(candidates,)`, float64. Where there is one class or one cluster 0, or 1 where
        both are one.
    """
    rows = tf.shape(numbers)[0]
    n_log_n = _n_log_n_up_to(rows)
    moved = tf.cast(moved, tf.float32)
    cells, _ = class_numbers(numbers * rows + clusters)

    def left(groups):
        """How much order is in the groups: the sum of n log n over their sizes."""
        groups_there = tf.reduce_max(tf.concat([groups, [-1]], axis=0)) + 1
        sizes = tf.math.unsorted_segment_sum(tf.ones_like(groups), groups, groups_there)
        gone = tf.math.unsorted_segment_sum(moved, groups, groups_there)
        there = tf.cast(sizes, tf.float32)[:, None] - gone
        return tf.reduce_sum(n_log_n(there), axis=0), gone

    joint, _ = left(cells)
    clustered, _ = left(clusters)
    _, by_class = left(numbers)
    joint += tf.reduce_sum(n_log_n(by_class), axis=0)
    clustered += n_log_n(tf.reduce_sum(moved, axis=0))
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(numbers), numbers, rows)
    total = n_log_n(rows)
    # Entropies, times the number of rows.
    of_classes = total - tf.reduce_sum(n_log_n(sizes))
    of_clusters = total - clustered
    shared = tf.maximum(of_classes + of_clusters - (total - joint), 0)
    if average == "geometric":
        mean = tf.sqrt(tf.maximum(of_classes * of_clusters, 0))
    else:
        mean = (of_classes + of_clusters) / 2
    one_class, one_cluster = of_classes <= 1e-9, of_clusters <= 1e-9
    nmi = tf.math.divide_no_nan(shared, mean)
    nmi = tf.where(one_class | one_cluster, tf.zeros_like(nmi), nmi)
    return tf.where(one_class & one_cluster, tf.ones_like(nmi), nmi)


def _n_log_n_up_to(rows):
    """Returns a function of counts from 0 to `rows`: looking up is what is quick."""
    counts = tf.range(tf.cast(rows + 1, tf.float64), dtype=tf.float64)
    table = tf.math.xlogy(counts, counts)
    return lambda counts: tf.gather(table, tf.cast(counts, tf.int32))
