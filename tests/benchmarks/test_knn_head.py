"""Its data, its measures and its searches at a small size; all of it when slow."""

import numpy as np
import pytest

SOME = ["--dim=16", "--threads=1", "--repetitions=1", "--seconds=0.001"]


@pytest.fixture
def module(script):
    return script("knn_head")


def test_data_are_unit_rows_and_queries_of_their_kind(module):
    for data in ("mixture", "uniform"):
        options = module.parse([*SOME, f"--data={data}", "--noise=0.5"])
        rows, queries, what = module.drawn(options, 3000)
        assert rows.shape == (3000, 16) and queries.shape == (2 * module.QUERIES, 16)
        for each in (rows, queries):
            np.testing.assert_allclose(np.linalg.norm(each, axis=1), 1, rtol=1e-5)
        assert what.startswith(data) and rows.dtype == np.float32
        again, _, _ = module.drawn(options, 3000)
        np.testing.assert_array_equal(rows, again)


def test_a_runs_rows_are_repeated_with_noise(module, tmp_path):
    own = np.random.default_rng(0).standard_normal((3500, 6)).astype("float32")
    np.savez(tmp_path / "gallery.npz", embeddings=own)
    options = module.parse([f"--data=run:{tmp_path}"])
    rows, queries, what = module.drawn(options, 4000)
    assert rows.shape == (4000, 6) and len(queries) == 2000
    assert "1,500 rows" in what and "noise of length 0.1" in what
    apart = np.linalg.norm(rows[:1500] - rows[1500:3000], axis=1)
    assert 0.05 < np.median(apart) < 0.15
    whole = module.unit(own.copy())
    known = {row.tobytes() for row in whole}
    assert all(row.tobytes() in known for row in queries)
    _, _, what = module.drawn(options, 1000)
    assert "noise" not in what
    np.savez(tmp_path / "gallery.npz", embeddings=own[:100])
    with pytest.raises(SystemExit, match="at least 3000 rows. Received: 100"):
        module.drawn(options, 1000)


def test_the_truth_is_a_full_sort(module):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20000, 4)).astype("float32")
    queries = rng.standard_normal((5, 4)).astype("float32")
    expected = np.argsort(-(queries @ rows.T), axis=1)[:, : module.MOST]
    np.testing.assert_array_equal(module.nearest(queries, rows), expected)
    assert module.nearest(queries, rows[:50]).shape == (5, 50)


def test_recall_counts_the_nearest_that_were_found(module):
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert module.recall_of(np.array([[2, 9], [6, 5]]), truth) == 0.75


def test_the_least_effort_that_reaches_the_recall(module):
    truth = np.arange(10)[None]
    chosen = []

    def search(queries, k):
        return np.where(np.arange(10) * 3 < chosen[-1], np.arange(10), -1)[None]

    assert module.least(chosen.append, 100, search, (None, truth), 0.8) == 22
    assert chosen[-1] == 22


def test_claims_are_judged_at_their_size_only(module):
    turns = {8: {"exact": [1.0, 2.0], "matmul + top_k": [4.0, 4.0]}}
    (line,) = module.claims(1_000_000, turns, 10)
    assert "0.38 of matmul + top_k" in line and "MISSED" not in line
    turns[8]["exact"] = [3.0, 3.0]
    assert "MISSED" in next(module.claims(1_000_000, turns, 10))
    assert not list(module.claims(100_000, turns, 10))


@pytest.mark.parametrize(
    "name", ["exact", "bfloat16", "int8", "int8_bfloat16", "ivf", "matmul + top_k"]
)
def test_our_searches_find_the_nearest(name, module):
    options = module.parse([*SOME, "--noise=0.3"])
    rows, queries, _ = module.drawn(options, 2000)
    truth = module.nearest(queries, rows)
    half = module.QUERIES
    index = module.SEARCHES[name](rows, (queries[half:], truth[half:]), options)
    found = index.search(queries[:half], 10)
    recall = module.recall_of(found, truth[:half])
    assert recall > 0.93 and (recall == 1 or name not in ("exact", "matmul + top_k"))
    assert index.search(queries[:1], 200).shape == (1, 200)


@pytest.mark.parametrize("words", [["--only=hnsw"], ["--k=201"], ["--data=runs"]])
def test_bad_words_are_refused(words, module, capsys):
    with pytest.raises(SystemExit):
        module.parse(words)
    assert "Received" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table(module, table, capsys, tmp_path):
    python = tmp_path / "python"  # an environment without ScaNN
    python.write_text("#!/bin/sh\necho '{\"missing\": true}'\n")
    python.chmod(0o755)
    searches = ["exact", "matmul + top_k", "ScaNN"]
    module.main([*SOME, "--rows=500", "--only", *searches, f"--scann-python={python}"])
    printed = capsys.readouterr().out
    rows = table(printed)
    assert [row["search"] for row in rows] == ["exact", "matmul + top_k"] * 2
    assert all(row["recall@k"] == "1.000" for row in rows)
    assert all(float(row["ms, 32"]) > 0 for row in rows)
    assert rows[0]["x exact, 1"] == "1.00"
    assert "ScaNN: not installed (scann)." in printed
