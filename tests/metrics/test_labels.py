"""Everything that takes labels: which rows are ignored, and what is refused."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import callbacks, metrics
from tfembed.evaluate import __main__ as command
from tfembed.losses import MultiSimilarity

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 40)
ROWS = np.float32(RNG.normal(size=(40, 6)) + 2 * np.eye(6)[LABELS])
GALLERY_LABELS = RNG.integers(0, 4, 30)
GALLERY = np.float32(RNG.normal(size=(30, 6)) + 2 * np.eye(6)[GALLERY_LABELS])
IDS, GALLERY_IDS = np.arange(40), np.arange(30) + 25  # some stand in both


def _hits(**given):
    return metrics.weighted_knn_hits(**given, ks=(3, 7))


def _of_callback(kind, names):
    """The numbers of a callback; its encoder passes rows on."""
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Flatten()])

    def measured(ignore_label=None, **given):
        given = {
            name: [values] if name in names else values
            for name, values in given.items()
        }
        return kind(encoder=encoder, ks=(3,), ignore_label=ignore_label, **given)

    return lambda **given: measured(**given).evaluate()


# Of each: what it measures, by keyword, and which of its arguments are rows of queries
# and which of a gallery.
SAMPLES = {
    "clustering": (metrics.clustering, ("embeddings", "labels"), ()),
    "linear_probe": (
        metrics.linear_probe,
        ("test_features", "test_labels"),
        ("features", "labels"),
    ),
    "linear_probe_hits": (
        metrics.linear_probe_hits,
        ("test_features", "test_labels"),
        ("features", "labels"),
    ),
    "measure_seen": (
        lambda **given: metrics.measure_seen(**given, knn=(3,), probe=True),
        ("queries", "labels", "ids"),
        ("gallery", "gallery_labels", "gallery_ids"),
    ),
    "measure_unseen": (
        lambda **given: metrics.measure_unseen(**given, cluster={}),
        ("embeddings", "labels"),
        (),
    ),
    "retrieval": (
        metrics.retrieval,
        ("embeddings", "labels", "ids"),
        ("gallery", "gallery_labels", "gallery_ids"),
    ),
    "retrieval of itself": (metrics.retrieval, ("embeddings", "labels"), ()),
    "weighted_knn": (
        lambda queries=ROWS, **given: metrics.weighted_knn(queries, k=3, **given),
        (),
        ("gallery", "gallery_labels"),
    ),
    "weighted_knn_hits": (
        _hits,
        ("queries", "labels", "ids"),
        ("gallery", "gallery_labels", "gallery_ids"),
    ),
    "RetrievalQuality": (
        _of_callback(callbacks.RetrievalQuality, ("queries", "gallery")),
        ("queries", "labels", "ids"),
        ("gallery", "gallery_labels", "gallery_ids"),
    ),
    "NeighborAccuracy": (
        _of_callback(callbacks.NeighborAccuracy, ("queries", "gallery")),
        ("queries", "query_labels"),
        ("gallery", "gallery_labels"),
    ),
}
every = pytest.mark.parametrize("name", list(SAMPLES))


def test_everything_that_takes_labels_is_here():
    public = {
        name
        for room in (metrics, callbacks)
        for name in room.__all__
        if not name.startswith("Measurement")
        and any(
            word.endswith("labels")
            for word in inspect.signature(getattr(room, name)).parameters
        )
    }
    assert public == {name.split()[0] for name in SAMPLES}


def arguments(name, of_queries=lambda x: x, of_gallery=lambda x: x):
    """The keyword arguments of a sample, its arrays changed by a function a side."""
    _, queries, gallery = SAMPLES[name]
    sides = (
        (queries, (ROWS, LABELS, IDS), of_queries),
        (gallery, (GALLERY, GALLERY_LABELS, GALLERY_IDS), of_gallery),
    )
    return {
        word: change(values)
        for words, arrays, change in sides
        for word, values in zip(words, arrays)
    }


def numbers(found):
    """What was measured, as a list of arrays."""
    if isinstance(found, metrics.Measurement):
        assert found.values.keys() >= found.per_query.keys()
        count = [found.queries, found.gallery, found.lone]
        return [*count, *found.values.values(), *found.intervals.values()]
    if isinstance(found, metrics.Retrieval):
        return [found.lone, *found.per_query().values()]
    return list(found.values()) if isinstance(found, dict) else [found]


@every
@pytest.mark.parametrize("kind", ["numbers", "strings", "objects"])
def test_ignored_rows_are_as_if_they_were_not_there(name, kind):
    measure = SAMPLES[name][0]
    ignored = {"numbers": -1, "strings": "none", "objects": "none"}[kind]
    dtype = object if kind == "objects" else None

    def of_kind(labels, rows):
        if kind != "numbers":
            labels = np.array([f"class {label}" for label in labels])
        return np.where(rows, labels, ignored).astype(dtype or labels.dtype)

    kept = {size: np.arange(size) % 5 != 1 for size in (40, 30)}

    def more(values):
        if values is LABELS or values is GALLERY_LABELS:
            return of_kind(values, kept[len(values)])
        return values

    def fewer(values):
        return more(values)[kept[len(values)]]

    found = measure(**arguments(name, more, more), ignore_label=ignored)
    right = measure(**arguments(name, fewer, fewer))
    for one, other in zip(numbers(found), numbers(right)):
        np.testing.assert_array_equal(one, other)
    if name == "retrieval":
        where = np.flatnonzero(kept[40])
        np.testing.assert_array_equal(found.queries, where[right.queries])
    if name in ("measure_seen", "measure_unseen"):
        for key, column in found.per_query.items():
            assert np.isnan(column[~kept[40]]).all()
            np.testing.assert_array_equal(column[kept[40]], right.per_query[key])


@every
def test_ignoring_everything_or_another_kind_is_refused(name):
    measure = SAMPLES[name][0]
    with pytest.raises(ValueError, match="labels` must have a label besides.*Received"):
        measure(
            **arguments(name, *[lambda x: x * 0 if x.ndim == 1 else x] * 2),
            ignore_label=0,
        )
    with pytest.raises(ValueError, match="of the labels' kind.*Received.*int64"):
        measure(**arguments(name), ignore_label="none")


def sentence(labels):
    """What a loss says of one-hot labels."""
    with pytest.raises(ValueError) as error:
        MultiSimilarity()(labels, ROWS[: len(labels)])
    return str(error.value).split("must have the shape")[1]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        (name, side)
        for name, (_, queries, gallery) in SAMPLES.items()
        for side, words in (("queries", queries), ("gallery", gallery))
        if words
    ],
)
def test_one_hot_labels_get_the_sentence_of_the_losses(name, side):
    measure = SAMPLES[name][0]

    def changed(values):
        is_labels = values is LABELS or values is GALLERY_LABELS
        return np.eye(4)[values] if is_labels else values

    given = (
        arguments(name, changed)
        if side == "queries"
        else arguments(name, of_gallery=changed)
    )
    with pytest.raises(ValueError) as error:
        measure(**given)
    count = 40 if side == "queries" else 30
    shown = str(error.value)
    assert shown.split("must have the shape")[1] == sentence(np.eye(4)[LABELS]).replace(
        "(40, 4)", f"({count}, 4)"
    )
    assert shown.startswith("`") and "labels`" in shown.split(" must")[0]


@every
def test_a_column_of_labels_and_a_tensor_are_labels(name):
    measure = SAMPLES[name][0]

    def column(values):
        return values if values.ndim > 1 else tf.constant(values[:, None])

    found = measure(**arguments(name, column, column))
    for one, other in zip(numbers(found), numbers(measure(**arguments(name)))):
        np.testing.assert_array_equal(one, other)


def test_the_command_says_it_of_a_file(tmp_path, capsys):
    path = tmp_path / "rows.npz"
    np.savez(path, embeddings=ROWS, labels=np.eye(4)[LABELS])
    assert command.main([str(path), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "not one-hot rows" in said and "(40, 4)" in said
