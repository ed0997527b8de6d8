"""Questions of the signature `query` that an export is asked, and their answers."""

import numpy as np

from tfembed.export.brute_force import nearest
from tfembed.export.comparison import check_bad, require, rows_of_answer
from tfembed.export.query_options import nothing_asked
from tfembed.export.text_entries import as_text

_ROWS = 1 << 16  # at a time


def query_request(checks, as_bytes):
    """One request of several questions, each in a row of its own."""
    gallery, query = checks.gallery, checks.expected[0]
    best, rows = (each[0] for each in checks.order)
    ids = [str(gallery.ids[row]).encode() for row in rows[:2]]
    inputs = nothing_asked(6, len(query))
    inputs["embeddings"][:4] = query
    # A score between two ranks that rounding does not exchange, if there is one.
    gaps = best[: checks.k - 1] - best[1 : checks.k]
    place = int(gaps.argmax()) if len(gaps) else 0
    least = np.float32(best[place] - (gaps[place] / 2 if len(gaps) else 0.5))
    inputs["min_score"][0] = least
    inputs["per_label"][1] = 1
    inputs["negative_ids"][2] = as_text(ids[-1:])
    inputs["per_label"][3] = 0
    inputs["positive_ids"][4] = as_text([b"\xff no id"])
    inputs["image_bytes"][4:] = as_bytes[[0, -1]]
    negative = unit(checks.rows[rows[: len(ids)][-1]])
    combined = unit(unit(query) - 0.5 * negative)

    def check(answer):
        valid = answer["valid"].tolist()
        said = [text != b"" for text in answer["problem"]]
        require(
            valid == [True] * 3 + [False] * 3 and said == [not v for v in valid],
            f"query says {answer['problem'].tolist()} and valid is {valid}",
        )
        check_bad(rows_of_answer(answer, slice(3, None)))
        found = answer["scores"][0][answer["ids"][0] != b""]
        require(
            (found >= least).all()
            and (not checks.exact or len(found) == (best[: checks.k] > least).sum()),
            f"it finds the scores {found} from {least} on",
        )
        check_limited(checks, answer, query)
        wanted = nearest_but(checks, combined, rows[: len(ids)][-1])
        require(
            ids[-1] not in answer["ids"][2].tolist(),
            f"it finds the example {ids[-1].decode()!r}",
        )
        checks.same_scores(answer["scores"][2], wanted, checks.exact)

    return "query", inputs, check


def check_limited(checks, answer, query):
    """Checks that row 1 has the best row of each label, and all without one."""
    gallery = checks.gallery
    best = np.full(len(gallery.class_names), -np.inf)
    alone = [np.empty(0)]
    for start in range(0, gallery.size, _ROWS):
        part = slice(start, start + _ROWS)
        scores = checks.rows[part].astype(np.float64) @ query
        labels = gallery.labels[part]
        np.maximum.at(best, labels[labels >= 0], scores[labels >= 0])
        alone.append(-np.sort(-scores[labels < 0])[: checks.k])
    wanted = np.concatenate([best[np.isfinite(best)], *alone])
    wanted = -np.sort(-wanted.clip(-1, 1))[: checks.k]
    checks.same_scores(answer["scores"][1], wanted, True)
    row_of = checks.rows_of(answer["ids"][1])
    given = [row_of.get(each.decode(), -1) for each in answer["ids"][1] if each]
    labels = gallery.labels[given][gallery.labels[given] >= 0]
    require(
        min(given, default=0) >= 0 and len(set(labels)) == len(labels),
        f"with one row of each label it finds {answer['labels'][1].tolist()}",
    )


def nearest_but(checks, query, row):
    """The scores of the nearest rows but one."""
    scores, rows = nearest(query[None], checks.rows, checks.k + 1)
    return scores[0][(rows[0] != row) & (rows[0] >= 0)][: checks.k]


def unit(rows):
    """Returns rows in float64, divided by their length."""
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
