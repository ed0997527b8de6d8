"""Rows of 8-bit integers: how they are rounded, and what that loses."""

import numpy as np
import pytest

from tfembed.export.heads import build_chosen, int8, int8_bfloat16


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def mixture(rng, rows, noise, dim=32):
    around = unit(np.random.default_rng(5).standard_normal((100, dim)))
    chosen = around[rng.integers(0, len(around), rows)]
    return unit(chosen + noise / dim**0.5 * rng.standard_normal((rows, dim)))


def test_rows_are_off_by_half_a_step_and_rounded_once(rng):
    rows = rng.standard_normal((70_000, 5)).astype("float32")
    rows *= 10.0 ** rng.integers(-20, 20, (70_000, 1))
    rows[::7] = 0
    kept = int8.kept(rows)
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(kept - rows) <= step * (0.5 + 1e-4)).all()
    np.testing.assert_array_equal(int8.kept(kept), kept)
    np.testing.assert_array_equal(kept == -int8.kept(-rows), True)


@pytest.mark.parametrize("number", [0.0, 1e-38, 1e-45, 3.4e38])
def test_the_smallest_and_the_largest_rows(number):
    row = np.full((1, 3), number, "float32")
    arrays = int8.in_int8(row)
    assert arrays["int8_embeddings"].tolist() == [[127 * (number > 1)] * 3]
    np.testing.assert_allclose(int8.kept(row), row, rtol=1e-4, atol=1e-30)


def test_what_is_found_of_rows_apart_and_of_rows_alike(rng):
    """Rows of tight clusters are exchanged, and the card and a line say so."""
    found = {}
    for noise in (1.0, 0.1):
        rows, queries = mixture(rng, 3000, noise), mixture(rng, 300, noise)
        for head, most in ((int8, 0.29), (int8_bfloat16, 0.8)):
            lines = []
            state = head.build(
                rows, queries=queries, recall=0.93, progress=lines.append
            )
            size = sum(each.nbytes for each in state.arrays.values())
            assert size <= most * rows.nbytes
            found[noise, head] = state.card["recall_at_k"]
            said = [line for line in lines if "less than the 0.93" in line]
            below = state.card["recall_at_k"] < 0.93
            assert bool(said) == below == ("note" in state.card)
    assert found[1.0, int8] > 0.96 and found[1.0, int8_bfloat16] > 0.99
    assert found[0.1, int8] + 0.05 < found[0.1, int8_bfloat16] < 0.95


@pytest.mark.parametrize(
    ("recall", "name", "said"),
    [
        (0.9, "int8", "head int8: ivf would look at every row"),
        (1.0, "exact", "head exact, not int8: .* int8 finds 0.9.*less"),
    ],
)
def test_auto_takes_it_where_cells_are_of_no_use_and_it_reaches_the_recall(
    recall, name, said, rng, monkeypatch
):
    import re

    monkeypatch.setattr("tfembed.export.heads.EXACT_BYTES", 1024)
    lines = []
    rows = unit(rng.standard_normal((64, 48)))
    built = build_chosen(rows, lines.append, recall=recall, k=10)
    assert built.card["head"] == name, lines
    assert any(re.match(said, line) for line in lines), lines
