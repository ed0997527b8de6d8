"""NMI from counts, with the clusters that k-means cannot miss."""

import numpy as np
import pytest

from tfembed.metrics import clustering


def entropy(counts):
    shares = np.array([c for c in counts if c]) / np.sum(counts)
    return -np.sum(shares * np.log(shares))


@pytest.mark.parametrize("average", ["arithmetic", "geometric", "min", "max"])
def test_nmi_is_mutual_information_over_an_average_of_entropies(average):
    rng = np.random.default_rng(0)
    place = np.repeat([0, 1, 2], [12, 20, 8])  # three far places
    labels = rng.integers(0, 3, 40)
    x = np.eye(3)[place] + rng.normal(scale=1e-3, size=(40, 3))
    table = np.array(
        [[np.sum((labels == a) & (place == b)) for b in range(3)] for a in range(3)]
    )
    mutual = entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table.ravel())
    pair = entropy(table.sum(0)), entropy(table.sum(1))
    norm = {
        "arithmetic": np.mean(pair),
        "geometric": np.sqrt(np.prod(pair)),
        "min": min(pair),
        "max": max(pair),
    }[average]
    measured = clustering(x, labels, average=average)
    assert measured["NMI"] == pytest.approx(mutual / norm, abs=1e-9)


def test_found_classes_score_one_and_chance_scores_zero():
    rng = np.random.default_rng(1)
    labels = np.repeat(["a", "b", "c", "d"], 50)
    x = np.repeat(np.eye(4), 50, axis=0) + rng.normal(scale=0.01, size=(200, 4))
    assert clustering(x, labels) == {"NMI": 1.0, "AMI": 1.0}
    assert abs(clustering(x, rng.permutation(labels))["AMI"]) < 0.05


def test_the_seed_decides():
    x = np.random.default_rng(2).normal(size=(60, 3))
    labels = np.arange(60) % 6
    assert clustering(x, labels, seed=3) == clustering(x, labels, seed=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"average": "harmonic"}, "geometric"),
        ({"restarts": 0}, "restarts"),
        ({"labels": [0]}, "labels"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        clustering(**{"embeddings": np.eye(4), "labels": [0, 0, 1, 1], **arguments})
