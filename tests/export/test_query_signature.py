"""The signature `query`: least scores, rows per label and examples, by brute force."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf
from query_oracle import Question, answer, as_inputs, direction
from twin_gallery import (
    DIM,
    NAMES,
    SHAPE,
    K,
    kept,
    make_gallery_of,
    make_model,
    model_of,
    queries,
)

from tfembed.export.examples import MOST
from tfembed.export.gallery_state import gallery_state
from tfembed.export.heads import HEADS, load_head
from tfembed.export.query_search import what_is_exact

# Those whose every answer is brute force over the rows that they keep or look at.
ASKED = ["exact", "bfloat16", "int8", "ivf"]


@pytest.fixture(params=ASKED)
def served(request):
    """A model, its gallery, its rows and what its head keeps."""
    return model_of(request.param)


def ask(model, inputs):
    found = model.query(*(tf.constant(value) for value in inputs.values()))
    return {name: value.numpy() for name, value in found.items()}


def looked_at(arrays, query, size, wanted):
    """Which rows the head looks at where nothing asks for all of them."""
    if "ivf_centroids" not in arrays:
        return np.ones(size, bool)
    starts, sizes = arrays["ivf_starts"], arrays["ivf_sizes"]
    order = np.argsort(-(arrays["ivf_centroids"].astype(np.float64) @ query))
    rows = np.zeros(size, bool)
    for rank, cell in enumerate(order):
        if rank >= arrays["ivf_probes"] and rows.sum() >= wanted:
            break
        some = arrays["ivf_rows"][starts[cell] : starts[cell + 1]].ravel()
        rows[some[some >= 0]] = True
    assert rows.sum() >= sizes[order[: arrays["ivf_probes"]]].sum()
    return rows


def assert_as_brute_force(served, questions, found):
    model, gallery, stored, arrays = served
    names = np.array([*gallery.class_names, ""])
    lengths = []
    for place, question in enumerate(questions):
        query = direction(question, gallery, stored)
        wanted = max(K, gallery.vote_k) + MOST
        counts = looked_at(arrays, query, gallery.size, min(wanted, gallery.size))
        rows, scores, shares = answer(question, gallery, stored, K, counts)
        rest = K - len(rows)
        assert found["problem"][place] == b""
        assert found["valid"][place]
        ids = [name.decode() for name in found["ids"][place]]
        assert ids == [*gallery.ids[rows], *[""] * rest], question
        labels = [name.decode() for name in found["labels"][place]]
        assert labels == [*names[gallery.labels[rows]], *[""] * rest]
        np.testing.assert_allclose(
            found["scores"][place], [*scores, *[0] * rest], atol=2e-6
        )
        share = found["vote_probability"][place]
        assert share == pytest.approx(shares.max(), abs=1e-4)
        vote = names[shares.argmax()] if shares.any() else ""
        assert found["vote"][place].decode() == vote
        best = scores[0] if len(rows) else -np.inf
        assert found["known"][place] == (best >= gallery.known_threshold)
        lengths.append(len(rows))
    return lengths


def drawn(rng, gallery):
    """A question with some of all that can be asked."""

    def sometimes(value, other, share=0.4):
        return value if rng.random() < share else other

    def ids(most):
        return rng.choice(gallery.ids, rng.integers(1, most), replace=False).tolist()

    with_query = rng.random() < 0.6
    positive_ids = sometimes(ids(4), [], 0.4 if with_query else 1)
    return Question(
        query=rng.normal(size=DIM).astype(np.float32) if with_query else None,
        positive_ids=positive_ids,
        negative_ids=sometimes(ids(4), []),
        positive_embeddings=sometimes(rng.normal(size=(2, DIM)), ()),
        negative_embeddings=sometimes(rng.normal(size=(1, DIM)) * 1e9, ()),
        negative_weight=float(np.float32(rng.choice([0.2, 0.5, 1.0]))),
        min_score=sometimes(float(np.float32(rng.uniform(-0.2, 1.0))), -1.0),
        per_label=sometimes(int(rng.integers(1, K + 2)), 2**31 - 1),
        filters={
            "allow_ids": sometimes(ids(60), [], 0.15),
            "exclude_ids": sometimes(ids(300), [], 0.15),
            "allow_labels": sometimes(NAMES[: rng.integers(1, 4)], [], 0.15),
            "exclude_labels": sometimes([NAMES[rng.integers(4)]], [], 0.15),
        },
    )


def test_every_head_is_brute_force(served, rng):
    """One test, because a graph is optimised anew in each."""
    questions_of_all_kinds_in_one_batch(served, rng)
    with_hostile_gallery(served, a_label_that_holds_the_first_thousands_of_ranks)


def questions_of_all_kinds_in_one_batch(served, rng):
    """And each as it is answered alone; and where nothing is asked, as `search`."""
    model, gallery = served[:2]
    questions = [drawn(rng, gallery) for _ in range(80)]
    together = ask(model, as_inputs(questions, DIM))
    lengths = assert_as_brute_force(served, questions, together)
    assert {0, K} < set(lengths)
    for place, question in enumerate(questions[:20]):
        alone = ask(model, as_inputs([question], DIM))
        for name, values in alone.items():
            if values.dtype == np.float32:
                np.testing.assert_allclose(values[0], together[name][place], atol=1e-6)
            else:
                np.testing.assert_array_equal(values[0], together[name][place])
    vectors = 3 * queries(4)
    found = ask(model, as_inputs([Question(each) for each in vectors], DIM))
    for name, value in model.search(vectors).items():
        np.testing.assert_array_equal(found[name], value)
    assert ask(model, as_inputs([], DIM))["ids"].shape == (0, K)


def hostile_gallery(by_label=False):
    """One label has the first thousands of ranks of a query, another the next."""
    rng = np.random.default_rng(1)
    parts = [(0, 2500, 0.2), (1, 900, 0.9), (-1, 2, 1.2), (2, 300, 1.4), (3, 40, 2.0)]
    parts += [(4, 1, 3.0), (-1, 20, 4.0), (0, 100, 6.0)]
    rows, labels = [], []
    for label, count, away in parts:
        some = rng.normal(size=(count, DIM - 1))
        some /= np.linalg.norm(some, axis=1, keepdims=True)
        some *= rng.uniform(away, 1.1 * away, (count, 1))
        rows.append(np.hstack([np.ones((count, 1)), some]))
        labels += [label] * count
    rows = np.concatenate(rows)
    rows[7] = rows[8] = rows[2510]  # ties between labels
    order = np.arange(len(rows)) if by_label else rng.permutation(len(rows))
    return make_gallery_of(rows[order], np.array(labels)[order])


def with_hostile_gallery(served, check):
    """Checks the model with the hostile gallery in the place of its own."""
    model, gallery, _, arrays = served
    head = next(name for name in ASKED if model_of(name)[0] is model)
    other = hostile_gallery()
    state = load_head(head).build(other.embeddings)

    def put(gallery, state):
        for name, value in gallery_state(gallery, state).items():
            model.gallery_variables[name].assign(tf.constant(value))

    put(other, state)
    try:
        check(model, other, kept(other, head), state.arrays)
    finally:
        put(gallery, dataclasses.replace(state, arrays=arrays))


def hostile_questions():
    middle = np.eye(DIM, dtype=np.float32)[0]
    return [
        Question(middle + 0.02 * noise, per_label=limit, filters=filters)
        for limit, noise in zip((1, 2, 3, 5, 6, 1, 1, 2), queries(8))
        for filters in ({}, {"exclude_labels": ["blau"]})
    ] + [Question(middle, per_label=1, filters={"allow_labels": NAMES[:4]})]


def a_label_that_holds_the_first_thousands_of_ranks(*hostile):
    model, gallery, stored, _ = hostile
    questions = hostile_questions()
    ranks = np.argsort(-(stored.astype(np.float64) @ np.eye(DIM)[0]), kind="stable")
    assert (gallery.labels[ranks[:2400]] == 0).all()
    found = ask(model, as_inputs(questions, DIM))
    lengths = assert_as_brute_force(hostile, questions, found)
    assert lengths == [K] * (len(questions) - 1) + [4]


def test_the_card_says_of_each_head_what_is_exact():
    said = {name: what_is_exact(name) for name in HEADS}
    assert said["exact"] == "all that is asked" and "rounded" in said["bfloat16"]
    assert len(set(said.values())) == len(HEADS) and "cells" in said["ivf"]
    assert "rounded" in said["int8"] and "candidates" in said["int8_bfloat16"]


def test_a_small_bound_of_memory_changes_nothing(rng):
    """The gallery comes in ranges, many of one label, some of hundreds of several."""
    gallery = hostile_gallery(by_label=True)
    served = make_model("exact", max_score_bytes=1 << 14, gallery=gallery)
    questions = [*hostile_questions()[:6], *(drawn(rng, served[1]) for _ in range(10))]
    found = ask(served[0], as_inputs(questions, DIM))
    assert_as_brute_force(served, questions, found)


BAD = [
    (dict(min_score=np.nan), "`min_score` must be from -1 to 1.*Received: nan"),
    (dict(min_score=1.5), "Received: 1.5."),
    (dict(per_label=0), "`per_label` must be at least 1.*Received: 0."),
    (dict(per_label=-3), "Received: -3."),
    (dict(negative_weight=np.inf), "`negative_weight` must be from 0.*: inf."),
    (dict(negative_weight=-0.1), "Received: -0.1"),
    (dict(embeddings=[np.nan] * DIM), "`embeddings` must be finite"),
    (dict(embeddings=[0.0] * DIM), "an embedding or a positive .*Received: none."),
    (dict(image_bytes=b"junk"), "`image_bytes` must be a JPEG, PNG, GIF or BMP"),
    (dict(exclude_ids=b"a\\x"), "`exclude_ids` must be lines. Received: a backsl"),
    (dict(negative_ids=b"end\\"), "`negative_ids` must be lines"),
    (
        dict(positive_ids="id 1 ä\nnone\nnone 2".encode()),
        "`positive_ids` must be ids of the gallery. Received: 'none', which it does",
    ),
    (dict(negative_ids=b"\xff\xfe" + b"x" * 999), "'\ufffd\ufffdx{98}', which"),
    (dict(positive_embeddings=b"1234567"), "8 for each example. Received: 7 bytes"),
    (
        dict(negative_embeddings=np.full(DIM, np.inf, "<f4").tobytes()),
        "`negative_embeddings` must be finite, and of a length above 0",
    ),
    (
        dict(positive_embeddings=np.zeros(DIM, "<f4").tobytes()),
        "`positive_embeddings` must be finite, and of a length above 0",
    ),
    (
        dict(positive_ids="\n".join(["id 1 ä"] * (MOST + 1)).encode()),
        f"at most {MOST} examples, positive and negative together. Received: 65.",
    ),
    (
        dict(
            positive_ids="\n".join(["id 1 ä"] * MOST).encode(),
            negative_embeddings=np.ones(DIM, "<f4").tobytes(),
        ),
        f"at most {MOST} examples, positive and negative together. Received: 65.",
    ),
    (
        dict(
            embeddings=[0.0] * DIM,
            positive_ids="id 1 ä".encode(),
            negative_ids="id 1 ä".encode(),
            negative_weight=1.0,
        ),
        "must leave a direction. Received: some that cancel",
    ),
    (
        dict(embeddings=[0.0] * DIM, negative_ids="id 1 ä".encode()),
        "or a positive example. Received: none.",
    ),
]


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


@pytest.fixture(scope="module")
def mixed():
    """One request with good rows of several kinds, and the bad ones between them.

    (A graph is optimised anew in each test.)
    """
    served = model_of("exact")
    model, gallery = served[:2]
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    seen = (pixels.reshape(3, -1) - 127.5).astype(np.float32)
    ids = gallery.ids.tolist()
    unlabelled = gallery.ids[gallery.labels < 0].tolist()
    questions = {
        "image": Question(seen[0], min_score=0.4),
        "image and ids": Question(seen[1], negative_ids=ids[:2]),
        "image and embedding": Question(queries(1)[0], positive_embeddings=seen[2:]),
        "plain": Question(queries(2)[1], per_label=1),
        "without labels": Question(
            queries(1)[0], per_label=1, filters={"allow_ids": unlabelled}
        ),
        "most": Question(
            positive_ids=[*ids[: MOST - 9], ids[0]], negative_ids=ids[100:108]
        ),
    }
    good = Question(queries(1)[0], per_label=2, min_score=0.1)
    every = [*questions.values(), *[good] * len(BAD), good]
    inputs = as_inputs(every, DIM)
    for row, each in enumerate(pixels):
        inputs["image_bytes"][row] = png(each)
    inputs["embeddings"][:2] = 0
    inputs["positive_embeddings"][2] = b""
    for row, (changes, _) in enumerate(BAD, len(questions)):
        for name, value in changes.items():
            inputs[name][row] = value
    return served, questions, good, ask(model, inputs)


def parts(found, rows):
    return {name: value[rows] for name, value in found.items()}


def test_images_are_positive_examples(mixed):
    served, questions, _, found = mixed
    assert list(questions)[:3] == ["image", "image and ids", "image and embedding"]
    assert_as_brute_force(served, list(questions.values())[:3], found)


def test_rows_without_a_label_are_not_limited(mixed):
    served, questions, _, found = mixed
    row = list(questions).index("without labels")
    found = parts(found, [row])
    question = questions["without labels"]
    assert question.per_label == 1 and set(found["labels"].ravel()) == {b""}
    assert assert_as_brute_force(served, [question], found) == [K]


def test_what_is_wrong_is_said_in_its_own_row(mixed):
    served, questions, good, found = mixed
    bad = parts(found, slice(len(questions), -1))
    for said, (_, sentence) in zip(bad["problem"], BAD):
        assert re.search(sentence, said.decode()), said
    assert len(bad["valid"]) == len(BAD) and not bad["valid"].any()
    assert not bad["known"].any() and not bad["scores"].any()
    assert not bad["vote_probability"].any()
    for name in ("ids", "labels", "vote"):
        assert set(bad[name].ravel()) == {b""}
    assert_as_brute_force(served, [*questions.values()], found)
    assert_as_brute_force(served, [good], parts(found, [-1]))
