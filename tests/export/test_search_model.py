"""The graph's neighbours and votes against NumPy, ties included."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import exact, load_head
from tfembed.export.run_directory import Gallery
from tfembed.export.search_model import SearchModel
from tfembed.ops.images import decode_image

SHAPE = (4, 4, 1)
DIM = 16


def search_model(gallery, k, max_score_bytes=1 << 20, head="exact", **options):
    """A model of the gallery, whose encoder embeds an image as its pixels / 8."""
    encoder = pixels_as_embedding()
    state = gallery_state(gallery, load_head(head).build(gallery.embeddings))
    return SearchModel(
        encoder,
        encoder.variables,
        SHAPE,
        DIM,
        head,
        state,
        k,
        max_score_bytes,
        **options,
    )


def pixels_as_embedding():
    """Embeds an image as its pixels / 8: small dyadic numbers, so sums are exact."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 8)(inputs)
    return keras.Model(inputs, keras.layers.Reshape((DIM,))(x))


def a_gallery(size, seed=0, labels=None, **settings):
    """Rows of -1, 0 and 1 eighths: exact scores, and many of them equal."""
    rng = np.random.default_rng(seed)
    if labels is None:
        labels = rng.integers(-1, 4, size)
    return Gallery(
        embeddings=rng.integers(-1, 2, (size, DIM)).astype(np.float32) / 8,
        labels=labels,
        ids=np.array([f"row {row}" for row in range(size)]),
        class_names=np.array(["a", "b", "c", "d"]),
        **{"known_threshold": 0.0, "vote_temperature": 0.1, "vote_k": 9, **settings},
    )


def some_images(count, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (count, *SHAPE)).astype(np.float32)


def brute_force(images, gallery, k):
    """Rows, scores, votes in float64; equal scores go to the lowest row."""
    queries = images.reshape(-1, DIM).astype(np.float64) / 8
    scores = queries @ gallery.embeddings.T.astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")
    votes = []
    for query, rows in zip(scores, order[:, : gallery.vote_k]):
        total = np.zeros(len(gallery.class_names))
        for row in rows:
            if gallery.labels[row] >= 0:
                weight = np.exp((query[row]) / gallery.vote_temperature)
                total[gallery.labels[row]] += weight
        votes.append(total / total.sum() if total.sum() else total)
    rows = order[:, :k]
    return rows, np.take_along_axis(scores, rows, 1), np.array(votes)


def text(array):
    return np.vectorize(lambda value: value.decode(), otypes=[object])(array.numpy())


def assert_as_brute_force(found, images, gallery, k):
    k = min(k, gallery.size)
    rows, scores, votes = brute_force(images, gallery, k)
    assert found["ids"].shape == (len(images), k)
    np.testing.assert_array_equal(text(found["ids"]), gallery.ids[rows])
    np.testing.assert_array_equal(found["scores"], scores.astype(np.float32))
    names = np.array(["", *gallery.class_names])
    np.testing.assert_array_equal(
        text(found["labels"]), names[gallery.labels[rows] + 1]
    )
    np.testing.assert_allclose(found["vote_probability"], votes.max(1), atol=1e-5)
    sorted_votes = np.sort(votes, axis=1)
    clear = sorted_votes[:, -1] - sorted_votes[:, -2] > 1e-5
    winners = gallery.class_names[votes.argmax(1)]
    np.testing.assert_array_equal(text(found["vote"])[clear], winners[clear])
    np.testing.assert_array_equal(
        found["known"], scores[:, 0] >= gallery.known_threshold
    )
    assert found["valid"].numpy().all()


@pytest.mark.thin(2)
@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize("size", [9, 300, 5000])
def test_neighbours_are_those_of_brute_force(size, batch):
    gallery = a_gallery(size, known_threshold=0.3)
    model = search_model(gallery, 10)
    images = some_images(batch)
    assert_as_brute_force(model.search_images(images), images, gallery, 10)


def test_a_score_at_the_threshold_is_known():
    images = some_images(9)
    best = np.sort(brute_force(images, a_gallery(40), 1)[1][:, 0])
    gallery = a_gallery(40, known_threshold=float(best[4]))  # exact in float32
    assert best[0] < best[4]
    assert_as_brute_force(
        search_model(gallery, 3).search_images(images), images, gallery, 3
    )


def test_gallery_has_ties_within_the_answers():
    gallery = a_gallery(5000)
    _, scores, _ = brute_force(some_images(17), gallery, 10)
    assert (np.diff(scores, axis=1) == 0).any(axis=1).all()


@pytest.mark.thin(3)
@pytest.mark.parametrize("rows", [1, 2, 5, 17])
def test_a_batch_in_chunks_is_the_batch_at_once(rows):
    gallery = a_gallery(1000)
    model = search_model(gallery, 5, rows * 4 * 1000)
    images = some_images(17)
    assert_as_brute_force(model.search_images(images), images, gallery, 5)


