"""The protocols put together what the metrics measure, query by query."""

import numpy as np
import pytest

from tfembed.metrics import (
    bootstrap_intervals,
    linear_probe,
    measure_seen,
    measure_unseen,
    retrieval,
    weighted_knn,
    weighted_knn_hits,
)


@pytest.fixture
def points(rng):
    labels = rng.integers(0, 4, 60)
    labels[0] = 7  # a class of one
    x = np.float32(rng.normal(size=(60, 5)) + 2 * np.eye(8)[labels, :5])
    return x, labels


def test_seen(points):
    x, labels = points
    queries, gallery = x[:20], x[20:]
    told = []
    found = measure_seen(
        queries,
        labels[:20],
        gallery,
        labels[20:],
        knn=(3, 41),
        ks=(1, 2),
        probe=True,
        progress=lambda *each: told.append(each),
    )
    assert found.protocol == "seen" and (found.queries, found.gallery) == (20, 40)
    assert found.lone == 1
    predicted = weighted_knn(queries, gallery, labels[20:], 3)
    assert found.values["knn_3"] == np.mean(predicted == labels[:20])
    assert "knn_41" not in found.values
    probe = linear_probe(gallery, labels[20:], queries, labels[:20])
    assert found.values["linear_probe"] == pytest.approx(probe)
    single = retrieval(queries, labels[:20], gallery, labels[20:], ks=(1, 2))
    for name, mean in single.means().items():
        assert found.values[name] == pytest.approx(mean)
    assert np.isnan(found.per_query["R@1"][0]) and found.per_query["knn_3"][0] == 0
    assert found.intervals == bootstrap_intervals(found.per_query)
    assert ("votes", 20, 20) in told and ("ranking", 19, 19) in told
    row = found.row("trained encoder")
    assert row["representation"] == "trained encoder"
    assert row["intervals"]["knn_3"] == list(found.intervals["knn_3"])
    other = measure_seen(
        queries, labels[:20], gallery, labels[20:], probe=np.arange(20) < 5
    )
    assert other.values["linear_probe"] == 0.25


def test_unseen(points):
    x, labels = points
    found = measure_unseen(x, labels, ks=(1, 60), cluster={"restarts": 2})
    expected = retrieval(x, labels, ks=(1,))
    assert {name: found.values[name] for name in expected.means()} == pytest.approx(
        expected.means()
    )
    assert found.lone == 1 and found.gallery == 60
    assert 0 < found.values["AMI"] <= found.values["NMI"] <= 1
    assert set(found.intervals) == set(expected.means())


def test_a_query_in_the_gallery_has_no_vote_for_itself(points):
    x, labels = points
    ids = np.arange(60)
    hits = weighted_knn_hits(
        x, labels, x, labels, (1, 5), ids=ids, gallery_ids=ids, score_bytes=3000
    )
    for row in (0, 7, 59):
        others = np.arange(60) != row
        for k in (1, 5):
            alone = weighted_knn(x[row : row + 1], x[others], labels[others], k)
            assert hits[k][row] == (alone[0] == labels[row])
    with pytest.raises(ValueError, match="from 1 to"):
        weighted_knn_hits(x, labels, x, labels, (60,), ids=ids, gallery_ids=ids)
    with pytest.raises(ValueError, match="`labels` must have one label for each row"):
        weighted_knn_hits(x, labels[:5], x, labels)
