"""Facility location: the search against all subsets, and its parts."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from losses.samples.facility_location import (
    assign,
    facility,
    nmi,
    own_facility,
    score,
    search,
)

from tfembed.losses import facility_location
from tfembed.ops.medoids import medoids_of_classes, most_violating_medoids


def batch(seed, rows=9, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    x = rng.normal(size=(rows, 3))
    d = np.sqrt(np.sum((x[:, None] - x[None, :]) ** 2, axis=2))
    return labels, x, d


@pytest.mark.parametrize("average", ["geometric", "arithmetic"])
@pytest.mark.parametrize("search", ["greedy", "pam"])
def test_between_nothing_and_the_best_of_all_subsets(search, average):
    reached = []

    @tf.function  # the search is many small steps: slow one by one
    def loss_of(labels, x):
        return facility_location(
            labels, x, gamma=4.0, search=search, nmi_average=average
        )

    for seed in range(5):
        labels, x, d = batch(seed)
        every = [
            score(d, labels, list(medoids), 4.0, average)
            for medoids in itertools.combinations(range(9), 3)
        ]
        best = max(every) - own_facility(d, labels)
        assert best >= 0  # the classes' own medoids are one of the subsets
        loss = loss_of(tf.constant(labels), tf.constant(x))
        assert 0 <= loss[0] <= best + 1e-9
        reached.append(float(loss[0]) / best)
    assert np.mean(reached) > 0.8


def test_greedy_without_margin_is_as_good_as_submodularity_promises():
    for seed in range(4):
        labels, _, d = batch(seed, rows=10, classes=4)
        medoids, _ = most_violating_medoids(
            tf.constant(d),
            tf.constant(labels, tf.int32),
            4,
            0.0,
            average="geometric",
            rounds=0,
        )
        found = -np.sum(d[np.arange(10), medoids])
        every = [facility(d, list(s)) for s in itertools.combinations(range(10), 4)]
        worst = -np.sum(np.max(d, axis=1))  # what F is measured from
        assert len(set(medoids.numpy())) == 4
        assert found - worst >= (1 - 1 / np.e) * (max(every) - worst)


@pytest.mark.parametrize("average", ["geometric", "arithmetic"])
def test_agreement_is_that_of_the_clusters(average):
    @tf.function
    def seek(d, labels):
        return most_violating_medoids(d, labels, 4, 2.0, average=average, rounds=5)

    for seed in range(3):
        labels, _, d = batch(seed, rows=12, classes=4)
        medoids, agreement = seek(tf.constant(d), tf.constant(labels, tf.int32))
        expected = nmi(labels, medoids.numpy(), average)
        np.testing.assert_allclose(agreement, expected, atol=1e-12)


@pytest.mark.parametrize("average", ["geometric", "arithmetic"])
@pytest.mark.parametrize("how", ["greedy", "pam"])
def test_of_equal_candidates_the_first_is_taken(how, average):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.float32),
        ]
    )
    def seek(d, labels, count, gamma):
        rounds = 5 if how == "pam" else 0
        return most_violating_medoids(
            d, labels, count, gamma, average=average, rounds=rounds
        )

    rng = np.random.default_rng({"greedy": 5, "pam": 6}[how])
    for case in range(40):
        rows = int(rng.integers(4, 20))
        labels = rng.integers(0, rng.integers(2, rows), rows)
        labels = np.unique(labels, return_inverse=True)[1]
        if not 0 < labels.max() < rows - 1:
            continue
        # On a line, on a grid, anywhere, and with rows that are alike: all tie.
        x = [
            rng.integers(0, 4, (rows, 1)),
            rng.integers(0, 3, (rows, 2)),
            rng.normal(size=(rows, 4)),
            rng.normal(size=(rows, 3))[rng.integers(0, rows, rows)],
        ][case % 4]
        d = np.float32(np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2)))
        gamma, count = float(rng.choice([0, 0.5, 2, 8])), labels.max() + 1
        exact = np.float64(d).tolist()
        medoids = search(exact, labels.tolist(), gamma, how, average, digits=9)
        expected = np.array(medoids)[assign(exact, medoids)]
        found, agreement = seek(d, np.int32(labels), count, gamma)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(agreement, nmi(labels, expected, average), atol=1e-9)


def test_medoids_of_classes():
    labels, _, d = batch(7, rows=12)
    found = medoids_of_classes(tf.constant(d), tf.constant(labels, tf.int32))
    total = -np.sum(d[np.arange(12), found])
    np.testing.assert_allclose(total, own_facility(d, labels))
    np.testing.assert_array_equal(labels[found], labels)


def test_no_loss_where_classes_are_far_apart():
    labels = np.repeat(np.arange(3), 4)
    x = 100.0 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(12, 3))
    np.testing.assert_allclose(facility_location(labels, x, gamma=1.0), 0, atol=1e-9)
