"""Neighbours, the worst, confusions and pairs, against loops over every pair."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from tfembed.metrics import weighted_knn
from tfembed.report.agreement import agreement
from tfembed.report.health import health, warnings_of
from tfembed.report.neighbors import K, confusions, most_confused, pairs, search
from tfembed.report.run import read_run
from tfembed.report.view import View


@pytest.fixture(scope="module")
def run(make_shared_run):
    return read_run(make_shared_run(queries=30, width=0.8))


@pytest.fixture(scope="module")
def own(make_shared_run):
    """A run whose gallery searches itself."""
    path = make_shared_run("own", queries=0, result={"protocol": "unseen"}, seed=3)
    return read_run(path)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def brute(run, row, k):
    """Returns the k nearest gallery rows of a query, by a loop."""
    query = run.judged.embeddings[row]
    scores = [
        (-cosine(query, other), at)
        for at, other in enumerate(run.gallery.embeddings)
        if run.gallery.ids[at] != run.judged.ids[row]
    ]
    return [at for _, at in sorted(scores)[:k]]


def test_neighbors_are_the_nearest_and_not_oneself(run, own):
    for each in (run, own):
        found = search(each)
        assert len(found.queries) == each.judged.size
        for at, row in enumerate(found.queries):
            assert found.rows[at].tolist() == brute(each, row, K)
            assert found.scores[at, 0] == pytest.approx(
                cosine(
                    each.judged.embeddings[row],
                    each.gallery.embeddings[found.rows[at, 0]],
                ),
                abs=1e-5,
            )
        np.testing.assert_array_equal(
            found.right, each.gallery.labels[found.rows] == found.labels[:, None]
        )


def test_the_vote_is_that_of_the_metric(run):
    found = search(run)
    expected = weighted_knn(
        run.queries.embeddings, run.gallery.embeddings, run.gallery.labels, K
    )
    np.testing.assert_array_equal(found.vote, expected)
    weights = np.exp(np.float64(found.scores[2]) / 0.07)
    share = weights[found.right[2]].sum() / weights.sum()
    assert found.share[2] == pytest.approx(share, rel=1e-4)


def test_the_worst_are_the_worst(make_run):
    found = search(read_run(make_run(queries=60, width=4)), k=4)
    assert (found.share == 0).sum() > 2  # ties

    def key(at):
        wrong = found.scores[at][~found.right[at]]
        return found.share[at], -max(wrong, default=-np.inf)

    expected = sorted(range(len(found.queries)), key=key)[:7]
    assert found.worst(7).tolist() == expected
    assert not found.right[expected[0]][0]
    drawn = found.random(7)
    assert len(set(drawn)) == 7 and drawn.tolist() != expected
    assert drawn.tolist() == found.random(7).tolist()
    assert drawn.tolist() != found.random(7, seed=1).tolist()


def test_confusions_are_those_of_scikit_learn(run):
    found = search(run)
    nearest = run.gallery.labels[[brute(run, row, 1)[0] for row in found.queries]]
    labels, counts = confusions(found)
    np.testing.assert_array_equal(
        counts, confusion_matrix(run.queries.labels, nearest, labels=labels)
    )
    assert 0 < np.trace(counts) < counts.sum()
    first = most_confused(found)[0]
    off = counts * (1 - np.eye(len(labels)))
    assert first.count == off.max()
    assert first.queries == counts[np.searchsorted(labels, first.label)].sum()
    mine = (found.labels == first.label) & (found.found[:, 0] == first.taken_for)
    assert first.count == mine.sum()
    assert found.scores[first.example, 0] == found.scores[mine, 0].max()


def test_pairs_are_all_pairs_of_a_small_run(run, own):
    for each in (run, own):
        found = pairs(each, search(each))
        same, other = [], []
        for a, mine, name in zip(
            each.judged.embeddings, each.judged.labels, each.judged.ids
        ):
            for b, theirs, its in zip(
                each.gallery.embeddings, each.gallery.labels, each.gallery.ids
            ):
                if name != its:
                    (same if mine == theirs else other).append(cosine(a, b))
        for values, expected in ((found.positive, same), (found.negative, other)):
            np.testing.assert_allclose(np.sort(values), np.sort(expected), atol=1e-5)
        larger = np.mean(np.array(same)[:, None] > np.array(other))
        assert found.separation == pytest.approx(larger, abs=1e-3)


def test_pairs_of_a_sample(make_run, monkeypatch):
    monkeypatch.setattr("tfembed.report.neighbors.PAIR_QUERIES", 10)
    monkeypatch.setattr("tfembed.report.neighbors.PAIR_GALLERY", 12)
    monkeypatch.setattr("tfembed.report.neighbors.PAIR_MATES", 5)
    run = read_run(make_run())
    found = pairs(run, search(run))
    assert len(found.positive) == 50 and 40 < len(found.negative) < 120
    drawn = pairs(run, search(run), seed=1)
    assert sorted(drawn.positive) != sorted(found.positive)


def test_a_class_of_one_image_is_not_among_the_worst(make_run):
    path = make_run(queries=0, result={"protocol": "unseen"})
    with np.load(path / "gallery.npz") as file:
        content = dict(file)
    content["labels"][5] = 9
    np.savez(path / "gallery.npz", **content)
    run = read_run(path)
    found = search(run)
    assert not found.findable[5] and found.findable.sum() == 35
    assert 5 not in found.worst(36)
    assert confusions(found)[1].sum() == 35
    text = View(run, 0, ("pca",), 0).context(32, 8, 50)["looked_up"]
    assert "1 of them have no other image of their class" in text


def test_without_labels_the_worst_are_the_loneliest(make_run):
    run = read_run(make_run(labelled=False))
    found = search(run)
    assert not found.right.any() and not run.labelled
    assert found.worst(15).tolist() == np.argsort(found.scores[:, 0]).tolist()
    assert not pairs(run, found).labelled


def test_a_sample_of_many_queries(run):
    found = search(run, most=10)
    assert len(set(found.queries)) == 10 and (np.diff(found.queries) > 0).all()


def test_agreement_counts_who_is_right(make_run, run):
    other = read_run(make_run("other", queries=30, seed=4))
    views = [View(each, place, ("pca",), 0) for place, each in enumerate((run, other))]
    found = agreement(*views)
    one, two = (
        weighted_knn(r.queries.embeddings, r.gallery.embeddings, r.gallery.labels, K)
        == r.queries.labels
        for r in (run, other)
    )
    expected = [
        sum(a and b for a, b in zip(one, two)),
        sum(a and not b for a, b in zip(one, two)),
        sum(b and not a for a, b in zip(one, two)),
        sum(not a and not b for a, b in zip(one, two)),
    ]
    assert found.counts() == expected and sum(expected) == 30
    text = found.context(32)["text"]
    assert f"{100 * (one.mean() - two.mean()):+.1f} points" in text
    shown = found.context(32)["groups"][0]["queries"]
    assert len(shown) == min(6, expected[1]) > 0
    for mine, theirs in shown:
        assert mine["right"] and not theirs["right"] and mine["id"] == theirs["id"]


def test_health_tells_a_collapse(make_run, run):
    assert not health(run)["warnings"]
    found = health(run)["spread"]
    values = dict(row[:2] for row in health(run)["rows"])
    assert values["Effective rank"] == f"{found.effective_rank:.1f} of 6"
    path = make_run("flat")
    with np.load(path / "gallery.npz") as file:
        content = dict(file)
    content["embeddings"] = np.ones_like(content["embeddings"])
    np.savez(path / "gallery.npz", **content)
    told = health(read_run(path))
    assert (
        "collapsed" in told["warnings"][0] and "effective rank" in told["warnings"][1]
    )
    assert ("Equal embeddings", "35") in [row[:2] for row in told["rows"]]
    content["embeddings"][3, 1] = np.nan
    np.savez(path / "gallery.npz", **content)
    broken = read_run(path)
    assert not broken.searchable
    assert "1 embeddings are not finite" in health(broken)["warnings"][0]


def test_two_classes_may_end_in_one_direction():
    from tfembed.metrics import spread

    found = spread(np.repeat([[1.0, 0], [-1, 0]], 5, axis=0) @ np.eye(2, 64))
    assert found.effective_rank == pytest.approx(1)
    assert not warnings_of(found, 64, classes=2)
    assert "effective rank" in warnings_of(found, 64)[0]
