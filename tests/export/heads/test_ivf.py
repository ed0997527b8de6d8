"""Cells and probes: recall that is asked for is reached, on queries not seen."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfembed.export.heads import ivf


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def mixture(rng, rows, noise=0.8, dim=16):
    around = np.random.default_rng(5).standard_normal((80, dim))
    chosen = around[rng.integers(0, len(around), rows)]
    return unit(chosen + noise * rng.standard_normal((rows, dim)))


def searched(state, queries, k):
    variables = {name: tf.Variable(array) for name, array in state.arrays.items()}
    return tf.function(lambda q: ivf.search(variables, q, k))(queries)[1].numpy()


def measured(state, embeddings, queries, k=10):
    wanted = oracles.top_k(queries, embeddings, k)[1]
    found = searched(state, queries, k)
    return np.mean([np.isin(want, have) for want, have in zip(wanted, found)])


@pytest.mark.thin(2)
@pytest.mark.parametrize("recall", [0.5, 0.8, 0.95, 0.99])
def test_other_queries_reach_the_recall(recall, rng):
    embeddings = mixture(rng, 6000)
    state = ivf.build(embeddings, recall=recall)
    assert 1 <= state.card["probes"] < state.card["cells"]
    assert state.card["recall_at_k"] >= recall
    # Of 1,000 others, within about three standard errors.
    assert measured(state, embeddings, mixture(rng, 1000)) >= recall - 0.01


def test_more_recall_takes_more_probes(rng):
    embeddings = mixture(rng, 5000)
    probes = [ivf.build(embeddings, recall=r).card["probes"] for r in (0.5, 0.9, 0.99)]
    assert probes == sorted(set(probes))


def test_recall_of_one_takes_all_cells_and_says_so(rng):
    card = ivf.build(mixture(rng, 3000), recall=1.0).card
    assert card["all_cells"] and card["probes"] == card["cells"]
    assert card["recall_at_k"] == 1.0 and "`exact`" in card["note"]


def test_what_cannot_be_reached_takes_all_cells(rng):
    """All rows are among the nearest, so each cell has some of them."""
    embeddings, queries = mixture(rng, 2000), mixture(rng, 20)
    state = ivf.build(embeddings, recall=0.9999, k=2000, queries=queries)
    assert state.card["all_cells"] and "all" in state.card["note"]
    assert measured(state, embeddings, queries, 2000) == 1.0


def test_the_same_seed_gives_the_same_arrays(rng):
    embeddings = mixture(rng, 2000)
    first, again, other = (ivf.build(embeddings, seed=seed) for seed in (3, 3, 4))
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert not np.array_equal(
        first.arrays["ivf_centroids"], other.arrays["ivf_centroids"]
    )


@pytest.mark.parametrize("size", [1, 63, 64, 65, 129, 5000])
def test_blocks_hold_every_row_once_and_fill_up_with_their_own(size, rng):
    embeddings = mixture(rng, size)
    arrays = ivf.build(embeddings).arrays
    rows = arrays["ivf_rows"].ravel()
    assert sorted(rows[rows >= 0]) == list(range(size))
    np.testing.assert_array_equal(rows[arrays["ivf_places"]], np.arange(size))
    np.testing.assert_array_equal(
        arrays["ivf_embeddings"][arrays["ivf_places"]], embeddings
    )
    blocks = arrays["ivf_embeddings"].reshape(-1, 64, 16)
    for block, names in zip(blocks, arrays["ivf_rows"]):
        assert names[0] >= 0
        assert (block[names < 0] == block[0]).all()
    nearest = np.argmax(embeddings @ arrays["ivf_centroids"].T, axis=1)
    starts, sizes = arrays["ivf_starts"], arrays["ivf_sizes"]
    assert (np.diff(starts) == -(-sizes // 64)).all() and (sizes > 0).all()
    cells = np.searchsorted(starts, arrays["ivf_places"] // 64, side="right") - 1
    assert np.mean(cells == nearest) > 0.999  # but for rounding


def test_kept_cells_are_those_of_the_version_before(rng):
    first = ivf.build(mixture(rng, 4000))
    changed = mixture(rng, 4400)
    second = ivf.build(changed, previous=first.arrays)
    assert second.card["cells_kept"]
    known = {row.tobytes() for row in first.arrays["ivf_centroids"]}
    assert all(row.tobytes() in known for row in second.arrays["ivf_centroids"])
    assert measured(second, changed, mixture(rng, 500)) > 0.93


@pytest.mark.parametrize("change", ["much larger", "much smaller", "another length"])
def test_cells_that_do_not_fit_are_learned_anew(change, rng):
    before = ivf.build(mixture(rng, 4000)).arrays
    size = {"much larger": 40000, "much smaller": 400}.get(change, 4000)
    dim = 12 if change == "another length" else 16
    embeddings = unit(rng.standard_normal((size, dim)))
    state = ivf.build(embeddings, previous=before, recall=0.3)
    assert not state.card["cells_kept"]


def test_equal_rows_make_one_cell(rng):
    embeddings = np.tile(mixture(rng, 1), (500, 1))
    state = ivf.build(embeddings)
    assert state.card["cells"] == 1 and state.card["largest_cell"] == 500
    assert searched(state, embeddings[:2], 4).tolist() == [[0, 1, 2, 3]] * 2


def test_zero_rows_are_a_gallery_too():
    state = ivf.build(np.zeros((200, 16), "float32"))
    assert searched(state, np.ones((1, 16), "float32"), 3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("recall", [0, 1.01, -1, "0.9", True, float("nan")])
def test_what_is_no_recall_is_refused(recall):
    with pytest.raises(
        ValueError, match="`recall` must be a number above 0 and at most 1"
    ):
        ivf.build(np.ones((5, 3), "float32"), recall=recall)
