"""What every head has to do, tried on small galleries against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.export.brute_force import nearest
from tfembed.export.heads import as_head, check_state, load_head, trait

_SIZES = (500, 1, 3, 130)  # one after the other in the same graph
_QUERIES, _K = 9, 10
_LEAST_FOUND = 0.5  # of the nearest rows, as in `tfembed.export.gallery_check`
_SHAPES = {
    "search": ("vectors", "number"),
    "pairs": ("vectors", "table"),
    "embeddings_of": ("rows",),
    "score_columns": (),
    "stored_count": (),
    "stored": ("number", "number"),
}


def check_head(head: Any, dim: int = 16, seed: int = 0) -> None:
    """Tries a head on small galleries, and compares it with brute force.

    For a test of a head of one's own; and `export` tries so each head that is not
    tfembed's. Each gallery has equal rows; their sizes follow each other in one graph,
    as updates do.

    >>> from tfembed.export import check_head
    >>> check_head("int8")  # says nothing: it does all that a head has to

    Args:
        head: Its name, a class or an object.
        dim: Length of a row.
        seed: Of the galleries and queries.

    Raises:
        ValueError: If the head does something else than `tfembed.export.heads` says;
            the message says what. What goes wrong inside of it is raised as it is.
    """
    name = head if isinstance(head, str) else _name_of(head)
    head = load_head(head) if isinstance(head, str) else as_head(head, name)
    rng = np.random.default_rng(seed)
    graphs = None
    for draw in (_clusters, _exact_cosines):
        for size in _SIZES:
            rows = draw(rng, size + _QUERIES, dim)
            gallery, queries = rows[:size], rows[size:].copy()
            half = size // 2
            gallery[half : 2 * half] = gallery[:half]  # each twice
            queries[: half // 2] = gallery[: min(half // 2, _QUERIES)]
            built = head.build(gallery, k=min(_K, size), seed=seed)
            check_state(built, name)
            graphs = graphs or _Graphs(head, built, dim)
            graphs.hold(built, size)
            _Trial(head, graphs, gallery, queries, draw is _exact_cosines).run()


def _clusters(rng, count, dim):
    """Rows around a few directions."""
    around = rng.standard_normal((12, dim))[rng.integers(0, 12, count)]
    rows = around + 0.5 * rng.standard_normal((count, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def _exact_cosines(rng, count, dim):
    """Rows whose products are exact in any order: many of them are equal."""
    some = 1
    while 4 * some <= dim:
        some *= 4
    order = np.argsort(rng.random((count, dim)), axis=1)
    signs = rng.choice([-1.0, 1.0], (count, dim)) / np.sqrt(some)
    return np.where(order < some, signs, 0.0).astype(np.float32)


class _Graphs:
    """The functions of a head in graphs, whose variables can take any gallery."""

    def __init__(self, head, built, dim):
        self.variables = {
            name: tf.Variable(
                value, shape=[None, *value.shape[1:]] if value.ndim else []
            )
            for name, value in built.arrays.items()
        }
        kinds = {
            "vectors": tf.TensorSpec([None, dim], tf.float32),
            "number": tf.TensorSpec([], tf.int32),
            "rows": tf.TensorSpec([None], tf.int32),
            "table": tf.TensorSpec([None, None], tf.int32),
        }

        def graph(name):
            def call(*arguments):
                return getattr(head, name)(self.variables, *arguments)

            signature = [kinds[each] for each in _SHAPES[name]]
            return tf.function(call, input_signature=signature, autograph=False)

        self._functions = {name: graph(name) for name in _SHAPES}

    def hold(self, built, size):
        given = {
            name: (value.dtype, value.shape[1:], value.ndim)
            for name, value in built.arrays.items()
        }
        held = {
            name: (
                np.dtype(each.dtype.as_numpy_dtype),
                tuple(each.shape[1:]) if each.shape.rank else (),
                each.shape.rank,
            )
            for name, each in self.variables.items()
        }
        _require(
            given == held,
            f"`build` gives other arrays for {size} rows, {given}, than for "
            f"{_SIZES[0]}, {held}: only their first dimension may depend on the rows",
        )
        for name, value in built.arrays.items():
            self.variables[name].assign(value)

    def __call__(self, name, *arguments):
        found = self._functions[name](*arguments)
        found = found if isinstance(found, (tuple, list)) else [found]
        return [each.numpy() for each in found]


class _Trial:
    """One gallery, and what a head says of it."""

    def __init__(self, head, graphs, gallery, queries, exact_cosines):
        self._ask, self._head = graphs, head
        self._exact_cosines = exact_cosines
        self._gallery, self._queries = gallery, queries
        self._size, self._dim = gallery.shape
        self._cosines = queries.astype(np.float64) @ gallery.astype(np.float64).T
        self._tolerance = max(1e-5, trait(head, "tolerance"))

    def run(self):
        columns = self._ask("score_columns")
        count = self._ask("stored_count")
        for name, found in (("score_columns", columns), ("stored_count", count)):
            number = len(found) == 1 and found[0].shape == ()
            _require(
                number and found[0].dtype == np.int32 and found[0] > 0,
                f"`{name}` must be a scalar int32 tensor, 1 or more, and is {found}",
            )
        self._stored(int(count[0]))
        self._pairs()
        for k in (1, _K, self._size + 3):
            self._search(k)

    def _stored(self, count):
        parts = [
            self._given("stored", (np.float32, np.int32), start, min(50, count - start))
            for start in range(0, count, 50)
        ]
        rows = np.concatenate([rows for _, rows in parts])
        vectors = np.concatenate([vectors for vectors, _ in parts])
        _require(
            vectors.shape == (count, self._dim) and rows.shape == (count,),
            f"`stored` gives embeddings {vectors.shape} and rows {rows.shape} for "
            f"{count} of {self._dim} numbers",
        )
        vectors, rows = vectors[rows >= 0], rows[rows >= 0]
        _require(
            sorted(rows.tolist()) == list(range(self._size)),
            "`stored` must have each row of the gallery once, and -1 for padding",
        )
        every = np.arange(self._size, dtype=np.int32)
        for some in (every, every[:0]):
            (kept,) = self._given("embeddings_of", (np.float32,), some)
            _require(
                kept.shape == (len(some), self._dim),
                f"`embeddings_of` gives {kept.shape} for {len(some)} rows",
            )
            if len(some):
                _require(
                    np.array_equal(kept[rows], vectors),
                    "`embeddings_of` and `stored` give other embeddings of a row",
                )
                off = np.abs(self._queries.astype(np.float64) @ kept.T - self._cosines)
                self._near(off.max(), "rows as `stored` gives them")
        half = self._size // 2
        place = np.empty(self._size, np.int64)
        place[rows] = np.arange(self._size)
        _require(
            (place[:half] <= place[half : 2 * half]).all(),
            "`stored` must have equal rows in ascending order",
        )

    def _pairs(self):
        drawn = np.arange(_QUERIES * 7, dtype=np.int32).reshape(_QUERIES, 7)
        drawn = drawn * 31 % self._size
        drawn[:, 3] = -1
        cases = [(self._queries, drawn), (self._queries, drawn[:, :0])]
        for queries, rows in [*cases, (self._queries[:0], drawn[:0])]:
            (scores,) = self._given("pairs", (np.float32,), queries, rows)
            _require(
                scores.shape == rows.shape,
                f"`pairs` gives {scores.shape} for rows {rows.shape}",
            )
            _require(
                (scores[rows < 0] == -np.inf).all(),
                "`pairs` must give -inf where a row is negative",
            )
            wanted = np.take_along_axis(
                self._cosines[: len(rows)], np.maximum(rows, 0), 1
            )
            off = np.abs(scores - wanted)[rows >= 0]
            self._near(off.max(initial=0), "`pairs`")

    def _search(self, k):
        found = self._given("search", (np.float32, np.int32), self._queries, k)
        scores, rows = found
        shape = (_QUERIES, min(k, self._size))
        _require(
            scores.shape == rows.shape == shape,
            f"`search` gives scores {scores.shape} and rows {rows.shape}, and not "
            f"{shape}, for k={k} of {self._size} rows",
        )
        there = rows >= 0
        _require(
            (rows < self._size).all()
            and all(len(set(row[row >= 0])) == (row >= 0).sum() for row in rows)
            and (scores[~there] == -np.inf).all(),
            "`search` must give rows of the gallery, each once, and after them -1 with "
            f"the score -inf; it gives {rows.tolist()}",
        )
        own = np.take_along_axis(self._cosines, np.maximum(rows, 0), 1)
        self._near(np.abs(scores - own)[there].max(initial=0), "`search`")
        falls = scores[:, :-1] > scores[:, 1:]
        equal = (scores[:, :-1] == scores[:, 1:]) & (rows[:, :-1] < rows[:, 1:])
        _require(
            (falls | equal | ~there[:, 1:]).all(),
            "`search` must give the largest scores first, and equal ones by row",
        )
        best, wanted = nearest(self._queries, self._gallery, shape[1])
        if trait(self._head, "exact"):
            off = np.abs(np.where(there, scores, -2.0) - best)
            self._near(off.max(), "`search` of an exact head")
            _require(
                not self._exact_cosines or np.array_equal(rows, wanted),
                "`search` must take the lowest of rows with equal scores",
            )
        hits = (there & (own >= best[:, -1:] - 2 * self._tolerance)).mean()
        _require(
            hits >= _LEAST_FOUND,
            f"`search` finds {hits:.0%} of the {shape[1]} nearest of {self._size} rows",
        )

    def _given(self, name, dtypes, *arguments):
        arguments = [tf.constant(each) for each in arguments]
        found = self._ask(name, *arguments)
        _require(
            [each.dtype for each in found] == [np.dtype(each) for each in dtypes],
            f"`{name}` must return {', '.join(np.dtype(each).name for each in dtypes)} "
            f"and returns {', '.join(each.dtype.name for each in found)}",
        )
        return found

    def _near(self, off, what):
        _require(
            off <= self._tolerance,
            f"scores of {what} are off by {off:.2g}, more than its tolerance, "
            f"{self._tolerance:g}",
        )


def _name_of(head):
    return getattr(head, "__name__", type(head).__name__)


def _require(holds, what):
    if not holds:
        raise ValueError(f"A head must do as tfembed.export.heads says: {what}.")
