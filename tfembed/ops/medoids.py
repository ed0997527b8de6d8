"""The search for the medoids that violate a clustering's margin most.

Song et al., 2017: medoids that score high, by how near the rows are to them and by how
badly the clusters around them agree with the classes. From one medoid to the next only
what changed is computed anew: the sums of distances by the rows that found a nearer
medoid, the agreement by the classes and clusters that lost rows. With many medoids
these are few. Sums are those of whole numbers, so that a tie is one whatever the order
in which numbers were added up, and on whatever machine.
"""

import math

import tensorflow as tf

from tfembed.ops.agreement import AVERAGES, LARGEST_SUM, Agreement

__all__ = ["AVERAGES", "medoids_of_classes", "most_violating_medoids"]


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
    search = _Search(distances, numbers, count, gamma, average)
    medoids, assigned = search.one_after_another()
    if rounds:
        medoids, assigned = search.bettered(medoids, assigned, rounds)
    clusters = assigned[0]
    nmi = search.agreement.of_clusters(clusters)
    return tf.gather(medoids, clusters), nmi


class _Search:
    """The search in one batch.

    What it hands on as `assigned` is each row's cluster, its distance to the medoid
    there, and whether it is a medoid itself.

    Args:
        distances: As in `most_violating_medoids`, like all others.
        numbers: See there.
        count: See there.
        gamma: See there.
        average: See there.
    """

    def __init__(self, distances, numbers, count, gamma, average):
        rows = tf.shape(numbers)[0]
        zeros = tf.zeros_like(tf.linalg.diag_part(distances))
        self.index = tf.range(rows)
        self.distances = tf.linalg.set_diag(distances, zeros)
        self.from_candidates = tf.transpose(self.distances)
        self.numbers, self.count = numbers, count
        self.classes = tf.reduce_max(tf.concat([numbers, [-1]], axis=0)) + 1
        self.gamma = tf.cast(gamma, tf.float64)
        self.agreement = Agreement(numbers, average)
        # Distances as multiples of a unit, so small that a sum of all has its place: a
        # power of two, of which whole numbers are multiples.
        self.farthest = tf.reduce_max(self.distances)
        largest = tf.cast(self.farthest, tf.float64) * tf.cast(rows, tf.float64)
        largest = tf.maximum(largest, tf.constant(1e-200, tf.float64))
        power = tf.math.ceil(tf.math.log(largest) / math.log(2))
        self.unit = tf.pow(tf.constant(2, tf.float64), power) / LARGEST_SUM
        self.units = self.in_units(self.distances)

    def in_units(self, distances):
        """Returns distances up to the farthest of the batch in units, float64."""
        return tf.round(tf.cast(distances, tf.float64) / self.unit)

    def scores(self, joint, clustered, sums):
        """Returns what each candidate is worth, by its counts and its distances."""
        disagreement = 1 - self.agreement.nmi(joint, clustered)
        return self.gamma * disagreement - self.unit * sums

    def one_after_another(self):
        """Adds the best medoid there is until there are enough.

        Returns:
            `(rows,)`, int32, of which the first `count` are the medoids; `assigned`.
        """
        nobody = tf.zeros_like(self.numbers)
        far = self.distances.dtype.max
        assigned = nobody, far + tf.zeros_like(self.distances[0]), nobody > 0
        # The first takes all rows, whoever it is.
        sums = tf.reduce_sum(self.units, axis=0)
        joint = tf.zeros_like(sums) + self.agreement.of_classes
        clustered = tf.zeros_like(sums)
        gone = tf.zeros_like(nobody) + tf.size(nobody)
        shape = tf.stack([tf.maximum(self.count, 1), tf.size(gone)])
        of_each = tf.scatter_nd([[0]], gone[None, :], shape)

        def add(number, medoids, assigned, sums, joint, clustered, all_gone, gone):
            taken = assigned[2]
            scores = self.scores(
                joint, clustered + self.agreement.n_log_n(all_gone), sums
            )
            best = _first_largest(tf.where(taken, scores.dtype.min, scores))
            after = self.with_medoid(number, best, assigned)
            changed = (after[1] < assigned[1]) | (after[2] != taken)
            more = self.change_of_clustered(changed, assigned, after, gone)
            medoids = tf.where(self.index == number, best, medoids)
            return (
                number + 1,
                medoids,
                after,
                sums + self.change_of_sums(changed, assigned[1], after[1]),
                joint + self.change_of_joint(changed, assigned, after),
                clustered + more[0],
                all_gone + more[1],
                tf.ensure_shape(more[2], gone.shape),
            )

        _, medoids, assigned, *_ = tf.while_loop(
            lambda number, *_: number < self.count,
            add,
            (0, nobody, assigned, sums, joint, clustered, gone, of_each),
            parallel_iterations=1,
        )
        return medoids, assigned

    def with_medoid(self, number, best, assigned):
        """Returns `assigned` once row `best` is medoid `number`, the last."""
        clusters, nearest, taken = assigned
        to_best = tf.ensure_shape(self.from_candidates[best], nearest.shape)
        own = self.index == best
        taking = (to_best < nearest) & ~taken | own
        return (
            tf.where(taking, number, clusters),
            tf.minimum(nearest, to_best),
            taken | own,
        )

    def change_of_sums(self, changed, before, after):
        """Returns by how much each candidate's sum of distances grows, in units.

        Args:
            changed: `(rows,)`, bool: the rows that found a nearer medoid.
            before: `(rows,)`: how far the medoid was.
            after: `(rows,)`: how far it is.
        """
        rows = tf.where(changed)[:, 0]
        units = tf.gather(self.units, rows)
        before, after = (
            self.in_units(tf.minimum(tf.gather(nearest, rows), self.farthest))[:, None]
            for nearest in (before, after)
        )
        return tf.reduce_sum(tf.minimum(units, after) - tf.minimum(units, before), 0)

    def change_of_joint(self, changed, before, after):
        """Returns by how much the sum over classes and clusters grows, in units.

        Only classes that have a changed row do so. `before` and `after` are `assigned`.
        """
        some = tf.math.unsorted_segment_max(
            tf.cast(changed, tf.int32), self.numbers, self.classes
        )
        rows = tf.where(tf.gather(some > 0, self.numbers))[:, 0]
        classes = tf.gather(self.numbers, rows)
        after, before = (
            self.agreement.joint(
                classes, tf.gather(assigned[0], rows), self.moved(rows, assigned)
            )
            for assigned in (after, before)
        )
        return after - before

    def change_of_clustered(self, changed, before, after, gone):
        """Returns by how much the sum over clusters grows, in units.

        Only clusters that have a changed row, or had one, do so.

        Args:
            changed: `(rows,)`, bool.
            before: `assigned`.
            after: `assigned`.
            gone: `(count, rows)`, int32: how many rows of each cluster each candidate
                would take.

        Returns:
            `(rows,)`; by how much the number of rows that each candidate would take
            grows, `(rows,)`; and `gone` after it.
        """
        rows = tf.where(changed)[:, 0]
        clusters = [tf.gather(each[0], rows) for each in (before, after)]
        touched, places = tf.unique(tf.concat(clusters, axis=0))
        moved = [tf.cast(self.moved(rows, each), tf.int32) for each in (before, after)]
        moved = tf.concat([-moved[0], moved[1]], axis=0)
        moved = tf.math.unsorted_segment_sum(moved, places, tf.size(touched))
        old = tf.gather(gone, touched)
        sums = []
        for assigned, taken in ((after, old + moved), (before, old)):
            sizes = tf.math.bincount(assigned[0], minlength=tf.shape(gone)[0])
            left = tf.gather(sizes, touched)[:, None] - taken
            sums.append(tf.reduce_sum(self.agreement.n_log_n(left), axis=0))
        gone = tf.tensor_scatter_nd_add(gone, touched[:, None], moved)
        return sums[0] - sums[1], tf.reduce_sum(moved, axis=0), gone

    def moved(self, rows, assigned):
        """Returns which of some rows each candidate would take: `(some, rows)`."""
        _, nearest, taken = assigned
        near = tf.gather(self.distances, rows) < tf.gather(nearest, rows)[:, None]
        near &= ~tf.gather(taken, rows)[:, None]
        return near | (rows[:, None] == tf.cast(self.index, rows.dtype)[None, :])

    def bettered(self, medoids, assigned, rounds):
        """Lets each cluster in turn choose its medoid anew, until none changes.

        Args:
            medoids: As of `one_after_another`.
            assigned: Likewise.
            rounds: The most rounds.

        Returns:
            As of `one_after_another`.
        """

        def improve(number, changed, medoids, assigned):
            # Whose rows choose is what their clusters were as the round began.
            order = tf.argsort(assigned[0], stable=True)
            ends = tf.cumsum(tf.math.bincount(assigned[0], minlength=self.count))

            def choose(place, changed, medoids, assigned):
                start = tf.where(place > 0, ends[tf.maximum(place - 1, 0)], 0)
                members = order[start : ends[place]]

                def anew():
                    return self.chosen_anew(place, members, medoids, assigned)

                best, assigned = tf.cond(  # a row alone stays its cluster's medoid
                    tf.size(members) > 1, anew, lambda: (medoids[place], assigned)
                )
                changed |= best != medoids[place]
                medoids = tf.where(self.index == place, best, medoids)
                return place + 1, changed, medoids, assigned

            _, *state = tf.while_loop(
                lambda place, *_: place < self.count,
                choose,
                (0, False, medoids, assigned),
                parallel_iterations=1,
            )
            return (number + 1, *state)

        _, _, medoids, assigned = tf.while_loop(
            lambda number, changed, *_: (number < rounds) & changed,
            improve,
            (0, self.count > 0, medoids, assigned),
            parallel_iterations=1,
        )
        return medoids, assigned

    def chosen_anew(self, place, members, medoids, assigned):
        """Returns the best medoid of a cluster among some rows, and `assigned` then."""
        clusters, nearest, taken = self.without_medoid(place, medoids, assigned)
        to_members = tf.transpose(tf.gather(self.from_candidates, members))
        first = (to_members == nearest[:, None]) & (place < clusters)[:, None]
        moved = ((to_members < nearest[:, None]) | first) & ~taken[:, None]
        moved |= self.index[:, None] == members[None, :]
        within = tf.gather(tf.gather(self.units, members), members, axis=1)
        joint = self.agreement.joint(self.numbers, clusters, moved)
        clustered, gone = self.agreement.clustered(clusters, moved)
        clustered += self.agreement.n_log_n(gone)
        scores = self.scores(joint, clustered, tf.reduce_sum(within, axis=0))
        number = _first_largest(scores)
        moving = tf.ensure_shape(tf.gather(moved, number, axis=1), taken.shape)
        to_best = tf.gather(to_members, number, axis=1)
        assigned = (
            tf.where(moving, place, clusters),
            tf.where(moving, to_best, nearest),
            taken | (self.index == members[number]),
        )
        return members[number], assigned

    def without_medoid(self, place, medoids, assigned):
        """Returns `assigned` without a cluster: its rows go to the nearest others."""
        clusters, nearest, taken = assigned
        rows = tf.where(clusters == place)
        distances = tf.gather(self.distances, rows[:, 0])
        distances = tf.gather(distances, medoids[: self.count], axis=1)
        here = tf.range(self.count) == place
        distances = tf.where(here, distances.dtype.max, distances)
        others = tf.argmin(distances, axis=1, output_type=tf.int32)
        to_others = tf.gather(distances, others, batch_dims=1)
        return (
            tf.tensor_scatter_nd_update(clusters, rows, others),
            tf.tensor_scatter_nd_update(nearest, rows, to_others),
            taken & (self.index != medoids[place]),
        )


def _first_largest(scores):
    return tf.argmax(scores, output_type=tf.int32)
