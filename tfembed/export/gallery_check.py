"""Asks a version with a new gallery, and compares its answers with NumPy's.

The encoder's graph and weights are those of the version before, byte for byte, and are
compared as bytes. What is new is asked by `search`, in a process that has only
TensorFlow (its C API, as a server has it, where that is installed): every score must be
that of the row whose id stands beside it, each id must have its label, and `known` must
follow the threshold; with a head that finds all nearest rows, the score at each rank
must be the score of that rank. `query`, where the version has it, is asked for one row
of each label. The warm-up requests of the version must run, or no server would load it.
"""

import numpy as np

from tfembed.export.brute_force import nearest
from tfembed.export.comparison import SCORE_TOLERANCE
from tfembed.export.fresh_process import ask_in_fresh_process
from tfembed.export.heads import load_head, trait
from tfembed.export.native import find_libraries
from tfembed.export.query_options import nothing_asked
from tfembed.export.saved_variables import unlike_variables

_QUERIES = 16
# Of the nearest rows an approximate head finds more than this in a check, whatever the
# recall it was built for, or it is broken.
_LEAST_FOUND = 0.5
_NEAR = 4e-3  # as far as a row moves that is kept in bfloat16


def check_gallery(source, target, head, gallery, some_rows):
    """Checks a version that was made of another one and a new gallery.

    Args:
        source: Folder of the version that the encoder is from.
        target: Folder of the new version.
        head: Name of the head.
        gallery: The new `Gallery`.
        some_rows: Rows that must be found; others are drawn.

    Returns:
        The largest difference of a score.

    Raises:
        RuntimeError: If the version does not load, or answers otherwise.
    """
    graphs = [(each / "saved_model.pb").read_bytes() for each in (source, target)]
    _require(graphs[0] == graphs[1], f"its graph is not that of {source.name}")
    unlike = unlike_variables(source, target)
    _require(not unlike, f"its encoder has other weights: {unlike[:3]}")
    head = load_head(head)
    queries, rows = _queries(gallery, some_rows)
    ids = np.array([[str(gallery.ids[row]).encode()] for row in rows], object)
    no_filter = np.full((len(rows), 1), b"", object)
    requests = [
        ("search", {"embeddings": queries}),
        (
            "score",
            {
                "embeddings": queries,
                "ids": np.hstack([ids, no_filter, np.roll(ids, 1, axis=0)]),
            },
        ),
        (
            "search_filtered",
            {
                "embeddings": queries,
                "allow_ids": no_filter,
                "exclude_ids": ids,
                "allow_labels": no_filter,
                "exclude_labels": no_filter,
            },
        ),
    ]
    if _has_query(target):
        asked = nothing_asked(len(rows), gallery.dim)
        asked["embeddings"], asked["per_label"] = queries, np.ones(len(rows), np.int32)
        asked["negative_ids"] = _as_lines(ids[:, 0])
        requests.append(("query", asked))
    runtime = "native" if find_libraries() else "python"
    answers, _ = ask_in_fresh_process(target, requests, runtime)
    off = _compare(answers[0], queries, gallery, head)
    off = max(off, _compare_pairs(answers[1], queries, rows, gallery, head))
    for query, found in enumerate(answers[2]["ids"]):
        _require(
            ids[query, 0] not in found.tolist(),
            f"it finds {ids[query, 0].decode()!r}, which the request excludes",
        )
    if len(answers) > 3:
        _check_question(answers[3], ids, gallery)
    return off


