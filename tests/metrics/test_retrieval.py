"""Retrieval metrics against a ranking by hand."""

import numpy as np
import pytest

from tfembed.metrics import retrieval


def by_hand(queries, labels, gallery, gallery_labels, itself, ks):
    """Ranks every query's gallery in float64, lowest row first among equals."""
    found = []
    for i, query in enumerate(np.float64(queries)):
        query = query / np.linalg.norm(query)
        order = [j for j in range(len(gallery)) if j != itself[i]]
        similarity = [
            np.float32(query @ (row / np.linalg.norm(row)))
            for row in np.float64(gallery)
        ]
        order.sort(key=lambda j: (-similarity[j], j))
        right = [gallery_labels[j] == labels[i] for j in order]
        total = sum(right)
        if not total:
            continue
        values = {f"R@{k}": float(any(right[:k])) for k in ks}
        values.update({f"P@{k}": sum(right[:k]) / k for k in ks if k > 1})
        values["R-precision"] = sum(right[:total]) / total
        values["MAP@R"] = (
            sum(sum(right[: r + 1]) / (r + 1) for r in range(total) if right[r]) / total
        )
        values["MRR"] = 1 / (1 + right.index(True))
        found.append(values)
    return {key: np.array([v[key] for v in found]) for key in found[0]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("score_bytes", [1, 2**27])
def test_equals_a_ranking_by_hand(seed, score_bytes):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(37, 5)) + 0.5
    labels = rng.integers(0, 9, 37)
    ks = (1, 2, 5)
    result = retrieval(x, labels, ks=ks, score_bytes=score_bytes)
    expected = by_hand(x, labels, x, labels, np.arange(37), ks)
    measured = result.per_query()
    assert set(measured) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(measured[name], values, err_msg=name)
    lone = np.sum(np.bincount(labels)[labels] == 1)
    assert result.lone == lone and len(result.queries) == 37 - lone


def test_another_gallery_that_holds_some_of_the_queries():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(30, 4))
    gallery_labels = np.array([f"class {n}" for n in rng.integers(0, 5, 30)])
    gallery_ids = np.array([f"image {n}" for n in range(30)])
    queries = np.concatenate([rng.normal(size=(6, 4)), gallery[3:9]])
    labels = np.concatenate([gallery_labels[10:16], gallery_labels[3:9]])
    ids = np.concatenate([[f"new {n}" for n in range(6)], gallery_ids[3:9]])
    result = retrieval(
        queries, labels, gallery, gallery_labels, ids, gallery_ids, ks=(1, 3)
    )
    itself = np.concatenate([np.full(6, -1), np.arange(3, 9)])
    expected = by_hand(queries, labels, gallery, gallery_labels, itself, (1, 3))
    for name, values in expected.items():
        np.testing.assert_allclose(result.per_query()[name], values, err_msg=name)


def test_nothing_finds_itself_even_among_its_copies():
    x = np.repeat(np.eye(3), 4, axis=0)  # four copies of each of three rows
    labels = np.arange(12) % 4  # never the class of a copy
    result = retrieval(x, labels, ks=(1, 3))
    assert result.means()["R@1"] == 0.0 and result.means()["R@3"] == 0.0
    same = retrieval(x, np.repeat([0, 1, 2], 4), ks=(1, 3))
    assert set(same.means().values()) == {1.0}


