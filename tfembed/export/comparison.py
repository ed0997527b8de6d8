"""Compares searches with brute force in NumPy, which shares no code with a graph.

What may differ is said in `tfembed.export.verify`.
"""

import numpy as np

from tfembed.export.brute_force import nearest, shares_of_classes
from tfembed.export.gallery_state import encode_text, hash_ids, index_ids
from tfembed.export.heads import load_head, trait

SCORE_TOLERANCE = 1e-5
VOTE_TOLERANCE = 2e-3


class Comparison:
    """A gallery's searches by brute force, beside what an export answers.

    Args:
        gallery: The `Gallery`.
        head: Name of the export's head.
        k: Neighbours that it was made with.

    Attributes:
        rows: The embeddings as the head keeps them.
        exact: Whether the head finds all.
        tolerance: How far scores may be off.
        worst: The largest differences found so far.
    """

    def __init__(self, gallery, head, k):
        self.gallery = gallery
        self.k = min(k, gallery.size)
        self.voters = min(gallery.vote_k, gallery.size)
        head = load_head(head)
        self.exact = trait(head, "exact")
        self.tolerance = max(SCORE_TOLERANCE, trait(head, "tolerance"))
        self.rows = gallery.embeddings
        if trait(head, "kept") is not None:
            self.rows = _Kept(gallery.embeddings, trait(head, "kept"))
            self.tolerance = SCORE_TOLERANCE
        self.worst = {"embeddings": 0.0, "scores": 0.0}
        self.found = {}
        self.index = index_ids(encode_text(gallery.ids, "ids"))
        self.names = np.array(["", *gallery.class_names.tolist()])

    @property
    def most(self):
        """How many neighbours an answer rests on, found ones and voters."""
        return max(self.k, self.voters)

    def search(self, queries, answer, remains=None):
        """Compares one search with brute force."""
        gallery, exact = self.gallery, self.exact or remains is not None
        count = min(self.most + 1, gallery.size)
        best, rows = self.nearest_rows(queries, count, remains)
        given = {answer[name].shape[1:] for name in ("ids", "labels", "scores")}
        require(
            given == {(self.k,)},
            f"it gives {answer['scores'].shape[1]} neighbours, not {self.k}",
        )
        row_of = self.rows_of(answer["ids"])
        for query, embedding in enumerate(queries):
            self._neighbors(
                embedding,
                {name: value[query] for name, value in answer.items()},
                best[query],
                row_of,
                exact,
            )
            self._vote(answer, query, best[query], rows[query], exact)

    def nearest_rows(self, queries, count, remains=None):
        """Brute force; without filters once for the same queries."""
        embeddings = self.rows
        if remains is not None:
            return nearest(queries, embeddings, count, remains)
        key = queries.tobytes()
        if key not in self.found:
            self.found[key] = nearest(queries, embeddings, count)
        return self.found[key]

    def rows_of(self, ids):
        """Rows by id, of those of the ids that the gallery has."""
        hashes, rows = self.index
        ids = sorted(set(ids.ravel()))
        places = np.searchsorted(hashes, hash_ids(np.array(ids, object)).numpy())
        rows = rows[places.clip(max=len(rows) - 1)].tolist()
        found = {name.decode(): row for name, row in zip(ids, rows)}
        return {n: row for n, row in found.items() if self.gallery.ids[row] == n}

    def _neighbors(self, embedding, answer, best, row_of, exact):
        """Compares the neighbours of one query; `answer` is its row."""
        gallery = self.gallery
        there = answer["ids"] != b""
        ids = [name.decode() for name in answer["ids"][there]]
        rows = [row_of.get(name, -1) for name in ids]
        scores = answer["scores"]
        wanted = best[: self.k][np.isfinite(best[: self.k])]
        if exact:
            require(
                len(ids) == len(wanted),
                f"it finds {len(ids)} neighbours where {len(wanted)} remain",
            )
            off = np.abs(scores[there] - wanted).max(initial=0)
            require(
                off <= self.tolerance,
                f"scores differ from NumPy's by {off:.2g}, more than "
                f"{self.tolerance:g}",
            )
        require(
            min(rows, default=0) >= 0 and len(set(rows)) == len(rows),
            f"the neighbours {ids} are not rows of the gallery, each once",
        )
        own = self.rows[rows].astype(np.float64) @ embedding
        own = np.clip(own, -1, 1)
        off = float(np.abs(own - scores[there]).max(initial=0))
        require(
            off <= self.tolerance and (np.diff(scores[there]) <= 0).all(),
            f"the neighbours {ids} do not have the scores {scores}",
        )
        self.worst["scores"] = max(self.worst["scores"], off)
        labels = [name.decode() for name in answer["labels"]]
        expected = self.names[gallery.labels[rows].clip(-1) + 1].tolist()
        require(
            labels == expected + [""] * (self.k - len(rows))
            and not scores[~there].any(),
            f"the neighbours {ids} have the labels {labels}",
        )
        top = scores[0] if there.any() else -np.inf
        close = abs(top - gallery.known_threshold) <= self.tolerance
        known = bool(answer["known"])
        require(
            close or known == bool(top >= gallery.known_threshold),
            f"a best score of {top:.4f} is known={known}",
        )

    def _vote(self, answer, query, best, rows, exact):
        if not exact or self.tolerance != SCORE_TOLERANCE:
            return
        voters = self.voters
        if len(best) > voters and np.isfinite(best[voters]):
            if best[voters - 1] - best[voters] <= 2 * SCORE_TOLERANCE:
                return  # a rival
        shares = self.class_shares(best[:voters], rows[:voters])
        vote = answer["vote"][query].decode()
        probability = float(answer["vote_probability"][query])
        if not shares.any():
            require(
                vote == "" and probability == 0, f"without labels it votes {vote!r}"
            )
            return
        share = dict(zip(self.gallery.class_names.tolist(), shares)).get(vote, -1.0)
        require(
            share >= shares.max() - VOTE_TOLERANCE
            and abs(share - probability) <= VOTE_TOLERANCE,
            f"it votes {vote!r} with probability {probability:.4f}, where the formula "
            f"gives it {share:.4f} and the winner {shares.max():.4f}",
        )

    def class_shares(self, scores, rows):
        gallery, there = self.gallery, rows >= 0
        return shares_of_classes(
            scores[there],
            gallery.labels[rows[there]],
            len(gallery.class_names),
            gallery.vote_temperature,
        )

    def same_scores(self, given, wanted, exact):
        wanted = np.pad(wanted, (0, self.k - len(wanted)))
        off = given - wanted
        off = float(np.abs(off).max() if exact else off.max())
        require(
            off <= self.tolerance,
            f"query gives the scores {given}, where NumPy's are {wanted}",
        )


class _Kept:
    """Rows as a head keeps them, made where they are read."""

    def __init__(self, rows, kept):
        self._rows, self._of = rows, kept

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, which):
        rows = self._rows[which]
        return self._of(np.atleast_2d(rows)).astype(np.float32).reshape(rows.shape)


def require(holds, what):
    """Raises a RuntimeError that says `what`, unless it holds."""
    if not holds:
        raise RuntimeError(f"The exported model does not answer as it should: {what}.")


def rows_of_answer(answer, rows):
    """Returns some rows of every output of an answer."""
    return {name: value[rows] for name, value in answer.items()}


def shapes(answer):
    """Returns the shape of every output of an answer."""
    return {name: value.shape for name, value in answer.items()}


def check_bad(answer):
    """Nothing is found for what is no image."""
    require(
        not answer["valid"].any()
        and not answer["known"].any()
        and not answer["scores"].any()
        and set(answer["ids"].ravel()) == {b""}
        and set(answer["vote"]) == {b""},
        "a broken image has neighbours",
    )
