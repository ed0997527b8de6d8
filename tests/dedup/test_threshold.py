"""The valley between near duplicates and all others, and where there is none."""

import numpy as np
import pytest

from tfembed.dedup import choose_threshold
from tfembed.dedup.lines import histogram_lines, table_lines
from tfembed.dedup.threshold import DEFAULT, histogram


def near(degrees, spread, count, rng):
    angles = np.abs(rng.normal(degrees, spread, count))
    return np.cos(np.radians(angles)).astype(np.float32)


@pytest.mark.parametrize("copies", [20, 400, 30000])
@pytest.mark.parametrize("others", [3000, 100000])
def test_a_valley_is_found_whatever_the_shares(rng, copies, others):
    scores = np.concatenate([near(6, 3, copies, rng), near(40, 5, others, rng)])
    found = choose_threshold(rng.permutation(scores))
    assert found.source == "valley"
    angle = np.degrees(np.arccos(found.value))
    assert 10 < angle < 30
    assert f"{np.sum(scores >= found.value):,} are nearer" in found.reason


@pytest.mark.parametrize("same", [200, 20000])
def test_not_between_equal_copies_and_changed_ones(rng, same):
    equal, changed = np.ones(same), near(9, 2, 300, rng)
    scores = np.concatenate([equal, changed, near(40, 5, 3000, rng)])
    found = choose_threshold(scores.astype(np.float32))
    assert found.source == "valley" and 16 < np.degrees(np.arccos(found.value)) < 30


@pytest.mark.parametrize("count", [1, 30, 3000, 100000])
def test_no_valley_is_the_default_and_says_so(rng, count):
    for degrees, spread in ((35, 6), (12, 4), (80, 5)):
        found = choose_threshold(near(degrees, spread, count, rng))
        assert (found.value, found.source) == (DEFAULT, "default")
        assert "no clear valley" in found.reason and "--threshold" in found.reason


def test_nothing_below_the_lowest_is_chosen(rng):
    two = np.concatenate([near(45, 3, 3000, rng), near(70, 3, 3000, rng)])
    assert choose_threshold(two).source == "default"
    assert choose_threshold(two, lowest=0.3).source == "valley"
    assert choose_threshold(two, lowest=0.97).value == 0.97


def test_three_copies_are_no_hump(rng):
    scores = np.concatenate([[1, 1, 1], near(40, 5, 3000, rng)])
    assert choose_threshold(scores).source == "default"


def test_the_histogram_counts_all(rng):
    scores = np.concatenate([[1, 1.0000002, -1, 0, 0.99985], rng.uniform(-1, 1, 1000)])
    found = histogram(scores)
    assert found.counts.sum() == 1005 and found.edges[0] == 1
    inside = (scores < found.edges[20]) & (scores >= found.edges[21])
    assert found.counts[20] == inside.sum()


def test_lines_for_a_terminal(rng):
    counts = histogram([1, 1, 0.999, 0.95, 0.94, 0.5]).counts
    lines = histogram_lines(counts, 0.97)
    assert sum("threshold" in line for line in lines) == 1
    numbers = [line.split()[3] for line in lines if "threshold" not in line]
    assert sum(map(int, numbers)) == 6 and lines[0].endswith("#" * 40)
    at = next(i for i, line in enumerate(lines) if "threshold" in line)
    assert sum(int(line.split()[3]) for line in lines[:at]) == 3
    table = table_lines([(0.99, 1, 2), (0.97, 3, 4000)], 0.97)
    assert table[1].split() == ["0.9900", "1", "2"]
    assert table[2].split() == ["0.9700", "3", "4,000", "*"]
