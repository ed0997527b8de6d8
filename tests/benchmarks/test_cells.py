"""Counts of probes and rows at a small size, without faiss."""

import numpy as np
import pytest


@pytest.fixture
def module(script, monkeypatch):
    from tfembed.export.heads import cells

    monkeypatch.setattr(cells, "ROWS_PER_CELL", cells.ROWS_PER_CELL)
    monkeypatch.setattr(cells, "ROUNDS", cells.ROUNDS)
    return script("cells")


def test_a_line_for_each_setting(module, table):
    sizes = ["--rows=3000", "--dim=16", "--rows-per-cell", "4", "--rounds", "1", "3"]
    module.main([*sizes, "--no-faiss"])
    rows = table()
    assert [row["rounds"] for row in rows] == ["1", "3"]
    for row in rows:
        assert 1 <= int(row["ours: probes"]) <= 94
        assert 1 <= float(row["rows"].replace(",", "")) <= 3000


def test_probes_are_the_least_that_reach_the_recall(module):
    """Cells at right angles: a query's nearest rows are of its own and the next."""
    rows = np.eye(4, dtype="float32")[[0, 0, 1, 1, 1, 2]]
    queries = np.array([[1, 0.5, 0.1, 0], [0, 1, 0.9, 0]], "float32")
    truth = np.array([[0, 1], [3, 5]])
    cells = np.eye(4, dtype="float32")
    assert module.looked_at(rows, queries, truth, cells, 0.75) == (1, 2.5)
    assert module.looked_at(rows, queries, truth, cells, 0.76) == (2, 4.5)
