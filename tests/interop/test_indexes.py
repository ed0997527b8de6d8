"""Index files of FAISS, NMSLIB and TensorFlow Similarity, against brute force."""

import os
import sys

import numpy as np
import pytest

from tfembed import interop

SIZE, DIM, K = 200, 12, 6
KINDS = ["faiss", "nmslib"]


def functions(kind):
    """Returns a library's writer and reader, or skips."""
    pytest.importorskip(kind)
    return getattr(interop, f"write_{kind}"), getattr(interop, f"read_{kind}")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(SIZE, DIM)).astype(np.float32)
    rows *= rng.uniform(0.5, 2, (SIZE, 1)).astype(np.float32)
    ids = np.array([f"größe/{row}.jpg" for row in rng.permutation(SIZE)])
    return rows, ids, rng.normal(size=(9, DIM)).astype(np.float32)


def brute_force(rows, ids, queries, metric):
    """Returns ids and scores of the nearest, by NumPy in float64."""
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        scores = queries @ rows.T
    else:
        scores = -np.sqrt(((queries[:, None] - rows) ** 2).sum(axis=-1))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return ids[order], np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_finds_what_brute_force_finds(kind, metric, data, tmp_path):
    write, read = functions(kind)
    rows, ids, queries = data
    path = tmp_path / "catalogue.index"
    write(rows, ids, path, metric=metric)
    index = read(path)
    assert index.metric == metric and index.dim == DIM
    expected_ids, expected_scores = brute_force(rows, ids, queries, metric)
    found, scores = index.search(queries, K)
    assert found.tolist() == expected_ids.tolist()  # a graph of 200 rows is exact too
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected_scores, atol=2e-6)
    for bad, k in ((queries[:, :-1], K), (queries, 0), (queries, SIZE + 1)):
        with pytest.raises(ValueError, match="`(queries|k)` must be"):
            index.search(bad, k)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_and_the_ids_of_another_are_told_apart(kind, data, tmp_path):
    write, read = functions(kind)
    rows, ids, _ = data
    write(rows, ids, tmp_path / "one")
    names = set(os.listdir(tmp_path))
    write(rows[::-1], ids, tmp_path / "two")
    assert {name.replace("two", "one") for name in os.listdir(tmp_path)} == names
    os.replace(tmp_path / "two.ids.npz", tmp_path / "one.ids.npz")
    with pytest.raises(ValueError, match="ids of another index"):
        read(tmp_path / "one")
    with pytest.raises(ValueError, match="'.*two.ids.npz' is not there"):
        read(tmp_path / "two")
    with pytest.raises(OSError, match="nowhere"):
        write(rows, ids, tmp_path / "nowhere" / "one")
    assert not any(name.startswith(".") for name in os.listdir(tmp_path))


def test_an_approximate_index_of_faiss_is_trained(data, tmp_path):
    write, read = functions("faiss")
    rows, ids, queries = data
    write(rows, ids, tmp_path / "ivf", factory="IVF2,Flat")
    index = read(tmp_path / "ivf")
    index.index.nprobe = 2  # all lists: exact again
    expected, _ = brute_force(rows, ids, queries, "cosine")
    assert index.search(queries, K)[0].tolist() == expected.tolist()
    index.index.nprobe = 1  # half of the rows: fewer than all can be found
    found, scores = index.search(queries, SIZE)
    assert (found == "").any() and np.isneginf(scores[found == ""]).all()
    with pytest.raises(ValueError, match="`factory` must be"):
        write(rows, ids, tmp_path / "none", factory="Flatt")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments(kind, data, tmp_path):
    write, _ = functions(kind)
    rows, ids, _ = data
    broken = rows.copy()
    broken[7, 3] = np.nan
    for arguments, named, words in (
        ((rows, ids[:-1]), {}, "one for each of the 200 rows"),
        ((rows, [*ids[:-1], ids[0]]), {}, "each id once"),
        ((rows[0], ids), {}, "a matrix of floats, one embedding a row"),
        ((rows.astype(int), ids), {}, "a matrix of floats.* int64 of shape"),
        ((broken, ids), {}, rf"first in row 7 \('{ids[7]}'\)"),
        ((rows, ids), {"metric": "manhattan"}, "`metric` must be one of"),
    ):
        with pytest.raises(ValueError, match=words):
            write(*arguments, tmp_path / "index", **named)
    assert not os.listdir(tmp_path)


def test_what_is_missing_is_named(data, tmp_path, monkeypatch):
    rows, ids, _ = data
    for package, call, extra in (
        ("faiss", lambda: interop.write_faiss(rows, ids, tmp_path / "x"), "faiss"),
        ("nmslib", lambda: interop.read_nmslib(tmp_path / "x"), "similarity"),
        (
            "tensorflow_similarity.indexer",
            lambda: interop.to_tensorflow_similarity(rows, ids),
            "similarity",
        ),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"tfembed\[{extra}\]"):
            call()


@pytest.mark.slow  # tests/peers puts the bridge to use; here its import alone is long
def test_tensorflow_similarity_looks_up_ids_and_labels(data):
    pytest.importorskip("tensorflow_similarity.indexer", exc_type=ImportError)
    rows, ids, queries = data
    labels = np.arange(SIZE) % 5 - 1
    indexer = interop.to_tensorflow_similarity(rows, ids, labels)
    expected_ids, expected_scores = brute_force(rows, ids, queries, "cosine")
    by_id = dict(zip(ids, labels))
    for found, names, scores in zip(
        indexer.batch_lookup(queries, k=K, verbose=0), expected_ids, expected_scores
    ):
        assert [one.data for one in found] == names.tolist()
        wanted = [by_id[name] if by_id[name] >= 0 else None for name in names]
        assert [one.label for one in found] == wanted
        np.testing.assert_allclose(
            [one.distance for one in found], 1 - scores, atol=1e-5
        )
    with pytest.raises(ValueError, match="`labels` must be integers"):
        interop.to_tensorflow_similarity(rows, ids, labels[:-1])
