"""The walk down a ranking with so many rows of a label, against a loop."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops.per_label import LOWEST, best_per_label, label_places


def walk(scores, rows, labels, limit, k):
    taken = []
    for place in np.lexsort((rows, -scores)):
        same = [each for each in taken if labels[each] == labels[place]]
        full = labels[place] >= 0 and len(same) >= limit
        if rows[place] >= 0 and not full and len(taken) < k:
            taken.append(place)
    return rows[taken].tolist(), scores[taken].tolist()


def drawn(rng, batch, size):
    """Scores with ties, some rows that are none, labels of which some are none."""
    scores = rng.integers(-5, 6, (batch, size)).astype(np.float32)
    rows = np.stack([rng.permutation(3 * size)[:size] for _ in range(batch)])
    rows = np.where(rng.random(rows.shape) < 0.1, -1, rows).astype(np.int32)
    return scores, rows, rng.integers(-1, 4, rows.shape)


@pytest.mark.parametrize(("size", "k"), [(40, 7), (3, 9), (1, 1)])
def test_it_is_the_walk(rng, run, size, k):
    scores, rows, labels = drawn(rng, 20, size)
    limits = rng.integers(1, 6, 20).astype(np.int32)
    found = run(best_per_label, scores, rows, labels, limits, k)
    for query, limit in enumerate(limits):
        wanted = walk(scores[query], rows[query], labels[query], limit, k)
        rest = k - len(wanted[0])
        assert found[1][query].numpy().tolist() == [*wanted[0], *[-1] * rest]
        assert found[0][query].numpy().tolist() == [*wanted[1], *[LOWEST] * rest]


def test_parts_put_together_give_the_whole(rng):
    scores, rows, labels = drawn(rng, 50, 60)
    limits, k = rng.integers(1, 4, 50).astype(np.int32), 6
    label_of = {(q, r): labels[q, i] for (q, i), r in np.ndenumerate(rows)}
    found = []
    for part in (slice(0, 25), slice(25, 60)):
        each = scores[:, part], rows[:, part], labels[:, part]
        found.append(best_per_label(*each, limits, k))
    both = [tf.concat(pair, axis=1).numpy() for pair in zip(*found)]
    again = np.array(
        [[label_of.get((q, r), -1) for r in some] for q, some in enumerate(both[1])]
    )
    together = best_per_label(*both, again, limits, k)
    for one, other in zip(together, best_per_label(scores, rows, labels, limits, k)):
        np.testing.assert_array_equal(one, other)


def test_places_and_counts_of_labels():
    rows = tf.constant([[5, 3, 9, 4, -1, -1, 8]])
    labels = tf.constant([[1, 0, 1, -1, -1, 0, -1]], tf.int64)
    places, counts = label_places(rows, labels)
    there = [0, 1, 2, 3, 6]
    assert places.numpy()[0, there].tolist() == [0, 0, 1, 0, 0]
    assert counts.numpy()[0, there].tolist() == [2, 1, 2, 1, 1]
