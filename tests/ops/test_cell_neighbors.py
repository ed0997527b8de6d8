"""The search in cells against NumPy, ties included, on both of its ways."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfembed.export.heads.ivf import in_blocks
from tfembed.ops import cell_neighbors as module
from tfembed.ops.cell_neighbors import cell_neighbors

DIM = 4
SIZES = [1, 63, 64, 65, 127, 129, 1000, 12345]
# Queries, probes, neighbours. Some of one probe have to look at further cells.
CASES = [(0, 1, 1), (1, 1, 10), (3, 5, 1), (3, 5, 10), (17, 1, 300), (17, 40, 10)]
ARRAYS = ("ivf_starts", "ivf_sizes", "ivf_embeddings", "ivf_rows")


@pytest.fixture(scope="module", params=["each_alone", "scan", "small_chunks"])
def find(request):
    """The search: one of its two ways always the cheaper; or rows in many parts."""
    with pytest.MonkeyPatch.context() as patch:
        cost = -1e9 if request.param == "scan" else 1e9
        patch.setattr(module, "SCAN_OF_BATCH", cost)
        if request.param == "small_chunks":  # two blocks at a time
            patch.setattr(module, "CHUNK_FLOATS", 2 * module.BLOCK * DIM)
        yield search()


def dyadic(rng, rows, ties):
    """Numbers whose products and sums are exact: no rounding blurs a comparison."""
    if ties:
        return rng.integers(-1, 2, (rows, DIM)).astype("float32")
    return (rng.integers(-64, 65, (rows, DIM)) / 4).astype("float32")


class Grouped:
    """A gallery in cells that have nothing to do with its rows: any grouping is one."""

    def __init__(self, rng, size, ties, most=40):
        self.embeddings = dyadic(rng, size, ties)
        count = min(size, most)
        self.cells = np.concatenate(
            [np.arange(count), rng.integers(0, count, size - count)]
        ).astype(np.int32)
        rng.shuffle(self.cells)
        self.sizes = np.bincount(self.cells).astype(np.int32)
        self.centroids = dyadic(rng, count, ties)
        arrays = in_blocks(self.embeddings, self.cells, self.sizes)
        self.arrays = [arrays[name] for name in ARRAYS]

    def expected(self, queries, probes, k):
        """Scores and rows by float64 loops, equal scores in ascending row order."""
        scores, found = [], []
        for query in queries.astype(np.float64):
            order = np.argsort(-(self.centroids @ query), kind="stable")
            rows = self.sizes[order].cumsum()
            probed = order[: max(probes, np.searchsorted(rows, k) + 1)]
            rows = np.flatnonzero(np.isin(self.cells, probed))
            own = self.embeddings[rows] @ query
            best = np.argsort(-own, kind="stable")[:k]
            scores.append(own[best])
            found.append(rows[best])
        return np.reshape(scores, (-1, k)), np.reshape(found, (-1, k))


def search():
    """The search as a graph all of whose sizes are dynamic."""
    any_ints, table = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None])

    def flat(queries, probes, k, centroids, starts, sizes, embeddings, rows):
        return cell_neighbors(
            queries, centroids, starts, sizes, embeddings, rows, probes, k
        )

    return tf.function(
        flat,
        input_signature=[
            table,
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
            table,
            any_ints,
            any_ints,
            table,
            tf.TensorSpec([None, module.BLOCK], tf.int32),
        ],
    )


def test_equals_numpy_on_the_cells_that_are_looked_at(find):
    for size, ties in itertools.product(SIZES, [False, True]):
        rng = np.random.default_rng(size)
        grouped = Grouped(rng, size, ties)
        for batch, probes, k in CASES:
            probes, k = min(probes, len(grouped.sizes)), min(k, size)
            queries = dyadic(rng, batch, ties)
            scores, rows = find(queries, probes, k, grouped.centroids, *grouped.arrays)
            expected_scores, expected_rows = grouped.expected(queries, probes, k)
            np.testing.assert_array_equal(rows, expected_rows)
            np.testing.assert_array_equal(scores, expected_scores)


def test_as_many_neighbours_as_rows_takes_all_cells(find, rng):
    grouped = Grouped(rng, 700, ties=True)
    queries = dyadic(rng, 5, ties=True)
    _, rows = find(queries, 1, 700, grouped.centroids, *grouped.arrays)
    assert (np.sort(rows, axis=1) == np.arange(700)).all()


def test_a_query_of_zeros_finds_the_lowest_rows(find, rng):
    grouped = Grouped(rng, 500, ties=True, most=1)
    scores, rows = find(
        np.zeros((2, DIM), "float32"), 1, 3, grouped.centroids, *grouped.arrays
    )
    assert rows.numpy().tolist() == [[0, 1, 2]] * 2 and not scores.numpy().any()


def test_a_batch_is_its_queries_one_by_one(rng):
    """Also where the number of queries changes how they are searched."""
    grouped = Grouped(rng, 3000, ties=False)
    queries = dyadic(rng, 40, ties=False)
    find = search()
    _, together = find(queries, 8, 10, grouped.centroids, *grouped.arrays)
    for number, query in enumerate(queries):
        _, alone = find(query[None], 8, 10, grouped.centroids, *grouped.arrays)
        np.testing.assert_array_equal(alone[0], together[number])
