"""Our retrieval metrics beside TensorFlow Similarity's, on the same rankings."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed import compat
from tfembed.metrics import retrieval

if compat.KERAS_3:
    pytest.skip(
        "TensorFlow Similarity is compared on the addons stack", allow_module_level=True
    )
tfsim = pytest.importorskip(
    "tensorflow_similarity.retrieval_metrics", reason="needs tensorflow-similarity"
)


def theirs(metric, x, labels):
    """Computes a metric of theirs of all rows among all rows, themselves first."""
    order = np.argsort(-(x @ x.T), axis=1, kind="stable")
    return float(
        metric.compute(
            query_labels=tf.constant(labels),
            match_mask=tf.constant(labels[order] == labels[:, None]),
        )
    )


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), [9, 8, 5, 3, 2, 1, 1])
    x = rng.normal(size=(len(labels), 5)) + np.eye(7)[labels, :5]
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def test_recall_and_precision(points):
    """Classes of one are in their mean, as 0; and their precision at k sees k - 1."""
    x, labels = points
    found = retrieval(x, labels, ks=(1, 3))
    share = len(found.queries) / len(labels)
    assert found.lone == 2
    for k in (1, 3):
        recall = theirs(tfsim.RecallAtK(k=k, drop_closest_lookup=True), x, labels)
        assert recall == pytest.approx(found.means()[f"R@{k}"] * share, rel=1e-6)
    precision = theirs(tfsim.PrecisionAtK(k=4, drop_closest_lookup=True), x, labels)
    ours = found.means()["P@3"] * share
    # They divide by k - 1 where R, which they are not told, is taken to be k.
    assert precision == pytest.approx(ours, rel=1e-6)


def test_map_at_r(points):
    """With `clip_at_r` and the classes' sizes, which the caller counts."""
    x, labels = points
    found = retrieval(x, labels)
    counts = {int(c): int(n) for c, n in zip(*np.unique(labels, return_counts=True))}
    metric = tfsim.MapAtK(r=counts, clip_at_r=True, k=9, drop_closest_lookup=True)
    share = len(found.queries) / len(labels)
    assert theirs(metric, x, labels) == pytest.approx(
        found.means()["MAP@R"] * share, rel=1e-6
    )


def test_a_copy_is_not_the_query_itself():
    """They drop what ranks first, be it the query or its copy; we drop the query."""
    x = np.repeat(np.eye(3), 2, axis=0)
    labels = np.array([0, 1, 0, 1, 0, 1])  # a copy is of the other class
    metric = tfsim.RecallAtK(k=1, drop_closest_lookup=True)
    assert theirs(metric, x, labels) == 0.5  # each second row finds itself
    assert retrieval(x, labels, ks=(1,)).means()["R@1"] == 0.0
