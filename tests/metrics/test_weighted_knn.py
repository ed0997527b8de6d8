"""Weighted kNN against one loop a query, with ties and in small chunks."""

import numpy as np
import oracles
import pytest

from tfembed.metrics import embed, linear_probe, nearest, weighted_knn


def points(seed, queries=23, size=300, dim=6, classes=5, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size)
    gallery = (
        rng.normal(size=(size, dim)) + 1.5 * rng.normal(size=(classes, dim))[labels]
    )
    found = rng.normal(size=(queries, dim)) + 1.5
    if ties:  # small integers of equal length: many exactly equal similarities
        gallery = rng.choice([-1.0, 1.0], size=(size, dim))
        found = rng.choice([-1.0, 1.0], size=(queries, dim))
    return np.float32(found), np.float32(gallery), labels


@pytest.mark.parametrize("k", [1, 2, 10, 200, 300])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("score_bytes", [1, 10_000, 2**27])
def test_equals_the_loop(k, seed, score_bytes):
    queries, gallery, labels = points(seed)
    found = weighted_knn(queries, gallery, labels, k, 0.1, score_bytes=score_bytes)
    expected = oracles.weighted_knn(queries, gallery, labels, k, 0.1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("temperature", [1e-3, 0.07, 1.0, 100.0])
def test_temperatures(temperature):
    queries, gallery, labels = points(2)
    found = weighted_knn(queries, gallery, labels, 20, temperature)
    with np.errstate(over="ignore"):
        scores, rows = nearest(queries, gallery, 20)
    if temperature >= 0.07:
        expected = oracles.weighted_knn(queries, gallery, labels, 20, temperature)
        np.testing.assert_array_equal(found, expected)
    else:  # exp(1 / temperature) overflows; the nearest neighbour decides
        np.testing.assert_array_equal(found, labels[rows[:, 0]])


def test_equals_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    queries, gallery, labels = points(3)
    classifier = KNeighborsClassifier(
        15, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.2)
    ).fit(gallery, labels)
    np.testing.assert_array_equal(
        weighted_knn(queries, gallery, labels, 15, 0.2), classifier.predict(queries)
    )


def test_several_k_at_once_and_any_labels():
    queries, gallery, labels = points(4)
    names = np.array(["a", "bb", "c", "d", "e"])[labels]
    found = weighted_knn(queries, gallery, names, [5, 50])
    assert sorted(found) == [5, 50]
    for k, predicted in found.items():
        np.testing.assert_array_equal(
            predicted, weighted_knn(queries, gallery, names, k)
        )
        assert predicted.dtype == names.dtype


@pytest.mark.parametrize("k", [1, 3, 7, 100, 2999])
@pytest.mark.parametrize("score_bytes", [1, 2**27])
def test_equal_similarities_go_to_the_lowest_row(k, score_bytes):
    queries, gallery, _ = points(5, size=3000, ties=True)
    scores, rows = nearest(queries, gallery, k, False, score_bytes)
    expected, expected_rows = oracles.top_k(queries, gallery, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected)


def test_equal_votes_go_to_the_lowest_label():
    gallery = np.float32([[1, 0], [1, 0], [0, 1]])
    query = np.float32([[1, 0]])
    assert weighted_knn(query, gallery, [9, 4, 4], k=2) == [4]


def test_a_zero_query_is_answered():
    _, gallery, labels = points(6)
    found = weighted_knn(np.zeros((2, 6)), gallery, labels, 3)
    np.testing.assert_array_equal(
        found,
        oracles.weighted_knn(
            np.ones((2, 6)) * 0 + 1e-30, gallery * 0 + 1, labels, 3, 0.07
        ),
    )


def test_no_queries():
    _, gallery, labels = points(7)
    with pytest.raises(ValueError, match="`queries` must have at least one row"):
        weighted_knn(np.zeros((0, 6)), gallery, labels, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "`k` must be an integer from 1"),
        ({"k": 301}, "`k` must be an integer from 1"),
        ({"k": 1.5}, "`k` must be an integer from 1"),
        ({"temperature": 0}, "`temperature` must be a positive number"),
        (
            {"gallery_labels": np.zeros(5)},
            "one label for each row",
        ),
        ({"queries": np.zeros((2, 5))}, "rows of the same length"),
        ({"queries": np.zeros(5)}, "must be a matrix"),
        ({"queries": np.full((2, 6), np.nan)}, "must be finite"),
    ],
)
def test_bad_input_gets_a_sentence(change, message):
    queries, gallery, labels = points(8)
    arguments = {"queries": queries, "gallery": gallery, "gallery_labels": labels}
    with pytest.raises(ValueError, match=message) as error:
        weighted_knn(**{**arguments, "k": 3, **change})
    assert "Received" in str(error.value)


def test_memory_stays_bounded():
    """200 queries against 20,000 rows: 16 MB of scores in chunks of 1 MB."""
    import tracemalloc

    queries, gallery, labels = points(9, queries=200, size=20_000)
    weighted_knn(queries[:2], gallery, labels, 20_000)  # traces
    tracemalloc.start()
    weighted_knn(queries, gallery, labels, [10, 20_000], score_bytes=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16e6


def test_linear_probe_equals_scikit_learn_and_separates_what_is_separable():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    queries, gallery, labels = points(10, queries=300)
    scaler = StandardScaler().fit(gallery)
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(gallery), labels)
    assert linear_probe(gallery, labels, gallery, labels) == pytest.approx(
        model.score(scaler.transform(gallery), labels), abs=0.01
    )
    features = np.eye(5)[labels]
    assert linear_probe(features, labels, features, labels) == 1.0


def test_embed_is_inference_in_order_and_changes_nothing(rng):
    from tensorflow import keras

    encoder = keras.Sequential(
        [keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )
    images = rng.normal(size=(10, 3)).astype("float32")
    encoder(images, training=True)
    before = encoder.get_weights()
    found = embed(encoder, [images[:4], {"images": images[4:8]}, images[8:]])
    np.testing.assert_allclose(found, encoder(images, training=False), atol=1e-6)
    for old, new in zip(before, encoder.get_weights()):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="at least one batch"):
        embed(encoder, [])
