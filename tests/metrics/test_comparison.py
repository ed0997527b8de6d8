"""The paired comparison against SciPy and all sign changes there are."""

import itertools

import numpy as np
import pytest

from tfembed.metrics import compare


def test_hits_are_compared_exactly():
    """Only queries on which one hits and the other misses tell: a sign test."""
    from scipy.stats import binomtest

    rng = np.random.default_rng(0)
    first, second = rng.random(300) < 0.8, rng.random(300) < 0.7
    found = compare({"R@1": first}, {"R@1": second})["R@1"]
    better, worse = np.sum(first & ~second), np.sum(second & ~first)
    assert found.p_value == pytest.approx(binomtest(better, better + worse).pvalue)
    assert found.difference == pytest.approx((better - worse) / 300)
    assert (found.first, found.second) == (first.mean(), second.mean())


def test_the_permutation_test_is_that_of_all_signs():
    rng = np.random.default_rng(1)
    first, second = rng.random(12) + 0.2, rng.random(12)
    differences = first - second
    sums = [
        np.dot(signs, differences) for signs in itertools.product([-1, 1], repeat=12)
    ]
    exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-12)
    found = compare({"MRR": first}, {"MRR": second}, permutations=40000)["MRR"]
    assert found.p_value == pytest.approx(exact, abs=0.01)
    low, high = found.interval
    assert low < found.difference < high


def test_queries_are_paired_by_id():
    first = {"R@1": [1.0, 0.0, 1.0, np.nan], "P@2": [1, 1, 1, 1]}
    second = {"R@1": [0.0, 1.0, 0.0, 1.0], "MRR": [1, 1, 1, 1]}
    ids, second_ids = ["a", "b", "c", "d"], ["d", "c", "e", "a"]
    found = compare(first, second, ids, second_ids)
    assert list(found) == ["R@1"]
    # Common are a (1 against 1), c (1 against 1) and d, which does not count in one.
    assert found["R@1"].queries == 2 and found["R@1"].difference == 0.0
    assert found["R@1"].p_value == 1.0


def test_the_interval_is_of_pairs():
    """Two that always differ by as much have no width, however wide each is."""
    values = np.random.default_rng(2).random(50)
    found = compare({"a": values + 0.25}, {"a": values})["a"]
    np.testing.assert_allclose(found.interval, [0.25, 0.25])
    assert found.p_value <= 1e-4  # no throw of all signs reaches 50 alike


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"second": {"b": [0, 1]}}, "names in common"),
        ({"second": {"a": [0, 1, 1]}}, "Without ids"),
        ({"ids": [1, 2]}, "second_ids"),
        ({"ids": [1, 1], "second_ids": [1, 2]}, "each id once"),
        ({"ids": [1, 2], "second_ids": [3, 4]}, "in common, by id"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, words):
    given = {"first": {"a": [0, 1]}, "second": {"a": [1, 1]}, **arguments}
    with pytest.raises(ValueError, match=words) as error:
        compare(**given)
    assert "Received" in str(error.value)