@pytest.mark.parametrize(
    ("max_score_bytes", "chunks"),
    [(3 * 4 * 1000, [3, 3, 3, 3, 3, 2]), (1 << 40, [17])],  # more than int32 counts
    ids=["3 queries", "all"],
)
def test_scores_are_never_larger_than_the_bound(max_score_bytes, chunks):
    gallery = a_gallery(1000)
    seen = []

    def spy(variables, queries, k):
        tf.py_function(lambda q: seen.append(len(q)), [queries], [])
        return search(variables, queries, k)

    search = exact.search
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "search", spy)
        patch.setattr(exact, "score_columns", lambda variables: 1000)
        model = search_model(gallery, 5, max_score_bytes)
        model.search_images(some_images(17))
    assert seen == chunks


@pytest.mark.parametrize("max_score_bytes", [1, 1 << 30])
def test_empty_batch_gives_empty_answers(max_score_bytes):
    gallery = a_gallery(300)
    model = search_model(gallery, 10, max_score_bytes)
    found = model.search_images(some_images(0))
    assert found["ids"].shape == (0, 10)
    assert found["vote"].shape == found["known"].shape == found["valid"].shape == (0,)
    found = model.search_bytes(tf.constant([], tf.string))
    assert found["scores"].shape == (0, 10)
    assert model.embed(some_images(0))["embeddings"].shape == (0, DIM)


@pytest.mark.parametrize("size", [1, 3])
def test_a_small_gallery_gives_all_it_has(size):
    gallery = a_gallery(size, labels=np.zeros(size, np.int64))
    model = search_model(gallery, 10)
    images = some_images(3)
    assert_as_brute_force(model.search_images(images), images, gallery, 10)


@pytest.mark.thin(2)
@pytest.mark.parametrize("vote_k", [1, 50, 1000])
def test_more_or_fewer_neighbours_vote_than_are_shown(vote_k):
    gallery = a_gallery(400, vote_k=vote_k)
    model = search_model(gallery, 10)
    images = some_images(17)
    assert_as_brute_force(model.search_images(images), images, gallery, 10)


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_without_labels_nobody_votes(names):
    gallery = a_gallery(50, labels=np.full(50, -1))
    gallery = Gallery(**{**vars(gallery), "class_names": np.array(names, dtype=str)})
    model = search_model(gallery, 4)
    found = model.search_images(some_images(3))
    assert text(found["vote"]).tolist() == [""] * 3
    assert text(found["labels"]).tolist() == [[""] * 4] * 3
    assert found["vote_probability"].numpy().tolist() == [0.0] * 3


def test_another_gallery_fits_the_same_graph():
    model = search_model(a_gallery(40), 10)
    images = some_images(5)
    graph = model.search_images.get_concrete_function().graph
    other = a_gallery(900, seed=5, known_threshold=0.25, vote_k=30)
    head = load_head("exact").build(other.embeddings)
    for name, value in gallery_state(other, head).items():
        getattr(model, name).assign(tf.constant(value))
    assert_as_brute_force(model.search_images(images), images, other, 10)
    assert model.search_images.get_concrete_function().graph is graph


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_that_is_not_finite_harms_no_other(value):
    gallery = a_gallery(300, known_threshold=-10.0)
    model = search_model(gallery, 5)
    images = some_images(5)
    clean = model.search_images(images)
    images[2, 1, 1, 0] = value
    found = model.search_images(images)
    assert found["valid"].numpy().tolist() == [True, True, False, True, True]
    assert found["known"].numpy().tolist() == [True, True, False, True, True]
    for name in ("ids", "labels", "scores", "vote", "vote_probability"):
        values = found[name].numpy()
        assert set(np.ravel(values[2])) <= {b"", 0.0}
        for other in (0, 1, 3, 4):
            np.testing.assert_array_equal(values[other], clean[name].numpy()[other])
    embedded = model.embed(images)
    assert not embedded["embeddings"].numpy()[2].any()
    assert embedded["valid"].numpy().tolist() == [True, True, False, True, True]


def test_encoded_images_are_resized_as_in_training():
    resize = "pad"
    model = search_model(a_gallery(9), 3, resize=resize)
    pixels = np.random.default_rng(3).integers(0, 3, (5, 9, 1), np.uint8)
    encoded = tf.io.encode_png(pixels)
    image = decode_image(encoded, SHAPE, resize=resize).numpy()
    found = model.signatures["embed_bytes"](image_bytes=encoded[None])["embeddings"]
    np.testing.assert_array_equal(found[0], image.ravel() / 8)
    example = tf.train.Example()
    example.features.feature["image_bytes"].bytes_list.value.append(encoded.numpy())
    inputs = tf.constant([example.SerializeToString()])
    shares = model.signatures["classify"](inputs=inputs)["scores"]
    right = model.signatures["search_images"](images=image[None])["vote_probability"]
    np.testing.assert_allclose(shares[:, 0], right, atol=1e-6)
