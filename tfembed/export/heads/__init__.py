"""How a served gallery is searched: a head keeps the rows and finds the nearest.

| head | keeps | finds |
|---|---|---|
| `exact` | float32 rows | the nearest, always |
| `bfloat16` | bfloat16 rows, half the memory | nearly always; measured |
| `int8` | int8 rows with a scale, a quarter of the memory | mostly; measured |
| `int8_bfloat16` | both of these | the best of some candidates; measured |
| `prefix` | float32 rows, their first numbers apart | the same, measured |
| `ivf` | float32 rows in k-means cells | in a few cells, at the recall asked for |

A head is a module, an object or a class (called without arguments) with these
functions, and no Keras. `Head` has most of them for heads of one's own
(`docs/extend.md`).

- `build(embeddings, *, recall=0.95, queries=None, k=10, seed=0, progress=None,
  previous=None)` returns a `HeadState`: the arrays that it keeps and what the model
  card says.
- `search(variables, queries, k)` returns scores `(batch, min(k, size))` in float32,
  largest first, and rows `(batch, min(k, size))` in int32, in the gallery's order;
  equal scores go to the lowest row. No row stands there twice; where none is found, the
  last have the score -inf and the row -1.
- `pairs(variables, queries, rows)` returns the scores of given rows,
  `(batch, m)` in float32; -inf where a row is negative.
- `embeddings_of(variables, rows)` returns given rows, `(n, dim)` in float32.
- `score_columns(variables)` returns how many float32 numbers one more query of a
  batch makes stand in memory.
- `stored_count(variables)` and `stored(variables, start, count)` return how many rows
  are stored, and a range of them as float32 with the gallery row of each, -1 for
  padding, equal rows ascending: what an exact search with filters goes through.

And it may have these, whose defaults `TRAITS` has: `exact` and `tolerance`, what the
check before publishing holds it to; `carries`, names of arrays that an update gives
`build` as `previous`; `options`, names of further arguments of `build` that a user may
give, and an update gives again; and `kept`, a function of rows in NumPy that returns
them as the head keeps them, where it keeps each by itself and rounded.

`variables` is `{name: tf.Variable}` with the names of `HeadState.arrays`, or tensors of
their values. All but `build` are graph code in stock ops, run without AutoGraph.
Nothing of the gallery is a constant of the graph: the variables' shapes are those of
the arrays with the first dimension free, so another gallery of any size fits the same
graph. Names, dtypes and other dimensions of the arrays depend on `dim` alone.

Importing this package does not import TensorFlow.
"""

import importlib
import json

from tfembed.command_line import suggestion
from tfembed.registry import Registry

HEADS = Registry(
    "head",
    "tfembed.heads",
    {
        "exact": "tfembed.export.heads.exact",
        "bfloat16": "tfembed.export.heads.bfloat16",
        "int8": "tfembed.export.heads.int8",
        "int8_bfloat16": "tfembed.export.heads.int8_bfloat16",
        "prefix": "tfembed.export.heads.prefix",
        "ivf": "tfembed.export.heads.ivf",
    },
)
"""Name of each head, and the module that it is; after ours, those of other packages."""

TRAITS = {"exact": False, "tolerance": 1e-5, "carries": (), "kept": None, "options": ()}
"""What a head is where it does not say so itself."""

_FUNCTIONS = (
    "build",
    "search",
    "pairs",
    "embeddings_of",
    "score_columns",
    "stored_count",
    "stored",
)

# Up to here all rows are read for each batch: 2 million of 128 numbers.
EXACT_BYTES = 1 << 30


def load_head(name):
    """Returns a head; imports it.

    Args:
        name: A name in `HEADS`, or one's own, `module:Class`.

    Raises:
        ValueError: If there is no such head, or it lacks a function.
    """
    if name not in HEADS:
        guess = suggestion(name, list(HEADS))
        raise ValueError(
            f"A head is one of {', '.join(map(repr, HEADS))}, or your own, "
            f"module:Class. Received: {name!r}. "
            + (guess or "Install the package that offers it, if it is another's.")
        )
    found = HEADS[name]
    if name in HEADS.parts:
        return importlib.import_module(found)
    return as_head(found, name)


