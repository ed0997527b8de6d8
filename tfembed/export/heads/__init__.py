"""How a served gallery is searched: a head keeps the rows and finds the nearest.

| head | keeps | finds |
|---|---|---|
| `exact` | float32 rows | the nearest, always |
| `bfloat16` | bfloat16 rows, half the memory | nearly always; measured |
| `ivf` | float32 rows in k-means cells | in a few cells, at the recall asked for |

A head is a module with these functions, and no Keras:

- `build(embeddings, *, recall=0.95, queries=None, k=10, seed=0, progress=None,
  previous=None)` returns a `HeadState`: the arrays that it keeps and what the model
  card says.
- `search(variables, queries, k)` returns scores `(batch, min(k, size))` in float32,
  largest first, and rows `(batch, min(k, size))` in int32, in the gallery's order;
  equal scores go to the lowest row.
- `pairs(variables, queries, rows)` returns the scores of given rows,
  `(batch, m)` in float32; -inf where a row is negative.
- `embeddings_of(variables, rows)` returns given rows, `(n, dim)` in float32.
- `score_columns(variables)` returns how many float32 numbers one more query of a
  batch makes stand in memory.
- `stored_count(variables)` and `stored(variables, start, count)` return how many rows
  are stored, and a range of them as float32 with the gallery row of each, -1 for
  padding: what an exact search with filters goes through.

`variables` is `{name: tf.Variable}` with the names of `HeadState.arrays`. All but
`build` are graph code in stock ops. Nothing of the gallery is a constant of the graph:
the variables' shapes are those of the arrays with the first dimension free, so another
gallery of any size fits the same graph.

Importing this package does not import TensorFlow.
"""

import importlib

HEADS = {
    "exact": "tfembed.export.heads.exact",
    "bfloat16": "tfembed.export.heads.bfloat16",
    "ivf": "tfembed.export.heads.ivf",
}
"""Name of each head, and the module that it is."""

# Up to here all rows are read for each batch: 2 million of 128 numbers.
EXACT_BYTES = 1 << 30


def load_head(name):
    """Returns the module of a head.

    Args:
        name: A key of `HEADS`.

    Raises:
        ValueError: If there is no such head.
    """
    if name not in HEADS:
        raise ValueError(
            f"A head is one of {', '.join(map(repr, HEADS))}. Received: {name!r}."
        )
    return importlib.import_module(HEADS[name])


def choose_head(rows, dim):
    """Chooses the head for a gallery, by what a batch has to read.

    `exact` up to 1 GiB of float32 rows (2 million rows of 128 numbers), `ivf` above.

    Args:
        rows: Rows of the gallery.
        dim: Length of a row.

    Returns:
        The name of the head, and one sentence that says why.
    """
    size = 4 * int(rows) * int(dim)
    what = f"{rows:,} rows of {dim} numbers are {_bytes(size)}"
    limit = _bytes(EXACT_BYTES)
    if size <= EXACT_BYTES:
        return "exact", f"{what}; up to {limit} every row is looked at."
    return "ivf", f"{what}; above {limit} only the nearest cells are looked at."


def _bytes(size):
    if size < 1 << 30:
        return f"{max(size / (1 << 20), 0.1):.1f} MiB"
    return f"{size / (1 << 30):.1f} GiB"