def _has_query(version):
    """Whether a version has the signature `query`, as older ones have not."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = (version / "saved_model.pb").read_bytes()
    model = saved_model_pb2.SavedModel.FromString(content)
    return "query" in model.meta_graphs[0].signature_def


def _check_question(answer, ids, gallery):
    """Checks an answer with one row of each label, unlike `ids`, one each."""
    _require(
        answer["valid"].all(),
        f"to questions with its own ids it says {answer['problem'].tolist()}",
    )
    row_of = _rows_of(gallery.ids, answer["ids"])
    for example, found in zip(ids[:, 0], answer["ids"].tolist()):
        labels = gallery.labels[[row_of[name.decode()] for name in found if name]]
        labels = labels[labels >= 0]
        _require(
            example not in found and len(set(labels)) == len(labels),
            f"one row of each label, unlike {example.decode()!r}, are {found}",
        )


def _as_lines(ids):
    escaped = (each.replace(b"\\", b"\\\\").replace(b"\n", b"\\n") for each in ids)
    return np.array(list(escaped), object)


def _queries(gallery, some_rows):
    """Rows of the gallery, half of them moved a little, the others far; and which."""
    rng = np.random.default_rng(gallery.size)
    drawn = rng.integers(0, gallery.size, _QUERIES)
    rows = np.concatenate([np.asarray(some_rows, np.int64)[: _QUERIES // 2], drawn])
    rows = rows[:_QUERIES]
    noise = rng.normal(size=(_QUERIES, gallery.dim)) / np.sqrt(gallery.dim)
    near = np.where(np.arange(_QUERIES) % 2, 0.3, 3.0)[:, None]
    queries = gallery.embeddings[rows] + near * noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries.astype(np.float32), rows


def _compare_pairs(answer, queries, rows, gallery, head):
    """The scores of ids that the gallery has, and of one that it has not."""
    _require(
        answer["found"].tolist() == [[True, False, True]] * len(queries),
        "it does not find its own ids, or finds others",
    )
    off = 0.0
    for column, asked in ((0, rows), (2, np.roll(rows, 1))):
        kept = _kept(gallery.embeddings[asked], head)
        own = np.einsum("ij,ij->i", kept, queries.astype(np.float64))
        given = _cosines(answer["scores"][:, column])
        off = max(off, float(np.abs(_cosines(own) - given).max()))
    _require(
        off <= _tolerance(head),
        f"its scores of given ids differ from NumPy's by {off:.2g}",
    )
    return off


def _compare(answer, queries, gallery, head):
    best, _ = nearest(queries, gallery.embeddings, answer["scores"].shape[1])
    _require(answer["valid"].all(), "it says that a valid embedding is not valid")
    off = 0.0
    row_of = _rows_of(gallery.ids, answer["ids"])
    names = np.array(["", *gallery.class_names.tolist()])
    hits, near = 0, max(_NEAR, trait(head, "tolerance"))
    for query in range(len(queries)):
        ids = [name.decode() for name in answer["ids"][query]]
        given = _cosines(answer["scores"][query])
        there = [place for place, name in enumerate(ids) if name]
        rows = np.array([row_of.get(ids[place], -1) for place in there], np.int64)
        _require(
            len(rows) > 0 and rows.min() >= 0 and len(set(rows.tolist())) == len(rows),
            f"it finds {ids}, which are not different rows of the gallery",
        )
        own = _kept(gallery.embeddings[rows], head) @ queries[query].astype(np.float64)
        own = _cosines(own)
        differs = float(np.abs(own - given[there]).max())
        off = max(off, differs)
        _require(
            differs <= _tolerance(head) and (np.diff(given[there]) <= 0).all(),
            f"the neighbours {ids} do not have the scores {given}",
        )
        if trait(head, "exact"):
            differs = float(np.abs(best[query] - given).max())
            off = max(off, differs)
            _require(
                differs <= _tolerance(head),
                f"its scores are {given}, where the nearest rows have {best[query]}",
            )
        hits += int((own >= best[query, -1] - near).sum())
        labels = [answer["labels"][query][place].decode() for place in there]
        _require(
            labels == names[gallery.labels[rows].clip(-1) + 1].tolist(),
            f"the neighbours {ids} have the labels {labels}",
        )
        close = abs(given[0] - gallery.known_threshold) <= SCORE_TOLERANCE
        _require(
            close
            or bool(answer["known"][query]) == (given[0] > gallery.known_threshold),
            f"a best score of {given[0]:.4f} is known={answer['known'][query]}",
        )
    _require(
        hits >= _LEAST_FOUND * best.size,
        f"of {best.size} nearest rows it finds {hits}",
    )
    return off


def _kept(rows, head):
    """Rows as a head keeps them, in float64, as far as it says how."""
    kept = trait(head, "kept")
    return (rows if kept is None else kept(rows)).astype(np.float64)


def _tolerance(head):
    """How far scores may be from those of `_kept`."""
    if trait(head, "kept") is not None:
        return SCORE_TOLERANCE
    return max(SCORE_TOLERANCE, trait(head, "tolerance"))


def _cosines(scores):
    """Scores cut to [-1, 1], which the graphs of earlier exports do not do."""
    return np.clip(scores, -1, 1)


def _rows_of(ids, found):
    """`{id: row}` of the ids that were found."""
    wanted = np.unique([name.decode() for name in found.ravel() if name] or [""])
    return {str(ids[row]): row for row in np.flatnonzero(np.isin(ids, wanted)).tolist()}


def _require(holds, what):
    if not holds:
        raise RuntimeError(f"The new version does not answer as it should: {what}.")
