"""Groups at every threshold, against brute force in float64."""

import functools
import tracemalloc

import brute_force_duplicates as oracle
import numpy as np
import pytest

from tfembed.dedup import find_duplicates, find_links, search
from tfembed.dedup.forest import SpanningForest, connect, groups_of
from tfembed.dedup.rows import Rows
from tfembed.dedup.state import State


def clustered(rng, size, dim, spread):
    """Rows around some centres, so that there are groups of many sizes, and chains."""
    centers = rng.standard_normal((size // 6, dim))
    rows = centers[rng.integers(0, len(centers), size)]
    rows = rows + spread * rng.standard_normal((size, dim))
    return (rows * rng.uniform(0.1, 30, (size, 1))).astype(np.float32)


def groups_at(links, size, threshold):
    kept = links.scores >= threshold
    found = groups_of(size, links.first[kept], links.second[kept])
    return [group.tolist() for group in found]


@pytest.mark.parametrize("waiting", [40, 10**6])
@pytest.mark.parametrize("block", [97, 512])
def test_groups_at_all_thresholds_are_those_of_brute_force(
    rng, monkeypatch, block, waiting
):
    """With few pairs waiting, the forest is made anew a hundred times and more."""
    small = functools.partial(SpanningForest, most_waiting=waiting)
    monkeypatch.setattr(search, "SpanningForest", small)
    rows = clustered(rng, 400, 12, 0.3)
    rows[[5, 200, 201]] = rows[77]  # the same, and one that is longer
    rows[201] *= 7
    rows[300:303] = 0
    scores = oracle.cosines(rows)
    links = find_links(rows, 0.7, block=block)
    assert len(links.scores) < len(rows) and links.floor == 0.7
    assert np.all(np.diff(links.scores) <= 0)
    np.testing.assert_allclose(links.nearest, scores.max(1), atol=2e-6)
    sizes = set()
    for near in (0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.995, 0.9999):
        threshold = max(oracle.between(scores, near), 0.7)
        expected = oracle.groups(scores, threshold)
        assert groups_at(links, len(rows), threshold) == expected, near
        sizes |= {len(group) for group in expected}
    assert len(sizes) > 8
    (same,) = oracle.groups(scores, 0.99999)
    assert same == [5, 77, 200, 201] == groups_at(links, len(rows), 1.0)[0]


def test_the_links_are_the_maximum_spanning_forest(rng):
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    size, count = 60, 900
    first, second = rng.integers(0, size, (2, count))
    first, second = first[first != second], second[first != second]
    scores = rng.permutation(len(first)).astype(np.float32) / len(first)
    order = np.argsort(-scores)
    group, kept = connect(np.arange(size, dtype=np.int32), first[order], second[order])
    dense = np.zeros((size, size))
    np.maximum.at(dense, (first, second), 1 + scores)
    dense = np.maximum(dense, dense.T)
    tree = minimum_spanning_tree(coo_matrix(np.where(dense > 0, 3 - dense, 0)))
    np.testing.assert_allclose(
        np.sort(2 - tree.data), np.sort(scores[order][kept]), atol=1e-6
    )
    assert len(np.unique(group)) == size - len(kept)


def test_groups_from_the_threshold_given(rng):
    rows = clustered(rng, 300, 8, 0.2)
    scores = oracle.cosines(rows)
    threshold = oracle.between(scores, 0.97)
    found = find_duplicates(rows, threshold)
    assert [group.tolist() for group in found.groups] == oracle.groups(
        scores, threshold
    )
    assert found.threshold.source == "given" and found.threshold.value == threshold
    assert found.rows == sum(map(len, found.groups)) > 20
    half = find_duplicates(rows.astype(np.float16), threshold)
    rounded = oracle.cosines(rows.astype(np.float16))
    assert [g.tolist() for g in half.groups] == oracle.groups(rounded, threshold)


def test_planted_copies_are_found_by_the_valley(rng):
    rows = rng.standard_normal((3000, 16)).astype(np.float32)
    rows[:20] = rows[100:120] + 0.03 * rng.standard_normal((20, 16))
    found = find_duplicates(rows)
    assert found.threshold.source == "valley"
    expected = [[row, row + 100] for row in range(20)]
    assert [group.tolist() for group in found.groups] == expected
    # What lies below the floor of the search is not known, and nothing is said of it.
    assert found.links.floor <= found.threshold.value


@pytest.mark.parametrize("size", [1, 2, 3])
def test_few_rows(size):
    rows = np.eye(3, 5, dtype=np.float32)[:size]
    found = find_duplicates(rows)
    assert found.groups == [] and found.links.nearest.shape == (size,)
    same = np.ones((size, 4), np.float32)
    found = find_duplicates(same, 1.0)
    assert [len(group) for group in found.groups] == [size] * (size > 1)


def test_many_pairs_in_little_memory(monkeypatch):
    """Of 4,000 equal rows 8 million pairs pass; no list of them is ever made."""
    small = functools.partial(SpanningForest, most_waiting=1 << 14)
    monkeypatch.setattr(search, "SpanningForest", small)
    rows = np.ones((4000, 8), np.float32)
    find_links(rows[:300], 0.9, block=256)  # traced
    tracemalloc.start()
    links = find_links(rows, 0.9, block=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(links.scores) == 3999
    pairs = 4000 * 3999 // 2
    assert peak < 2 * pairs  # bytes; a list would be of twelve a pair and more


class Stopped(Exception):
    """Stands for what kills a process."""


def test_goes_on_where_it_was(rng, monkeypatch, tmp_path):
    rows = Rows([(clustered(rng, 500, 10, 0.3), None)])
    whole = find_links(rows, 0.8, block=64)
    state = State(tmp_path / "search.npz")
    monkeypatch.setattr(search, "_SECONDS_BETWEEN_STATES", 0)
    compare, started = search._compare, []

    def counted(rows, start, *others):
        started.append(start)
        if len(started) == 4:
            raise Stopped
        compare(rows, start, *others)

    monkeypatch.setattr(search, "_compare", counted)
    with pytest.raises(Stopped):
        find_links(rows, 0.8, block=64, state=state)
    lines = []
    again = find_links(rows, 0.8, block=64, state=state, say=lines.append)
    assert started == [0, 64, 128, 192, *range(192, 500, 64)]
    done, every = sum(range(500 - 192, 500)), 500 * 499 // 2
    assert lines == [
        f"going on after {done:,} of {every:,} pairs",
        f"comparing: {every - done:,} pairs in 0 s",
    ]
    for name in ("first", "second", "scores", "nearest"):
        assert np.array_equal(getattr(whole, name), getattr(again, name))
    started.clear()
    higher = find_duplicates(rows, 0.9, state=state)  # what is known is not repeated
    assert not started
    expected = find_duplicates(rows, 0.9)
    assert [g.tolist() for g in higher.groups] == [g.tolist() for g in expected.groups]
    for other, floor in ((rows, 0.7), (rows, None), (Rows([(np.eye(9), None)]), 0.8)):
        assert state.read(other, floor) is None
    (tmp_path / "search.npz").write_bytes(b"broken")
    assert state.read(rows, 0.8) is None


def test_the_floor_of_its_own_lets_some_tens_of_pairs_a_row_pass(rng):
    rows = Rows([((rng.standard_normal((4000, 16)) + 1.7).astype("f4"), None)])
    floor = search._floor(rows)
    scores = oracle.cosines(rows.take(range(rows.size)))
    passing = np.sum(scores >= floor) / 2
    assert 16 < passing / rows.size < 64 and 0.8 < floor < 0.95


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            (np.ones((3, 2)), 0),
            "`threshold` must be a number above 0.*a cosine.*threshold=0",
        ),
        ((np.ones((3, 2)), 1.5), "threshold=1.5"),
        ((np.ones((3, 2)), "high"), "threshold='high'"),
        ((np.ones((3, 2)), float("nan")), "threshold=nan"),
        ((np.ones(3), 0.9), r"must be a float matrix.*shape \(3,\)"),
        ((np.ones((3, 2), int), 0.9), "must be a float matrix.*int64"),
        ((np.ones((0, 2)), 0.9), "at least one embedding"),
        ((np.array([[1.0, 2], [np.nan, 0]]), 0.9), r"first in row 1 \('1'\)"),
    ],
)
def test_what_is_none_is_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        find_duplicates(*arguments)
    with pytest.raises(
        ValueError, match="`floor` must be a number from -1 to 1, a cosine"
    ):
        find_links(np.ones((2, 2)), 3)