@pytest.mark.parametrize("sizes", [[100] * 7, [450, 200, 30, 12, 3, 2, 1, 1, 1]])
@pytest.mark.parametrize("score_bytes", [30_000, 2**28])
def test_many_rows_of_a_class_many_ties(sizes, score_bytes):
    """Scores are small integers: exact, and mostly equal to one another."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(labels)
    x = rng.choice([-1.0, 0.0, 1.0], size=(n, 5))
    ks = (1, 5, 40)
    found = retrieval(
        x, labels, ks=ks, normalize=False, score_bytes=score_bytes
    ).per_query()
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : n - 1]
    right = labels[order] == labels[:, None]
    right = right[right.any(axis=1)]
    hits, ranks = np.cumsum(right, axis=1), np.arange(1, n)
    total = hits[:, -1:]
    inside = right & (ranks <= total)
    for k in ks:
        np.testing.assert_array_equal(found[f"R@{k}"], right[:, :k].any(axis=1))
        np.testing.assert_allclose(found.get(f"P@{k}", right[:, 0]), hits[:, k - 1] / k)
    np.testing.assert_allclose(
        found["R-precision"], inside.sum(axis=1) / total[:, 0], rtol=1e-12
    )
    np.testing.assert_allclose(
        found["MAP@R"], (inside * hits / ranks).sum(axis=1) / total[:, 0], rtol=1e-12
    )
    np.testing.assert_allclose(found["MRR"], 1 / (1 + right.argmax(axis=1)))


def test_equal_rows_are_equally_similar_wherever_they_stand():
    """Matrix products round by where a row stands: a collapsed encoder shows it."""
    rng = np.random.default_rng(0)
    gallery = np.repeat(rng.normal(size=(1, 33)), 403, axis=0)
    gallery_labels = np.minimum(np.arange(403), 2)  # the only 0 comes first, then the 1
    queries = rng.normal(size=(40, 33))
    result = retrieval(queries, np.arange(40) % 2, gallery, gallery_labels, ks=(1,))
    np.testing.assert_array_equal(result.reciprocal_rank, [1, 1 / 2] * 20)


def test_memory_stays_bounded():
    """3,000 rows among all others: 36 MB of scores, in chunks of 1 MB."""
    import tracemalloc

    rng = np.random.default_rng(0)
    x, labels = np.float32(rng.normal(size=(3000, 4))), rng.integers(0, 4, 3000)
    tracemalloc.start()
    retrieval(x, labels, ks=(1,), score_bytes=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_progress_is_told():
    told = []
    retrieval(
        np.eye(6),
        [0, 0, 0, 1, 1, 2],
        ks=(1,),
        score_bytes=48,
        progress=lambda *counts: told.append(counts),
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_neighbours_are_those_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(90, 7)) + 0.3, rng.integers(0, 6, 90)
    _, rows = NearestNeighbors(metric="cosine").fit(x).kneighbors(n_neighbors=4)
    right = labels[rows] == labels[:, None]
    result = retrieval(x, labels, ks=(1, 4))
    np.testing.assert_array_equal(result.recall[1], right[:, 0])
    np.testing.assert_array_equal(result.recall[4], right.any(axis=1))
    np.testing.assert_array_equal(result.precision[4], right.mean(axis=1))


def test_ties_go_to_the_lowest_row():
    x = np.ones((4, 2))
    result = retrieval(x, [0, 1, 0, 1], ks=(1,))
    # Row 0 finds row 1 first; rows 1, 2 and 3 find row 0 first.
    np.testing.assert_array_equal(result.recall[1], [0, 0, 1, 0])
    np.testing.assert_allclose(result.reciprocal_rank, [1 / 2, 1 / 3, 1, 1 / 2])


def test_first_of_the_class_beyond_the_nearest_is_ranked_too():
    x = np.stack([np.cos(np.linspace(0, 3, 60)), np.sin(np.linspace(0, 3, 60))], 1)
    labels = np.arange(60) % 59  # rows 0 and 59 only share a class
    result = retrieval(x, labels, ks=(1,))
    np.testing.assert_array_equal(result.queries, [0, 59])
    np.testing.assert_allclose(result.reciprocal_rank, [1 / 59, 1 / 59])
    assert result.lone == 58


def test_nothing_to_find():
    result = retrieval(np.eye(4), np.arange(4), ks=(1,))
    assert result.lone == 4 and np.isnan(result.means()["MAP@R"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": [0, 1]}, "labels"),
        ({"ks": (4,)}, "ks"),
        ({"ks": (0,)}, "ks"),
        ({"gallery": np.eye(4)}, "gallery_labels"),
        ({"gallery": np.eye(4), "gallery_labels": [0, 1]}, "gallery_labels"),
        (
            {
                "gallery": np.eye(4),
                "gallery_labels": [0] * 4,
                "ids": range(4),
                "gallery_ids": [1, 1, 2, 3],
            },
            "each id once",
        ),
        (
            {"gallery": np.eye(4), "gallery_labels": [0] * 4, "ids": range(4)},
            "gallery_ids",
        ),
    ],
)
def test_bad_input_gets_a_sentence(arguments, words):
    given = {"embeddings": np.eye(4), "labels": [0, 0, 1, 1], **arguments}
    with pytest.raises(ValueError, match=words) as error:
        retrieval(**given)
    assert "Received" in str(error.value)
