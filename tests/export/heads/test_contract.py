"""The trial of heads: ours pass, and each thing that one can get wrong is told."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.export import Head, HeadState, check_head
from tfembed.export.heads import HEADS, build_head, exact, load_head, trait


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dim", [3, 16, 40])
def test_our_heads_pass(name, dim):
    check_head(name, dim=dim)


class Whole(Head):
    """All rows, by the simplest means."""

    exact = True

    def search(self, variables, queries, k):
        rows = tf.convert_to_tensor(variables["gallery_embeddings"])
        scores = tf.matmul(queries, rows, transpose_b=True)
        return tf.math.top_k(scores, tf.minimum(k, tf.shape(rows)[0]))


class Halves(Whole):
    """The first half of each row's numbers only, where that may be off so far."""

    exact, tolerance = False, 2.0

    def build(self, embeddings, **options):
        half = np.float32(embeddings).copy()
        half[:, half.shape[1] // 2 :] = 0
        return HeadState({"gallery_embeddings": half}, {"halved": True})


@pytest.mark.parametrize("head", [Whole, Whole(), Halves], ids=["class", "object", "2"])
def test_a_head_of_two_methods_passes(head):
    check_head(head)


class Missing(Whole):
    """Every seventh row is never found."""

    def search(self, variables, queries, k):
        rows = tf.convert_to_tensor(variables["gallery_embeddings"])
        size = tf.shape(rows)[0]
        scores = tf.matmul(queries, rows, transpose_b=True)
        lost = (tf.range(size) % 7 == 6) & (size > 6)
        scores, found = tf.math.top_k(
            tf.where(lost, -np.inf, scores), tf.minimum(k, size)
        )
        return scores, tf.where(scores > -np.inf, found, -1)


class Found(Missing):
    """As `Missing`, and does not say otherwise."""

    exact = False


class Few(Whole):
    """One row, whatever is asked for."""

    exact = False

    def search(self, variables, queries, k):
        scores, rows = super().search(variables, queries, k)
        there = tf.range(tf.shape(rows)[1]) < 1
        return tf.where(there, scores, -np.inf), tf.where(there, rows, -1)


class Late(Whole):
    """The last of equal rows come first."""

    def search(self, variables, queries, k):
        rows = tf.convert_to_tensor(variables["gallery_embeddings"])
        scores = tf.matmul(queries, rows[::-1], transpose_b=True)
        scores, found = tf.math.top_k(scores, tf.minimum(k, tf.shape(rows)[0]))
        return scores, tf.shape(rows)[0] - 1 - found


class Last(Late):
    """The last of equal rows, in their order."""

    def search(self, variables, queries, k):
        rows = tf.sort(super().search(variables, queries, k)[1])
        scores, places = tf.math.top_k(
            self.pairs(variables, queries, rows), tf.shape(rows)[1]
        )
        return scores, tf.gather(rows, places, batch_dims=1)


class Twice(Whole):
    """The nearest row, again and again."""

    def search(self, variables, queries, k):
        scores, rows = super().search(variables, queries, k)
        first = tf.zeros_like(rows)
        return tf.gather(scores, first, batch_dims=1), tf.gather(
            rows, first, batch_dims=1
        )


class Wrong(Whole):
    """All else that a method can do wrong, one at a time."""

    def __init__(self, **methods):
        for name, method in methods.items():
            setattr(
                self, name, lambda *a, _m=method, **k: _m(super(Wrong, self), *a, **k)
            )


def _pairs(change):
    return {"pairs": lambda head, *given: change(head.pairs(*given))}


def _stored(change):
    return {"stored": lambda head, *given: change(*head.stored(*given))}


def _built(change):
    def build(head, embeddings, **options):
        built = head.build(embeddings, **options)
        return change(built, embeddings)

    return {"build": build}


def _of_its_rows(built, embeddings):
    size = np.zeros((4, len(embeddings)), np.float32)
    return HeadState({**built.arrays, "other": size}, built.card)


WRONG = {
    "finds fewer": (Missing(), "`search` of an exact head are off"),
    "finds one": (Few(), r"`search` finds \d+% of the 10 nearest"),
    "equals upside down": (Late(), "equal ones by row"),
    "last of equals": (Last(), "lowest of rows with equal scores"),
    "a row twice": (Twice(), "each once"),
    "search of int64": (
        Wrong(search=lambda h, *g: [tf.cast(e, tf.int64) for e in h.search(*g)]),
        "`search` must return float32, int32 and returns int64, int64",
    ),
    "too many": (
        Wrong(search=lambda h, v, q, k: [e[:, :k] for e in h.search(v, q, k + 1)][:1]),
        "`search` must return float32, int32 and returns float32",
    ),
    "one too few": (
        Wrong(search=lambda h, *g: [e[:, 1:] for e in h.search(*g)]),
        r"gives scores \(9, 0\)",
    ),
    "unsorted": (
        Wrong(search=lambda h, *g: [e[:, ::-1] for e in h.search(*g)]),
        "largest scores first",
    ),
    "scores of its own": (
        Wrong(search=lambda h, *g: [h.search(*g)[0] / 2, h.search(*g)[1]]),
        "scores of `search` are off",
    ),
    "pairs of nothing": (
        Wrong(**_pairs(lambda scores: tf.maximum(scores, -2.0))),
        "-inf where a row is negative",
    ),
    "pairs off": (Wrong(**_pairs(lambda s: s + 0.001)), "`pairs` are off"),
    "pairs of float64": (
        Wrong(**_pairs(lambda scores: tf.cast(scores, tf.float64))),
        "`pairs` must return float32 and returns float64",
    ),
    "rows lost": (
        Wrong(**_stored(lambda e, rows: (e, tf.where(rows == 3, -1, rows)))),
        "each row of the gallery once",
    ),
    "rows moved": (
        Wrong(**_stored(lambda e, rows: (tf.roll(e, 1, 0), rows))),
        "other embeddings of a row",
    ),
    "rows in another order": (
        Wrong(
            stored=lambda h, v, start, count: (
                tf.convert_to_tensor(v["gallery_embeddings"])[::-1][
                    start : start + count
                ],
                (
                    tf.shape(v["gallery_embeddings"])[0]
                    - 1
                    - tf.range(start, start + count)
                ),
            )
        ),
        "equal rows in ascending order",
    ),
    "no columns": (
        Wrong(score_columns=lambda h, v: tf.constant(0)),
        "`score_columns` must be a scalar int32",
    ),
    "count as int64": (
        Wrong(stored_count=lambda h, v: tf.cast(h.stored_count(v), tf.int64)),
        "`stored_count` must be a scalar int32",
    ),
    "no state": (
        Wrong(**_built(lambda built, e: built.arrays)),
        "must return a tfembed.export.HeadState.*Received: a dict, of",
    ),
    "lists": (
        Wrong(**_built(lambda b, e: HeadState({"gallery_embeddings": [1.0]}, {}))),
        "Received: the arrays gallery_embeddings",
    ),
    "odd names": (
        Wrong(**_built(lambda b, e: HeadState({**b.arrays, "a/b": e}, b.card))),
        "Received: the arrays a/b",
    ),
    "card of arrays": (
        Wrong(**_built(lambda b, e: HeadState(b.arrays, {"mean": e.mean(0)}))),
        "a card of which JSON says",
    ),
    "arrays as wide as the gallery": (
        Wrong(**_built(_of_its_rows)),
        "only their first dimension may depend on the rows",
    ),
    "no head": (3, "Received: 'int', a int without build, search"),
    "a function": (print, "without build, search"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_head_gets_wrong_is_told(what):
    head, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        check_head(head)


def test_a_head_without_a_search_says_so():
    class Nothing(Head):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must define `search"):
        check_head(Nothing)


def test_one_that_does_not_say_that_it_is_exact_may_miss_rows():
    check_head(Found())


def test_recall_is_measured_by_searching(rng):
    gallery = rng.standard_normal((70, 8)).astype(np.float32)
    queries = rng.standard_normal((40, 8)).astype(np.float32)
    card = Found().build(gallery, queries=queries, k=5).card
    wanted = np.argsort(-queries.astype(np.float64) @ gallery.T, axis=1)[:, :5]
    found = (wanted % 7 != 6).mean()
    assert card["recall_at_k"] == pytest.approx(found) and found < 1
    assert card["recall_queries_are"] == "given" and card["recall_k"] == 5
    own = Found().build(gallery, k=5).card  # each without itself, found or not
    assert own["recall_queries"] == 35 and 0.5 < own["recall_at_k"] < 1
    assert Found().build(gallery[:1]).card["recall_at_k"] is None


def test_the_name_stands_first_in_the_card(rng):
    gallery = rng.standard_normal((5, 8)).astype(np.float32)
    built = build_head("exact", gallery)
    assert list(built.card)[0] == "head" and built.card["head"] == "exact"


def test_traits_are_what_heads_say_of_themselves():
    traits = {name: trait(load_head(name), "exact") for name in HEADS}
    assert [name for name in HEADS if traits[name]] == ["exact"]
    assert trait(load_head("bfloat16"), "tolerance") == 2.0**-8
    assert trait(exact, "tolerance") == Head.tolerance == 1e-5
    assert trait(load_head("ivf"), "carries") == ("ivf_centroids",)
    assert trait(Head(), "kept") is None
