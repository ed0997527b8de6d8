"""Lists as text: any bytes come back, and what is no such text harms no other row."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.export.text_lists import read_lists, write_lines

PIECES = [b"\\", b"\n", b"n", b"b", b"\\n", b"\xff", b"\0", b"\r", "ä".encode(), b"x y"]


@pytest.fixture(scope="module")
def read():
    """Reads texts in a graph, as lists of bytes."""
    graph = tf.function(
        lambda texts: read_lists(texts), [tf.TensorSpec([None], tf.string)]
    )

    def call(texts):
        lists, readable = graph(tf.constant(texts, tf.string, [len(texts)]))
        return lists.to_list(), readable.numpy().tolist()

    return call


def drawn(rng, most):
    """Some bytes."""
    return b"".join(PIECES[each] for each in rng.integers(0, 10, rng.integers(0, most)))


def written(entries):
    """A list as text."""
    return b"\n".join(
        each.replace(b"\\", b"\\\\").replace(b"\n", b"\\n") for each in entries
    )


def entries_of(text):
    """Reads a text a byte at a time; None where it cannot be."""
    entries, at = [b""], 0
    while at < len(text):
        one = text[at : at + 1]
        at += 1
        if one == b"\n":
            entries.append(b"")
            continue
        if one == b"\\":
            one = {b"\\": b"\\", b"n": b"\n"}.get(text[at : at + 1])
            at += 1
            if one is None:
                return None
        entries[-1] += one
    return entries


def test_any_list_comes_back(rng, read):
    lists = [[drawn(rng, 9) for _ in range(rng.integers(1, 7))] for _ in range(300)]
    assert read([written(each) for each in lists]) == (lists, [True] * 300)


def test_texts_of_all_kinds(rng, read):
    texts = [drawn(rng, 12) for _ in range(600)]
    lists, readable = read(texts)
    wanted = [entries_of(text) for text in texts]
    assert readable == [each is not None for each in wanted]
    assert 100 < sum(readable) < 500
    for given, each in zip(lists, wanted):
        assert each is None or given == each


def test_none_and_without_escapes(read):
    assert read([]) == ([], [])
    assert read(["", "a", "b\nc\n"]) == ([[b""], [b"a"], [b"b", b"c", b""]], [True] * 3)


def test_lines_are_written_in_order():
    texts = write_lines(tf.constant(["1", "", "2", ""]), tf.constant([0, 0, 2, 2]), 4)
    assert texts.numpy().tolist() == [b"1\n", b"", b"2\n", b""]
    none = write_lines(tf.constant([], tf.string), tf.constant([], tf.int64), 0)
    assert none.shape == (0,)


def test_thousands_of_ids(read):
    ids = [[b"folder/%d.png" % number for number in range(20000)], [b"one"]]
    assert read([written(each) for each in ids])[0] == ids


def test_scores_are_told_to_the_last_bit(rng):
    """As `score_lines` writes them."""
    scores = rng.uniform(-1, 1, 5000).astype(np.float32)
    texts = tf.strings.as_string(scores, precision=9, shortest=True).numpy()
    assert np.array([float(each) for each in texts], np.float32).tolist() == (
        scores.tolist()
    )
