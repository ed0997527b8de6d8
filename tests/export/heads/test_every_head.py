"""What all heads hold to: one contract, against NumPy."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfembed.export.heads import HEADS, load_head, trait

MEASURED = [name for name in HEADS if name != "exact"]
SIZES = [1, 63, 64, 65, 127, 129, 1000]
DIM = 8


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def clustered(rng, rows, centres=40, noise=0.5):
    """Unit rows around some directions, the same for every call."""
    around = np.random.default_rng(99).standard_normal((centres, DIM))
    chosen = around[rng.integers(0, centres, rows)]
    return unit(chosen + noise * rng.standard_normal((rows, DIM)))


class Head:
    """A head in graphs whose variables can take any gallery."""

    def __init__(self, name):
        self.name, self.module = name, load_head(name)
        self.variables = None
        vectors = tf.TensorSpec([None, DIM])
        number = tf.TensorSpec([], tf.int32)
        rows = tf.TensorSpec([None, None], tf.int32)
        for function, signature in {
            "search": [vectors, number],
            "pairs": [vectors, rows],
            "embeddings_of": [tf.TensorSpec([None], tf.int32)],
            "stored": [number, number],
            "stored_count": [],
            "score_columns": [],
        }.items():
            setattr(self, function, self._graph(function, signature))

    def _graph(self, function, signature):
        def call(*arguments):
            return getattr(self.module, function)(self.variables, *arguments)

        return tf.function(call, input_signature=signature)

    def hold(self, embeddings, **options):
        """Builds the head for a gallery, and assigns its arrays."""
        state = self.module.build(embeddings, **options)
        if self.variables is None:
            self.variables = {
                name: tf.Variable(
                    array, shape=[None, *array.shape[1:]] if array.ndim else []
                )
                for name, array in state.arrays.items()
            }
        assert self.variables.keys() == state.arrays.keys()
        for name, array in state.arrays.items():
            self.variables[name].assign(array)
        return state


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    return Head(request.param)


def rounded(head, embeddings):
    """What the head keeps of the rows, in float64."""
    kept = trait(head.module, "kept")
    return (embeddings if kept is None else kept(embeddings)).astype(np.float64)


@pytest.mark.thin(2)
@pytest.mark.parametrize("size", SIZES)
def test_recall_of_one_is_brute_force(head, size):
    """All cells for ivf; small whole numbers, so that bfloat16 keeps them all."""
    rng = np.random.default_rng(size)
    embeddings = rng.integers(-2, 3, (size, DIM)).astype("float32")  # many ties
    head.hold(embeddings, recall=1.0)
    for batch, k in [(0, 3), (1, 1), (3, 10), (17, 2000)]:
        queries = rng.integers(-2, 3, (batch, DIM)).astype("float32")
        scores, rows = head.search(queries, k)
        expected_scores, expected_rows = oracles.top_k(
            queries, rounded(head, embeddings), min(k, size)
        )
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(scores, expected_scores.astype("float32"))


@pytest.mark.thin(2)
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_rows_found(head, seed):
    rng = np.random.default_rng(seed)
    embeddings, queries = clustered(rng, 1500), clustered(rng, 20)
    head.hold(embeddings, seed=seed)
    scores, rows = head.search(queries, 12)
    own = queries.astype("float64") @ rounded(head, embeddings).T
    np.testing.assert_allclose(
        scores, np.take_along_axis(own, rows.numpy(), 1), atol=1e-6
    )
    assert (np.diff(scores) <= 0).all()
    assert all(len(set(row)) == 12 for row in rows.numpy())


def test_pairs_are_scored_whatever_the_row(head, rng):
    embeddings, queries = clustered(rng, 700), clustered(rng, 6)
    head.hold(embeddings)
    rows = rng.integers(-1, 700, (6, 50)).astype("int32")
    found = head.pairs(queries, rows)
    expected = queries.astype("float64") @ rounded(head, embeddings).T
    expected = np.take_along_axis(expected, np.maximum(rows, 0), 1)
    np.testing.assert_allclose(found, np.where(rows < 0, -np.inf, expected), atol=1e-6)
    assert head.pairs(queries, rows[:, :0]).shape == (6, 0)
    assert head.pairs(queries[:0], rows[:0]).shape == (0, 50)


def test_given_rows_are_as_they_are_kept(head, rng):
    embeddings = clustered(rng, 700)
    head.hold(embeddings)
    rows = rng.integers(0, 700, 50).astype("int32")
    found = head.embeddings_of(rows)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, rounded(head, embeddings)[rows])
    assert head.embeddings_of(rows[:0]).shape == (0, DIM)


@pytest.mark.parametrize("size", [1, 64, 700])
def test_stored_rows_are_all_rows_once(head, size, rng):
    embeddings = clustered(rng, size)
    embeddings[size // 2 :] = embeddings[: size - size // 2]  # equal rows
    head.hold(embeddings)
    count = int(head.stored_count())
    parts = [head.stored(i, min(50, count - i)) for i in range(0, count, 50)]
    vectors = np.concatenate([vectors for vectors, _ in parts])
    rows = np.concatenate([rows for _, rows in parts])
    assert vectors.shape == (count, DIM) and vectors.dtype == np.float32
    vectors, rows = vectors[rows >= 0], rows[rows >= 0]
    assert sorted(rows) == list(range(size))
    np.testing.assert_array_equal(vectors, rounded(head, embeddings)[rows])
    for row in range(size // 2):  # ascending among equals
        same = rows[(vectors == rounded(head, embeddings)[row]).all(axis=1)]
        assert (np.diff(same) > 0).all()


def nodes_of(function):
    """All nodes of a graph, those of its functions too."""
    graph = function.get_concrete_function().graph.as_graph_def()
    inner = [node for each in graph.library.function for node in each.node_def]
    return [*graph.node, *inner]


@pytest.mark.parametrize("name", HEADS)
def test_nothing_of_the_gallery_is_in_the_graph(name, rng):
    """The same operations and constants for galleries of another size."""
    seen = []
    for size in (60, 3000):
        head = Head(name)
        head.hold(clustered(rng, size))
        seen.append(
            sorted(
                (node.op, node.attr["value"].tensor.SerializeToString())
                for node in nodes_of(head.search)
            )
        )
    assert seen[0] == seen[1]


def test_a_search_reads_its_variables_and_copies_none(head, rng):
    """Rows gathered from a variable itself would make each later read of it a copy."""
    head.hold(clustered(rng, 100))
    for graph in (head.search, head.pairs, head.stored, head.embeddings_of):
        ops = {node.op for node in nodes_of(graph)}
        assert "ReadVariableOp" in ops and "ResourceGather" not in ops


def test_score_columns_are_fewer_than_the_rows_of_a_large_gallery(head, rng):
    head.hold(clustered(rng, 300))
    small = int(head.score_columns())
    head.hold(clustered(rng, 3000))
    assert small < int(head.score_columns()) < small + 3000


@pytest.mark.parametrize(
    "embeddings",
    [
        np.zeros((0, 4), "float32"),
        np.zeros(4, "float32"),
        np.array([["a"]]),
        np.array([[1.0, np.nan]]),
        np.array([[np.inf, 1.0]]),
    ],
    ids=["no row", "no table", "text", "nan", "inf"],
)
def test_what_is_no_gallery_is_refused(head, embeddings):
    with pytest.raises(ValueError, match="`embeddings` must (be|have) .*Received"):
        head.module.build(embeddings)


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "`k` must be a positive integer"),
        ({"k": 2.5}, "`k` must be a positive integer"),
        ({"queries": np.zeros((3, 5))}, r"\(count, 8\) of finite"),
        ({"queries": np.zeros((0, 8))}, r"\(count, 8\) of finite"),
        ({"queries": np.full((3, 8), np.nan)}, r"\(count, 8\) of finite"),
    ],
)
def test_bad_options_are_refused(name, options, words, rng):
    with pytest.raises(ValueError, match=words):
        load_head(name).build(clustered(rng, 50), **options)


@pytest.mark.parametrize("name", MEASURED)
def test_recall_is_measured_with_the_queries_given(name, rng):
    head = Head(name)
    embeddings, queries = clustered(rng, 4000), clustered(rng, 300)
    card = head.hold(embeddings, queries=queries, k=7, recall=0.9).card
    _, rows = head.search(queries, 7)
    wanted = oracles.top_k(queries, embeddings, 7)[1]
    found = np.mean([np.isin(want, have) for want, have in zip(wanted, rows)])
    assert card["recall_at_k"] == pytest.approx(found, abs=1e-9)
    assert card["recall_interval"][0] <= found <= card["recall_interval"][1]
    assert (card["recall_k"], card["recall_queries"]) == (7, 300)
    assert card["recall_queries_are"] == "given" and card["measured"]


@pytest.mark.parametrize("name", MEASURED)
def test_recall_of_gallery_rows_leaves_each_itself_out(name, rng):
    head = Head(name)
    embeddings = clustered(rng, 1000)
    card = head.hold(embeddings, k=5, recall=0.9).card
    from tfembed.export.heads.recall import HeldOut

    own = HeldOut(embeddings, None, 5).own
    _, rows = head.search(embeddings[own], 6)
    _, wanted = oracles.top_k(embeddings[own], embeddings, 6)
    shares = []
    for row, have, want in zip(own, rows.numpy(), wanted):
        have, want = have[have != row][:5], want[want != row][:5]
        shares.append(np.isin(want, have).mean())
    assert card["recall_at_k"] == pytest.approx(np.mean(shares), abs=1e-9)
    assert card["recall_queries"] == len(own) == 500


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_galleries_have_a_card_too(name, size, rng):
    card = Head(name).hold(clustered(rng, size)).card
    assert (card["recall_at_k"] is None) == (size == 1)
    assert card["recall_k"] == min(size - 1, 10)


def test_cards_are_json(head, rng):
    import json

    card = head.hold(clustered(rng, 200)).card
    assert json.loads(json.dumps(card)) == card and card["head"] == head.name
