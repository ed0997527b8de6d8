"""From which score on a query is known."""

import numpy as np
import pytest

from tfembed.export.run_directory import (
    NEVER_UNKNOWN,
    Queries,
    make_gallery,
    make_queries,
)
from tfembed.export.threshold import best_scores, choose_threshold, rows_searched


def unit(rng, size, dim=8):
    rows = rng.normal(size=(size, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def a_gallery(rng, size=300, **settings):
    arrays = {
        "embeddings": unit(rng, size),
        "labels": np.arange(size) % 3,
        "ids": np.array([str(row) for row in range(size)]),
    }
    return make_gallery({**arrays, **settings})


@pytest.mark.parametrize("share", [None, 0.0, 0.2])
def test_rejects_the_share_of_held_out_queries(rng, share):
    gallery = a_gallery(rng)
    queries = make_queries(unit(rng, 400), "held-out.npz")
    chosen = choose_threshold(gallery, queries, false_rejection=share)
    best = (queries.embeddings @ gallery.embeddings.T).max(axis=1)
    wanted = 0.05 if share is None else share
    assert (best < chosen.value).mean() == pytest.approx(wanted, abs=1 / 400)
    assert chosen.false_rejection == (best < chosen.value).mean()
    assert chosen.queries == 400 and "held-out.npz" in chosen.calibrated_on


def test_queries_of_other_classes_are_not_genuine(rng):
    gallery = a_gallery(rng)
    rows = np.concatenate([unit(rng, 100), -gallery.embeddings[:100]])
    labels = np.repeat([1, 7], 100)
    mixed = make_queries({"embeddings": rows, "labels": labels})
    genuine = make_queries(rows[:100])
    assert choose_threshold(gallery, mixed).queries == 100
    assert (
        choose_threshold(gallery, mixed).value
        == choose_threshold(gallery, genuine).value
    )


def test_queries_with_names_are_genuine_by_name(rng):
    gallery = a_gallery(rng, class_names=np.array(["a", "b", "c"]))
    known = np.isin(np.arange(200) % 4, np.unique(gallery.labels))
    embeddings = unit(rng, 200)
    numbers = Queries(embeddings, np.arange(200) % 4, "numbers")
    names = Queries(embeddings, np.array(["a", "b", "c", "d"])[np.arange(200) % 4], "")
    one, other = (choose_threshold(gallery, each) for each in (numbers, names))
    assert (one.value, one.queries) == (other.value, other.queries)
    assert one.queries == known.sum()


def test_a_threshold_is_no_higher_than_the_best_score_there_is(rng):
    gallery = a_gallery(rng, known_threshold=1.0000002)
    rows = gallery.embeddings * np.float32(1.0000004)
    queries = Queries(rows, None, "the gallery itself")
    assert choose_threshold(gallery, queries).value == 1.0
    calibrated = choose_threshold(gallery, queries, false_rejection=0.05)
    assert calibrated.value == 1.0 and calibrated.false_rejection == 0.0
    assert choose_threshold(gallery, queries, threshold=1.5).value == 1.5


def test_without_queries_rows_of_the_gallery_without_themselves(rng):
    gallery = a_gallery(rng)
    chosen = choose_threshold(gallery)
    scores = gallery.embeddings @ gallery.embeddings.T
    np.fill_diagonal(scores, -np.inf)
    best = scores.max(axis=1)
    assert chosen.value == pytest.approx(np.quantile(best, 0.05), abs=1e-6)
    assert chosen.value < 0.999 and chosen.queries == 300
    assert "searched among the others" in chosen.calibrated_on


def test_the_file_s_own_threshold_is_kept_and_measured(rng):
    gallery = a_gallery(rng, known_threshold=0.9)
    chosen = choose_threshold(gallery)
    assert chosen.value == pytest.approx(0.9) and "file" in chosen.calibrated_on
    assert 0 < chosen.false_rejection < 1
    assert choose_threshold(gallery, false_rejection=0.05).value != chosen.value
    given = choose_threshold(gallery, threshold=0.25)
    assert (given.value, given.calibrated_on) == (0.25, "given, not calibrated")


def test_one_row_calibrates_nothing(rng):
    chosen = choose_threshold(a_gallery(rng, size=1))
    assert chosen.value == NEVER_UNKNOWN and "one row" in chosen.calibrated_on


def test_best_scores_in_parts(rng, monkeypatch):
    monkeypatch.setattr("tfembed.export.threshold._ROWS", 7)
    rows, queries = unit(rng, 50), unit(rng, 9)
    np.testing.assert_allclose(
        best_scores(queries, rows), (queries @ rows.T).max(axis=1), rtol=1e-6
    )
    own = np.array([0, 6, 7, 49])
    scores = rows[own] @ rows.T
    scores[np.arange(4), own] = -2
    np.testing.assert_allclose(
        best_scores(rows[own], rows, own), scores.max(axis=1), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.5, "false_rejection": 0.1}, "not both"),
        ({"threshold": np.nan}, "finite number"),
        ({"threshold": "0.5"}, "must be a finite number"),
        ({"false_rejection": 1.0}, "of at least 0 and below 1"),
        ({"false_rejection": -0.1}, "of at least 0 and below 1"),
        ({"false_rejection": True}, "must be a number"),
    ],
)
def test_bad_options(rng, options, message):
    with pytest.raises(ValueError, match=message):
        choose_threshold(a_gallery(rng), **options)


@pytest.mark.parametrize("alone", [True, False])
def test_held_out_rows_are_genuine_if_their_class_has_another_row(rng, alone):
    """Far away, each in a class of its own, they say nothing of genuine queries."""
    size = 40
    rows = unit(rng, size, 64)
    near = np.float32(rows[0] + 0.1 * rows[:30])
    rows[:30] = near / np.linalg.norm(near, axis=1, keepdims=True)
    labels = np.where(np.arange(size) < 30, 0, np.arange(size) if alone else -1)
    gallery = make_gallery(
        {
            "embeddings": rows,
            "labels": labels,
            "ids": np.array([str(row) for row in range(size)]),
        }
    )
    counted = 30 if alone else size
    scores = rows @ rows.T
    np.fill_diagonal(scores, -1)
    best = scores.max(axis=1)[:counted]
    chosen = choose_threshold(gallery)
    assert chosen.queries == counted
    assert chosen.value == pytest.approx(np.quantile(best, 0.05), abs=1e-6)


def test_where_each_row_is_a_class_of_its_own_all_count(rng):
    gallery = a_gallery(rng, 50, labels=np.arange(50))
    assert choose_threshold(gallery).queries == 50


@pytest.mark.parametrize(
    ("size", "rows"),
    [(300, 1000), (10**6, 1000), (2 * 10**6, 500), (5 * 10**6, 200), (10**8, 200)],
)
def test_of_a_large_gallery_fewer_rows_are_searched(size, rows):
    assert rows_searched(size) == rows
