"""Candidates by the first numbers of a row: how many, and what is found."""

import argparse

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfembed.export import add_search_flags, check_options, search_options
from tfembed.export.heads import build_head, prefix


def rows_of(rng, count, dim=16):
    """Unit rows most of whose length is in their first numbers."""
    rows = rng.standard_normal((count, dim)) / np.arange(1, dim + 1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def found(state, queries, k=10):
    variables = {name: tf.Variable(array) for name, array in state.arrays.items()}
    return tf.function(lambda q: prefix.search(variables, q, k))(queries)[1].numpy()


def test_other_queries_reach_the_recall_with_few_candidates(rng):
    rows, others = rows_of(rng, 2000), rows_of(rng, 300)
    state = build_head("prefix", rows, {"numbers": 8}, recall=0.9)
    card = state.card
    assert card["numbers"] == 8 and 128 <= card["candidates"] < 2000
    assert card["recall_at_k"] >= 0.9 and card["options"] == {"numbers": 8}
    wanted = oracles.top_k(others, rows, 10)[1]
    hits = np.mean([np.isin(w, f) for w, f in zip(wanted, found(state, others))])
    assert hits >= 0.88
    more = prefix.build(rows, numbers=1, queries=others, recall=0.9).card["candidates"]
    assert card["candidates"] < more


def test_prefixes_are_compared_by_their_cosines():
    """The row whose prefix is longer, and points elsewhere, is no candidate."""
    rows = np.float32([[0.9, 0.4, 0.17], [0.1, 0.0, 0.99], [0.8, -0.6, 0.0]])
    rows = np.repeat(rows, [200, 1, 200], axis=0)
    state = prefix.build(rows, numbers=2, candidates=1, k=1)
    assert found(state, np.float32([[1.0, 0.0, 0.0]]), 1).tolist() == [[0]]
    queries = np.float32([[0.1, 0.0, 0.99]])
    assert found(state, queries, 1).tolist() == [[200]]


def test_what_is_not_reached_is_said(rng):
    lines = []
    rows = rows_of(rng, 2000)
    options = {"numbers": 1, "candidates": 20}
    state = build_head("prefix", rows, options, recall=0.99, progress=lines.append)
    assert state.card["candidates"] == 20 and state.card["recall_at_k"] < 0.99
    assert "less than the 0.99" in state.card["note"]
    assert any(state.card["note"] in line for line in lines)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"numbers": 17}, "from 1 to 16.*Received: numbers=17"),
        ({"numbers": 0}, "`numbers` must be a positive integer"),
        ({"candidates": "many"}, "`candidates` must be a positive integer"),
        ({"probes": 3}, "takes the options numbers, candidates. Received: probes"),
    ],
)
def test_bad_options_are_refused(given, words, rng):
    with pytest.raises(ValueError, match=words):
        build_head("prefix", rows_of(rng, 20), given)


def test_heads_without_options_take_none(rng):
    with pytest.raises(ValueError, match="'exact' takes no options. Received: numbers"):
        build_head("exact", rows_of(rng, 20), {"numbers": 4})
    with pytest.raises(ValueError, match="'auto' takes no options"):
        check_options("auto", head_options={"numbers": 4})


def test_the_flag_gives_numbers_and_words(capsys):
    parser = argparse.ArgumentParser()
    add_search_flags(parser)
    words = ["--head-option", "numbers=32", "--head-option", "kind=a"]
    given = search_options(parser.parse_args(words))["head_options"]
    assert given == {"numbers": 32, "kind": "a"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--head-option", "numbers"])
    assert "NAME=VALUE. Received: 'numbers'" in capsys.readouterr().err
