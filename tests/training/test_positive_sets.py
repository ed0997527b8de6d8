"""The arrays against Python sets."""

import numpy as np
import pytest

from tfembed.training import PositiveSets

SIZE = 30


def as_sets(sets):
    return [
        set(sets.indices[a:b].tolist()) for a, b in zip(sets.offsets, sets.offsets[1:])
    ]


@pytest.mark.parametrize("seed", range(5))
def test_growing_equals_python_sets(seed):
    rng = np.random.default_rng(seed)
    sets, expected = PositiveSets.alone(SIZE), [{i} for i in range(SIZE)]
    for _ in range(4):
        rows, columns = rng.integers(0, SIZE, size=(2, rng.integers(0, 40)))
        sets = sets.with_pairs(rows, columns)
        for i, j in zip(rows, columns):
            expected[i].add(j)
            expected[j].add(i)
        assert as_sets(sets) == expected
        assert len(sets.indices) == sum(map(len, expected))  # none of them twice
        assert sets.others == len(sets.indices) - SIZE
        np.testing.assert_array_equal(sets.counts, [len(each) for each in expected])
        instances, others = sets.pairs()
        assert set(zip(instances, others)) == {
            (i, j) for i, each in enumerate(expected) for j in each - {i}
        }


@pytest.mark.parametrize("limit", [0, 7, 8, 13, 1000, np.inf])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_pairs_come_first(limit, seed):
    rng = np.random.default_rng(seed)
    before = PositiveSets.alone(SIZE).with_pairs([1, 2, 3], [4, 5, 6])
    rows, columns = rng.integers(0, 8, size=(2, 60))  # many twice, some of themselves
    goodness = rng.integers(0, 5, size=60)
    found = as_sets(before.with_best_pairs(rows, columns, goodness, limit))
    expected = as_sets(before)
    for k in sorted(range(60), key=lambda k: -goodness[k]):
        i, j = int(rows[k]), int(columns[k])
        if i != j and j not in expected[i]:
            if sum(map(len, expected)) - SIZE + 2 > limit:
                break
            expected[i].add(j)
            expected[j].add(i)
    assert found == expected


def test_precision_is_the_share_of_right_pairs():
    sets = PositiveSets.alone(4).with_pairs([0, 0], [1, 2])
    assert sets.precision([5, 5, 6, 7]) == 0.5
    assert np.isnan(PositiveSets.alone(4).precision([5, 5, 6, 7]))
    assert sets.mean_others == 1.0


def test_arrays_are_small():
    sets = PositiveSets.alone(5)
    assert sets.indices.dtype == np.int32 and sets.offsets.dtype == np.int64


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([0, 1], [2], "as many integers"),
        ([-1], [2], "`rows` must lie in"),
        ([1], [4], "`columns` must lie in"),
    ],
)
def test_pairs_that_are_none_get_a_sentence(rows, columns, message):
    with pytest.raises(ValueError, match=message) as error:
        PositiveSets.alone(4).with_pairs(rows, columns)
    assert "Received" in str(error.value)


@pytest.mark.slow
def test_a_million_instances_take_seconds():
    import time

    size = 1_281_167
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, size, size=(2, 2 * size))
    start = time.perf_counter()
    sets = PositiveSets.alone(size).with_pairs(rows, columns)
    assert time.perf_counter() - start < 30
    assert sets.others > 5_000_000