def as_head(found, name):
    """Returns what was found as a head: of a class, one object.

    Raises:
        ValueError: If it lacks a function.
    """
    # A class is only called if it can be a head: a name is read from a card, too.
    missing = [each for each in _FUNCTIONS if not callable(getattr(found, each, None))]
    if missing:
        raise ValueError(
            "A head must be a class, an object or a module with the functions "
            f"{', '.join(_FUNCTIONS)}, such as a subclass of tfembed.export.Head. "
            f"Received: {name!r}, a {type(found).__name__} without "
            f"{', '.join(missing)}."
        )
    return found() if isinstance(found, type) else found


def trait(head, name):
    """Returns what a head says of itself, or else the default in `TRAITS`."""
    return getattr(head, name, TRAITS[name])


def check_head_options(name, given):
    """Refuses what a head does not take.

    Args:
        name: As for `load_head`, or `"auto"`, which takes nothing.
        given: `{name: value}`, as for `build_head`.

    Raises:
        ValueError: If there is something else in it.
    """
    taken = () if name == "auto" else trait(load_head(name), "options")
    wrong = [key for key in given if key not in taken]
    if wrong:
        raise ValueError(
            f"The head {name!r} takes "
            + (f"the options {', '.join(taken)}. " if taken else "no options. ")
            + f"Received: {', '.join(map(str, wrong))}. Leave it out, or name the head "
            "that takes it."
        )


def build_head(name, embeddings, given=None, **options):
    """Builds a head, and checks what it is built into.

    Args:
        name: As for `load_head`.
        embeddings: As for the head's `build`.
        given: What the user gives of the head's `options`, `{name: value}`.
        **options: As for the head's `build`.

    Returns:
        `HeadState`, whose card begins with the head's name, and has what was given as
        `options`.

    Raises:
        ValueError: If the head returns something else.
    """
    given = dict(given or {})
    check_head_options(name, given)
    built = load_head(name).build(embeddings, **options, **given)
    if given:
        built.card["options"] = given
    check_state(built, name)
    rest = {key: value for key, value in built.card.items() if key != "head"}
    built.card = {"head": name, **rest}
    return built


def check_state(built, name):
    """Raises a ValueError unless `build` has returned what a version can hold."""
    import numpy as np

    from tfembed.export.heads.head_state import HeadState

    if not isinstance(built, HeadState):
        problem = f"a {type(built).__name__}"
    else:
        wrong = [
            key
            for key, value in built.arrays.items()
            if not str(key).isidentifier()
            or not isinstance(value, (np.ndarray, np.generic))
            or value.dtype.kind in "OSUM"
        ]
        problem = f"the arrays {', '.join(map(str, wrong))}" if wrong else ""
        try:
            json.dumps(built.card)
        except (TypeError, ValueError) as error:
            problem = problem or f"a card of which JSON says: {error}"
    if problem:
        raise ValueError(
            "A head's `build` must return a tfembed.export.HeadState of NumPy arrays "
            "of numbers by names that Python variables may have, and a card of JSON "
            f"values. Received: {problem}, of the head {name!r}."
        )


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


def build_chosen(embeddings, say, *, recall=0.95, **options):
    """Chooses a head for a gallery, as `choose_head` does, and builds it.

    Where `ivf` would look at all cells for the recall, cells are of no use: then it is
    `int8`, in a quarter of the memory, if that reaches the recall as measured, also at
    the lower end of its interval; else `exact`.

    Args:
        embeddings: As for a head's `build`.
        say: Is called with a line of text: which head, and why.
        recall: As for a head's `build`.
        **options: As for a head's `build`.

    Returns:
        `HeadState`.
    """
    name, why = choose_head(*embeddings.shape)
    say(f"head {name}: {why}")
    built = build_head(name, embeddings, recall=recall, progress=say, **options)
    if not built.card.get("all_cells"):
        return built
    del built
    said = f"ivf would look at every row for a recall of {recall:g}"
    tried = build_head("int8", embeddings, recall=recall, **options)
    least = (tried.card["recall_interval"] or [1.0])[0]
    within = f"int8 finds {tried.card['recall_at_k'] or 1.0:.3f}, at least {least:.3f}"
    if least >= recall:
        say(f"head int8: {said}; {within}, in a quarter of the memory")
        return tried
    say(f"head exact, not int8: {said}; {within}, which is less")
    return build_head("exact", embeddings, recall=recall, **options)


def _bytes(size):
    if size < 1 << 30:
        return f"{max(size / (1 << 20), 0.1):.1f} MiB"
    return f"{size / (1 << 30):.1f} GiB"
