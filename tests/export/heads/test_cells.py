"""The cells of a gallery: k-means beside a loop in float64, and what has no rows."""

import numpy as np
import pytest

from tfembed.export.heads import cells as module
from tfembed.export.heads.cells import assign_cells, learn_cells


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype("float32")


def mixture(rng, size, directions=12, dim=8, noise=0.2):
    around = unit(np.random.default_rng(5).standard_normal((directions, dim)))
    rows = around[rng.integers(0, directions, size)]
    return unit(rows + noise * rng.standard_normal((size, dim)))


def looped(rows, cells, rounds, per_cell, seed):
    """k-means row by row, in float64, with the draws of `learn_cells`."""
    rng = np.random.default_rng(seed)
    rows = rows.astype("float64")
    directions = [rows[i] for i in rng.permutation(np.arange(len(rows)))[:cells]]
    order = rng.permutation(np.arange(len(rows)))
    count = min(per_cell * cells, len(rows))
    sums = np.zeros((cells, rows.shape[1]))
    for number in range(rounds):
        sums *= 0.8 * number / rounds if count < len(rows) else 0
        for place in range(number * count, (number + 1) * count):
            row = rows[order[place % len(rows)]]
            sums[np.argmax([row @ each for each in directions])] += row
        directions = [each / np.sqrt(each @ each) for each in sums]
    return np.array(directions)


@pytest.mark.parametrize("per_cell", [40, 400])
def test_equals_a_loop_in_float64(per_cell, rng, monkeypatch):
    """A round has some of the rows, or all of them."""
    monkeypatch.setattr(module, "ROWS_PER_CELL", per_cell)
    rows = mixture(rng, 700)
    for seed in range(3):
        for rounds in (1, 2, 7):
            monkeypatch.setattr(module, "ROUNDS", rounds)
            found = learn_cells(rows, 6, seed)
            expected = looped(rows, 6, rounds, per_cell, seed)
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ends_where_no_row_changes_its_cell(rng, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 200)
    monkeypatch.setattr(module, "SECONDS", 0)
    rows, lines = mixture(rng, 500), []
    centroids = learn_cells(rows, 9, progress=lines.append)
    assert 2 <= len(lines) < 100 and lines[0].startswith("cells: round 1 of at most 2")
    of = np.argmax(rows.astype("float64") @ centroids.T, axis=1)
    sums = np.array([rows[of == cell].sum(axis=0) for cell in range(9)])
    np.testing.assert_allclose(centroids, unit(sums), atol=1e-5)


def test_an_empty_cell_is_put_onto_rows_far_from_theirs(rng):
    """Nine in ten rows are one: most first directions are that one, and lose to it."""
    rows = mixture(rng, 3000, directions=30, noise=0.01)
    rows[rng.permutation(3000)[:2700]] = rows[0]
    sizes = np.bincount(assign_cells(rows, learn_cells(rows, 40)), minlength=40)
    assert np.sum(sizes > 0) >= 25


def test_more_cells_than_different_rows(rng):
    rows = np.repeat(mixture(rng, 5, noise=1.0), [400, 3, 2, 1, 1], axis=0)
    centroids = learn_cells(rows, 20)
    assert centroids.shape == (20, 8)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-6)
    assert len(set(assign_cells(rows, centroids))) == 5


def test_fewer_rows_than_cells(rng):
    rows = mixture(rng, 4, noise=1.0)
    centroids = learn_cells(rows, 7)
    assert centroids.shape == (4, 8)
    assert sorted(assign_cells(rows, centroids)) == [0, 1, 2, 3]


def test_what_is_left_out_is_not_learned_on(rng):
    rows = mixture(rng, 300)
    rows[:100] = -rows[:100]
    found = learn_cells(rows, 5, leave_out=np.arange(-1, 100))
    np.testing.assert_array_equal(found, learn_cells(rows[100:], 5))
    every = learn_cells(rows, 5, leave_out=np.arange(297))  # three are too few
    np.testing.assert_array_equal(every, learn_cells(rows, 5))


def test_cells_gather_what_is_alike(rng):
    """Directions far apart: k-means finds nearly all of them."""
    labels = rng.integers(0, 20, 4000)
    around = unit(np.random.default_rng(1).standard_normal((20, 32)))
    rows = unit(around[labels] + 0.02 * rng.standard_normal((4000, 32)))
    cells = assign_cells(rows, learn_cells(rows, 60))
    mixed = [len(set(labels[cells == cell])) for cell in set(cells)]
    assert max(mixed) == 1


def test_many_rows_make_better_cells_than_the_same_few(rng, monkeypatch):
    """Rounds of other rows each, beside as many rounds of the same rows."""
    monkeypatch.setattr(module, "ROWS_PER_CELL", 16)
    rows = mixture(rng, 6000, directions=150, dim=32, noise=0.2)
    few = rows[np.random.default_rng(0).permutation(6000)[: 16 * 30]]
    cells = learn_cells(rows, 30), learn_cells(few, 30)
    ours, theirs = (
        assign_cells(rows, each, with_scores=True)[1].mean() for each in cells
    )
    assert ours > theirs + 0.01


def test_rows_are_assigned_in_chunks_as_at_once(rng, monkeypatch):
    rows, centroids = mixture(rng, 3000), mixture(rng, 30)
    expected = np.argmax(rows @ centroids.T, axis=1)
    monkeypatch.setattr(module, "CHUNK_SCORES", 1)
    found, scores = assign_cells(rows, centroids, with_scores=True)
    assert np.mean(found == expected) > 0.999
    np.testing.assert_allclose(scores, (rows @ centroids.T).max(axis=1), rtol=1e-6)
