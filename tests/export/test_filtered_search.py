"""Filtered searches, scores of given ids and classes, against brute force."""

import numpy as np
import pytest
import tensorflow as tf
from twin_gallery import NAMES, SHAPE, K, make_model, model_of, queries

from tfembed.export.brute_force import nearest, shares_of_classes
from tfembed.export.search_model import FILTERS


@pytest.fixture(params=["exact", "bfloat16", "int8", "prefix", "ivf"])
def served(request):
    """A model, its gallery and its rows, made once for each head."""
    return model_of(request.param)[:3]


def padded(lists):
    """Lists of text as one array, padded."""
    width = max(map(len, lists), default=0) + 1
    rows = [each + [""] * (width - len(each)) for each in lists]
    return np.array(rows, str).reshape(len(lists), width)


def ask(model, vectors, **lists):
    nothing = [[]] * len(vectors)
    filters = {name: padded(lists.get(name, nothing)) for name in FILTERS}
    found = model.search_filtered(vectors, *(tf.constant(v) for v in filters.values()))
    return {name: value.numpy() for name, value in found.items()}


def remaining(gallery, query, lists):
    """Which rows remain for a query."""
    names = np.array([*gallery.class_names, ""])[gallery.labels]
    labelled = gallery.labels >= 0
    rows = np.ones(gallery.size, bool)
    get = {name: [v for v in lists[name][query] if v] for name in lists}
    if get.get("allow_ids"):
        rows &= np.isin(gallery.ids, get["allow_ids"])
    if get.get("allow_labels"):
        rows &= np.isin(names, get["allow_labels"]) & labelled
    rows &= ~np.isin(gallery.ids, get.get("exclude_ids", []))
    rows &= ~(np.isin(names, get.get("exclude_labels", [])) & labelled)
    return rows


def assert_as_brute_force(model, gallery, stored, vectors, **lists):
    found = ask(model, vectors, **lists)
    row_of = {name: row for row, name in enumerate(gallery.ids.tolist())}
    names = np.array([*gallery.class_names, ""])
    for query, vector in enumerate(vectors):
        remains = remaining(gallery, query, lists)
        count = min(K, int(remains.sum()))
        scores, rows = nearest(
            vector[None], stored, gallery.vote_k, lambda a, b, r=remains: r[None, a:b]
        )
        ids = [name.decode() for name in found["ids"][query]]
        assert all(ids[:count]) and not any(ids[count:])
        given = np.array([row_of[name] for name in ids[:count]], int)
        assert remains[given].all() and len(set(given)) == count
        np.testing.assert_allclose(
            found["scores"][query, :count], scores[0, :count], atol=2e-6
        )
        assert not found["scores"][query, count:].any()
        # Twins are equal to the bit: the lower row stands first.
        twins = np.diff(found["scores"][query, :count]) == 0
        assert (np.diff(given)[twins] > 0).all()
        labels = [name.decode() for name in found["labels"][query]]
        assert labels[:count] == names[gallery.labels[given]].tolist()
        there = rows[0] >= 0
        shares = shares_of_classes(
            scores[0][there],
            gallery.labels[rows[0][there]],
            len(NAMES),
            gallery.vote_temperature,
        )
        assert found["vote_probability"][query] == pytest.approx(shares.max(), abs=1e-4)
        if shares.any():
            assert found["vote"][query].decode() == NAMES[shares.argmax()]
        best = scores[0, 0] if count else -np.inf
        assert found["known"][query] == (best >= gallery.known_threshold)
        assert found["valid"][query]
    return found


def test_ids_and_labels_in_one_batch(served):
    model, gallery, stored = served
    vectors = queries(8)
    _, rows = nearest(vectors, stored, 12)
    near = gallery.ids[rows]
    found = assert_as_brute_force(
        model,
        gallery,
        stored,
        vectors,
        exclude_ids=[
            near[0, :5].tolist(),
            [],
            near[2].tolist(),
            ["unknown", near[3, 0]],
            [],
            near[5, :1].tolist(),
            [],
            near[7].tolist(),
        ],
        allow_ids=[
            [],
            [*gallery.ids[[3, 3, 753, 9]], "unknown"],
            [],
            [],
            ["unknown"],
            near[5, :2].tolist(),
            [],
            near[7].tolist(),
        ],
        allow_labels=[[], [], [], ["blau", "grün"], [], [], ["unknown"], []],
        exclude_labels=[["red"], [], [], ["grün"], [], [], [], []],
    )
    assert [sum(map(bool, ids)) for ids in found["ids"]] == [6, 3, 6, 6, 0, 1, 0, 0]
    for query in (4, 6, 7):  # nothing remains
        assert found["vote"][query] == b"" and not found["known"][query]


def test_without_filters_it_is_the_search(served):
    model, gallery, stored = served
    assert_as_brute_force(model, gallery, stored, queries(3))
    empty = tf.zeros((3, 0), tf.string)
    found = model.search_filtered(queries(3), empty, empty, empty, empty)
    wanted = ask(model, queries(3))
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
    assert ask(model, queries(0))["ids"].shape == (0, K)


def test_random_filters(served):
    model, gallery, stored = served
    rng = np.random.default_rng(3)
    for size in (1, 7):
        lists = {
            "exclude_ids": [
                rng.choice(gallery.ids, rng.integers(0, 300)).tolist()
                for _ in range(size)
            ],
            "allow_ids": [
                rng.choice(gallery.ids, rng.integers(0, 2) * 40).tolist()
                for _ in range(size)
            ],
            "allow_labels": [
                rng.choice(NAMES[:4], rng.integers(0, 3)).tolist() for _ in range(size)
            ],
            "exclude_labels": [
                rng.choice(NAMES[:4], rng.integers(0, 2)).tolist() for _ in range(size)
            ],
        }
        assert_as_brute_force(model, gallery, stored, queries(size, seed=size), **lists)


def test_a_small_bound_of_memory_changes_nothing():
    model, gallery, stored = make_model("exact", max_score_bytes=2048)[:3]
    lists = {
        "exclude_ids": [gallery.ids[:30].tolist()] * 3,
        "allow_labels": [["red"], [], ["blau"]],
    }
    assert_as_brute_force(model, gallery, stored, queries(3), **lists)
    ids = np.stack([gallery.ids[:700]] * 3)
    found = model.score(queries(3), ids)["scores"]
    np.testing.assert_allclose(found, queries(3) @ stored[:700].T, atol=2e-6)


def test_scores_of_ids(served):
    model, gallery, stored = served
    vectors = queries(4)
    vectors[3] = np.nan
    ids = [["id 3 ä", "", "nothing", "id 1499 ä", "id 3 ä"]] * 4
    found = model.score(vectors, tf.constant(ids))
    there = [True, False, False, True, True]
    assert found["found"].numpy().tolist() == [there, there, there, [False] * 5]
    wanted = vectors[:3] @ stored[[3, 0, 0, 1499, 3]].T * np.array(there)
    np.testing.assert_allclose(found["scores"][:3], wanted, atol=2e-6)
    assert not found["scores"].numpy()[3].any()


def test_embeddings_of_any_length_but_none():
    model = model_of("exact")[0]
    vectors = queries(6)
    clean = model.search(vectors)
    scaled = vectors * np.array([1, 1e-18, 1e18, 0, np.nan, np.inf])[:, None]
    found = model.search(scaled.astype(np.float32))
    assert found["valid"].numpy().tolist() == [True] * 3 + [False] * 3
    np.testing.assert_allclose(found["scores"][:3], clean["scores"][:3], atol=2e-6)
    assert (
        not found["scores"].numpy()[3:].any() and not found["known"].numpy()[3:].any()
    )


def example(feature, encoded):
    feature = {feature: tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))}
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


@pytest.mark.thin(2)
def test_classify_gives_the_shares_of_all_classes(served):
    model, gallery, stored = served
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    png = [tf.io.encode_png(each).numpy() for each in pixels]
    number = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0]))
    floats = tf.train.Features(feature={"image_bytes": number})
    inputs = [
        example("image_bytes", png[:1]),
        example("image/encoded", png[1:]),
        example("image_bytes", [b"no image"]),
        example("image_bytes", png),  # two of them
        example("other", png[:1]),
        b"no example",
        b"",
        tf.train.Example(features=floats).SerializeToString(),
    ]
    found = model.classify(tf.constant(inputs))
    assert set(found) == {"classes", "scores"}
    assert found["classes"].shape == found["scores"].shape == (8, len(NAMES))
    voted = model.search_bytes(tf.constant(png))
    for query in range(2):
        scores = found["scores"].numpy()[query]
        names = [name.decode() for name in found["classes"].numpy()[query]]
        assert sorted(names) == sorted(NAMES) and (np.diff(scores) <= 0).all()
        assert scores.sum() == pytest.approx(1, abs=1e-5)
        assert names[0] == voted["vote"].numpy()[query].decode()
        assert scores[0] == pytest.approx(voted["vote_probability"].numpy()[query])
    assert not found["scores"].numpy()[2:].any()
    assert set(found["classes"].numpy()[2:].ravel()) == {b""}
