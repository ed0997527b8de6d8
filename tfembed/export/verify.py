"""Compares the answers of an export, loaded as a server loads it, with Python's.

Everything is compared with something that shares no code with the graph:

- embeddings with the Keras encoder's own, run here (`EMBEDDING_TOLERANCE`, or
  `MIXED_TOLERANCE` if a layer computes in half precision, where the order of sums
  shows);
- neighbours with all cosines in NumPy float64 (`SCORE_TOLERANCE`): the score at each
  rank must be the score of that rank, and each id must have that score. Rows that lie
  within the tolerance of each other may therefore change places, no others. An
  approximate head may miss rows; what it finds must have the scores that it says. Of
  a head that keeps rows rounded, the cosines are those with the rows as it keeps them
  (`kept`), or within its `tolerance` if it does not say how. Filtered searches, and
  those with few rows of a label, are exact whatever the head;
- the vote with its formula in NumPy (`VOTE_TOLERANCE`), but where the last voter has
  a rival within the score tolerance, or the head is approximate.
"""

import os
import pickle
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed.export.brute_force import nearest, shares_of_classes
from tfembed.export.gallery_state import encode_text, hash_ids, index_ids
from tfembed.export.heads import load_head, trait
from tfembed.export.native import find_libraries
from tfembed.export.query_options import nothing_asked
from tfembed.export.replay import asked
from tfembed.export.warmup import read_warmup
from tfembed.ops.images import decode_image

EMBEDDING_TOLERANCE = 1e-5
MIXED_TOLERANCE = 2e-2
SCORE_TOLERANCE = 1e-5
VOTE_TOLERANCE = 2e-3

# Processes that hold galleries up to this size run at the same time.
_AT_ONCE = 1 << 30
_ROWS = 1 << 16  # at a time
_BROKEN = b"these bytes are no image"
# A PNG file that declares 60,000 x 60,000 pixels.
_HUGE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIB", 13, b"IHDR", 60000, 60000, 8)
_HUGE += b"\2" + 100 * b"\0"
_NO_LINES = b"a\nb\\x"  # an escape that is none
_SEARCH_OUTPUTS = {
    "ids": "string",
    "labels": "string",
    "scores": "float32",
    "vote": "string",
    "vote_probability": "float32",
    "known": "bool",
    "valid": "bool",
}
_EXAMPLES = ("ids", "embeddings")
_EMBED_OUTPUTS = {"embeddings": "float32", "valid": "bool"}


def check_answers(saved_model_dir, encoder, gallery, head, k, encoded_images):
    """Loads an export in a fresh process and compares what it answers.

    One process asks every signature through TensorFlow's C API, without any Python of
    TensorFlow, and replays the warm-up file. Another loads the export by
    `tf.saved_model.load`, looks at its signatures and asks one of them; all, if the
    TensorFlow that is installed comes without its C API.

    Args:
        saved_model_dir: `pathlib.Path` of the SavedModel.
        encoder: The `ExportedEncoder` that it was made from.
        gallery: The `Gallery` that it was made from.
        head: Name of its head.
        k: Neighbours that it was made with.
        encoded_images: Sample images, encoded, at least one.

    Returns:
        What was checked, for the model card: the largest differences found,
        `embeddings` and `scores`, `images`, `runtimes`, `warmup_requests`.

    Raises:
        RuntimeError: If the export does not load, or answers otherwise.
    """
    checks = _Checks(encoder, gallery, head, k, encoded_images)
    warmup = read_warmup(saved_model_dir)
    requests = [(name, inputs) for name, inputs, _ in checks.requests]
    everything = [*requests, *warmup]
    # One answer for all that Python shares with the C API; all where there is none.
    brief = [each for each in requests if each[0] == "search_bytes"][:1]
    runtimes = {"native": everything, "python": brief}
    if not find_libraries():
        runtimes = {"python": everything}
    small = gallery.embeddings.nbytes <= _AT_ONCE
    with ThreadPoolExecutor(len(runtimes) if small else 1) as pool:
        found = [
            pool.submit(ask_in_fresh_process, saved_model_dir, those, runtime)
            for runtime, those in runtimes.items()
        ]
        found = [each.result() for each in found]
    for those, (answers, _) in zip(runtimes.values(), found):
        for (name, inputs), answer in zip(those, answers):
            size = len(next(iter(inputs.values())))
            _require(
                all(value.shape[:1] == (size,) for value in answer.values()),
                f"{asked(name, inputs)} gives {_shapes(answer)}",
            )
        checked = checks.requests
        if those is brief:
            checked = [each for each in checked if each[0] == "search_bytes"][:1]
        for (name, inputs, check), answer in zip(checked, answers):
            try:
                check(answer)
            except RuntimeError as error:
                request = asked(name, inputs)
                raise RuntimeError(f"{error} Asked was {request}.") from None
    _check_signatures(found[-1][1], encoder.image_shape, encoder.dim)
    said = {"native": "TensorFlow's C API", "python": "tf.saved_model.load"}
    return {
        "embeddings_within": checks.worst["embeddings"],
        "scores_within": checks.worst["scores"],
        "images": len(encoded_images),
        "runtimes": [said[name] for name in runtimes],
        "warmup_requests": len(warmup),
    }


def ask_in_fresh_process(saved_model_dir, requests, runtime="python", seconds=900):
    """Runs requests on a SavedModel in a process that has only TensorFlow.

    Args:
        saved_model_dir: Folder of the SavedModel.
        requests: List of `(signature name, {input name: array})`.
        runtime: `"python"`: `tf.saved_model.load`; `"native"`: TensorFlow's C API, as
            a server, with no Python of TensorFlow in the process.
        seconds: How long to wait.

    Returns:
        A list of `{output name: array}`, and the signatures' inputs and outputs.

    Raises:
        RuntimeError: If it fails, with what it was asked, and the whole of what
            TensorFlow said.
    """
    script = Path(__file__).with_name("replay.py")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("requests", "answers", "progress")]
        questions, answered, progress = files
        questions.write_bytes(pickle.dumps(requests))
        command = [sys.executable, script, runtime, saved_model_dir, *files]
        try:
            process = subprocess.run(
                [str(part) for part in command],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"The exported model did not answer within {seconds} s. Asked was "
                f"{_progress(progress)[0]}."
            ) from error
        if process.returncode:
            last, said = _progress(progress)
            said = said or process.stderr.strip() or "nothing"
            raise RuntimeError(
                "The exported model does not run in a process that has only "
                f"TensorFlow (exit status {process.returncode}). Asked was {last}. "
                f"It says: {said}"
            )
        return pickle.loads(answered.read_bytes())


def _progress(path):
    """What a process was last doing, and what it said of it."""
    told = path.read_text("utf-8") if path.exists() else "nothing yet"
    last, _, said = told.partition("\n")
    return last, said.strip()


class _Kept:
    """Rows as a head keeps them, made where they are read."""

    def __init__(self, rows, kept):
        self._rows, self._of = rows, kept

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, which):
        rows = self._rows[which]
        return self._of(np.atleast_2d(rows)).astype(np.float32).reshape(rows.shape)


class _Checks:
    """What is asked, and how each answer is checked.

    Attributes:
        requests: List of `(signature, inputs, function of the answer)`.
        worst: The largest differences found so far.
    """

    def __init__(self, encoder, gallery, head, k, encoded_images):
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
        self.mixed = encoder.is_mixed
        self.worst = {"embeddings": 0.0, "scores": 0.0}
        images = np.stack(
            [
                decode_image(each, encoder.image_shape, resize=encoder.resize)
                for each in encoded_images
            ]
        )
        self.expected = encoder.embed(images)
        norms = np.linalg.norm(self.expected, axis=1)
        _require(
            np.abs(norms - 1).max() < 1e-2,
            f"scores are cosines, but the encoder gives embeddings of length "
            f"{norms[np.abs(norms - 1).argmax()]:.3g}, not 1",
        )
        self.found = {}
        self.order = self._nearest(self.expected, min(self._most + 1, gallery.size))
        self.index = index_ids(encode_text(gallery.ids, "ids"))
        self.names = np.array(["", *gallery.class_names.tolist()])
        self.embedded = {}
        as_bytes = np.array([*encoded_images, _BROKEN, _HUGE], object)
        examples = [_example(each) for each in (*encoded_images, _BROKEN)]
        examples = np.array([*examples, b"no example"], object)
        self.requests = [
            ("embed", {"images": images}, self._embed),
            ("embed_bytes", {"image_bytes": as_bytes}, self._embed_bytes),
            ("search_images", {"images": images}, self._search_images),
            ("search_bytes", {"image_bytes": as_bytes}, self.search_bytes),
            ("serving_default", {"image_bytes": as_bytes[:1]}, self._search_one),
            ("search_images", {"images": images[:0]}, lambda answer: None),
            ("search_bytes", {"image_bytes": as_bytes[-1:]}, _check_bad),
            ("search", {"embeddings": 2 * self.expected}, self._search_embeddings),
            ("classify", {"inputs": examples}, self._classify),
            *self._score_requests(),
            *self._filtered_requests(as_bytes),
            self._query_request(as_bytes),
        ]

    @property
    def _most(self):
        return max(self.k, self.voters)

    def _embed(self, answer):
        self._embeddings("images", answer["embeddings"])

    def _embed_bytes(self, answer):
        count = len(self.expected)
        valid = answer["valid"].tolist()
        _require(
            valid == [True] * count + [False] * (len(valid) - count),
            f"`valid` is {valid}, where only the last two images are broken",
        )
        self._embeddings("bytes", answer["embeddings"][:count])

    def _embeddings(self, kind, given):
        off = float(np.abs(given - self.expected).max())
        tolerance = MIXED_TOLERANCE if self.mixed else EMBEDDING_TOLERANCE
        _require(
            off <= tolerance,
            f"embeddings differ from the encoder's by {off:.2g}, more than "
            f"{tolerance:g}",
        )
        self.worst["embeddings"] = max(self.worst["embeddings"], off)
        self.embedded[kind] = given

    def _search_images(self, answer):
        self._search(self.embedded["images"], answer)

    def search_bytes(self, answer):
        """Checks a search by bytes, after the embeddings were checked."""
        count = len(self.expected)
        self._search(self.embedded["bytes"], _rows(answer, slice(count)))
        _check_bad(_rows(answer, slice(count, None)))

    def _search_one(self, answer):
        if not self.mixed:  # there, another batch size may round otherwise
            self._search(self.embedded["bytes"][:1], answer)

    def _search_embeddings(self, answer):
        self._search(self.expected, answer)

    def _search(self, queries, answer, remains=None):
        """Compares one search with brute force."""
        gallery, exact = self.gallery, self.exact or remains is not None
        count = min(self._most + 1, gallery.size)
        best, rows = self._nearest(queries, count, remains)
        shapes = {answer[name].shape[1:] for name in ("ids", "labels", "scores")}
        _require(
            shapes == {(self.k,)},
            f"it gives {answer['scores'].shape[1]} neighbours, not {self.k}",
        )
        row_of = self._rows_of(answer["ids"])
        for query, embedding in enumerate(queries):
            self._neighbors(
                embedding,
                {name: value[query] for name, value in answer.items()},
                best[query],
                row_of,
                exact,
            )
            self._vote(answer, query, best[query], rows[query], exact)

    def _nearest(self, queries, count, remains=None):
        """Brute force; without filters once for the same queries."""
        embeddings = self.rows
        if remains is not None:
            return nearest(queries, embeddings, count, remains)
        key = queries.tobytes()
        if key not in self.found:
            self.found[key] = nearest(queries, embeddings, count)
        return self.found[key]

    def _rows_of(self, ids):
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
            _require(
                len(ids) == len(wanted),
                f"it finds {len(ids)} neighbours where {len(wanted)} remain",
            )
            off = np.abs(scores[there] - wanted).max(initial=0)
            _require(
                off <= self.tolerance,
                f"scores differ from NumPy's by {off:.2g}, more than "
                f"{self.tolerance:g}",
            )
        _require(
            min(rows, default=0) >= 0 and len(set(rows)) == len(rows),
            f"the neighbours {ids} are not rows of the gallery, each once",
        )
        own = self.rows[rows].astype(np.float64) @ embedding
        own = np.clip(own, -1, 1)
        off = float(np.abs(own - scores[there]).max(initial=0))
        _require(
            off <= self.tolerance and (np.diff(scores[there]) <= 0).all(),
            f"the neighbours {ids} do not have the scores {scores}",
        )
        self.worst["scores"] = max(self.worst["scores"], off)
        labels = [name.decode() for name in answer["labels"]]
        expected = self.names[gallery.labels[rows].clip(-1) + 1].tolist()
        _require(
            labels == expected + [""] * (self.k - len(rows))
            and not scores[~there].any(),
            f"the neighbours {ids} have the labels {labels}",
        )
        top = scores[0] if there.any() else -np.inf
        close = abs(top - gallery.known_threshold) <= self.tolerance
        known = bool(answer["known"])
        _require(
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
        shares = self._class_shares(best[:voters], rows[:voters])
        vote = answer["vote"][query].decode()
        probability = float(answer["vote_probability"][query])
        if not shares.any():
            _require(
                vote == "" and probability == 0, f"without labels it votes {vote!r}"
            )
            return
        share = dict(zip(self.gallery.class_names.tolist(), shares)).get(vote, -1.0)
        _require(
            share >= shares.max() - VOTE_TOLERANCE
            and abs(share - probability) <= VOTE_TOLERANCE,
            f"it votes {vote!r} with probability {probability:.4f}, where the formula "
            f"gives it {share:.4f} and the winner {shares.max():.4f}",
        )

    def _class_shares(self, scores, rows):
        gallery, there = self.gallery, rows >= 0
        return shares_of_classes(
            scores[there],
            gallery.labels[rows[there]],
            len(gallery.class_names),
            gallery.vote_temperature,
        )

    def _classify(self, answer):
        """Classes by share, and nothing of what is no image."""
        count, gallery = len(self.expected), self.gallery
        classes = min(len(gallery.class_names), self.voters)
        _require(
            answer["classes"].shape[1:] == answer["scores"].shape[1:] == (classes,),
            f"classify gives {_shapes(answer)}, not {classes} classes",
        )
        _require(
            set(answer["classes"][count:].ravel()) <= {b""}
            and not answer["scores"][count:].any(),
            "classify gives classes to what is no image",
        )
        sums = answer["scores"][:count].sum(axis=1)
        _require(
            (np.diff(answer["scores"]) <= 0).all()
            and all(abs(each) < 1e-4 or abs(each - 1) < 1e-4 for each in sums),
            f"the scores of classify are no shares: their sums are {sums}",
        )
        if not self.exact or self.mixed:
            return
        best, rows = self.order
        for query in range(count):
            if len(best[query]) > self.voters:
                last = best[query, self.voters - 1 : self.voters + 1]
                if last[0] - last[1] <= 2 * SCORE_TOLERANCE:
                    continue
            voters = slice(self.voters)
            shares = self._class_shares(best[query, voters], rows[query, voters])
            wanted = -np.sort(-shares)[:classes]
            off = np.abs(answer["scores"][query] - wanted).max(initial=0)
            _require(
                off <= VOTE_TOLERANCE,
                f"the scores of classify differ from NumPy's by {off:.2g}",
            )

    def _score_requests(self):
        """Asks for the scores of near rows, of an id that is not there, of none."""
        rows = self.order[1][:, : min(self.k, 4)]
        count = len(rows)
        ids = [[name.encode() for name in self.gallery.ids[row]] for row in rows]
        ids = np.array([each + [b"\xff no id", b""] for each in ids], object)
        wanted = self.order[0][:, : rows.shape[1]]

        def check(answer):
            found = np.concatenate(
                [np.ones(rows.shape, bool), np.zeros((count, 2), bool)], axis=1
            )
            off = np.abs(answer["scores"][:, :-2] - wanted).max()
            _require(
                np.array_equal(answer["found"], found)
                and not answer["scores"][:, -2:].any()
                and off <= self.tolerance,
                f"score finds {answer['found'].tolist()}, with scores off by {off:.2g}",
            )

        def check_lines(answer):
            lines = [each.split(b"\n") for each in answer["lines"][:-1].tolist()]
            _require(
                answer["valid"].tolist() == [True] * count + [False]
                and answer["lines"][-1] == b""
                and {len(each) for each in lines} == {ids.shape[1]},
                f"score_lines gives {lines}",
            )
            scores = np.array([[float(each or 0) for each in row] for row in lines])
            found = np.array([[each != b"" for each in row] for row in lines])
            check({"scores": scores, "found": found})

        lines = np.array([*map(_as_text, ids.tolist()), _NO_LINES], object)
        embeddings = self.expected[[*range(count), 0]]
        return [
            ("score", {"embeddings": self.expected, "ids": ids}, check),
            ("score_lines", {"embeddings": embeddings, "ids": lines}, check_lines),
        ]

    def _filtered_requests(self, as_bytes):
        """Searches without the nearest rows, in one class, and in a list of ids."""
        gallery, count = self.gallery, len(self.expected)
        _, rows = self.order
        empty = np.full((count, 1), b"", object)
        nothing = dict.fromkeys(
            ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels"), empty
        )
        near = rows[:, : min(2, gallery.size)]
        ids = np.array([[n.encode() for n in gallery.ids[row]] for row in near], object)

        def without(start, stop):
            return ~(near[:, :, None] == np.arange(start, stop)).any(axis=1)

        def only(start, stop):
            return ~without(start, stop)

        checks = [
            ({"exclude_ids": ids}, without),
            ({"allow_ids": np.concatenate([ids, empty], axis=1)}, only),
        ]
        labelled = gallery.labels[gallery.labels >= 0]
        if len(labelled):
            label = np.bincount(labelled[: 1 << 20]).argmax()
            name = np.full((count, 1), str(gallery.class_names[label]).encode(), object)

            def of_class(start, stop):
                same = gallery.class_names[gallery.labels[start:stop].clip(0)]
                same = (same == gallery.class_names[label]) & (
                    gallery.labels[start:stop] >= 0
                )
                return np.broadcast_to(same, (count, stop - start))

            def of_others(start, stop):
                return ~of_class(start, stop)

            checks += [
                ({"allow_labels": name}, of_class),
                ({"exclude_labels": name}, of_others),
            ]
        requests = []
        for filters, remains in checks:
            inputs = {"embeddings": self.expected, **nothing, **filters}

            def check(answer, remains=remains):
                self._search(self.expected, answer, remains)

            def check_lines(answer, remains=remains):
                self._search(self.expected, _rows(answer, slice(count)), remains)
                _check_bad(_rows(answer, slice(count, None)))

            requests.append(("search_filtered", inputs, check))
            lines = {"embeddings": self.expected[[*range(count), 0]]}
            for name in nothing:
                texts = map(_as_text, _longer(inputs[name]))
                last = _NO_LINES if name in filters else b""
                lines[name] = np.array([*texts, last], object)
            requests.append(("search_filtered_lines", lines, check_lines))
        several = {name: np.repeat(v[:1], 2, 0) for name, v in nothing.items()}
        inputs = {"image_bytes": as_bytes[[0, -1]], **several}
        lines = {"image_bytes": as_bytes[[0, -1]]}
        lines.update(dict.fromkeys(nothing, np.array([b"", b""], object)))

        def check_bytes(answer):
            if not self.mixed:
                found = _rows(answer, slice(1))
                self._search(
                    self.embedded["bytes"][:1],
                    found,
                    lambda start, stop: np.ones((1, stop - start), bool),
                )
            _check_bad(_rows(answer, slice(1, None)))

        return [
            *requests,
            ("search_filtered_bytes", inputs, check_bytes),
            ("search_filtered_bytes_lines", lines, check_bytes),
        ]

    def _query_request(self, as_bytes):
        """One request of several questions, each in a row of its own."""
        gallery, query = self.gallery, self.expected[0]
        best, rows = (each[0] for each in self.order)
        ids = [str(gallery.ids[row]).encode() for row in rows[:2]]
        inputs = nothing_asked(6, len(query))
        inputs["embeddings"][:4] = query
        # A score between two ranks that rounding does not exchange, if there is one.
        gaps = best[: self.k - 1] - best[1 : self.k]
        place = int(gaps.argmax()) if len(gaps) else 0
        least = np.float32(best[place] - (gaps[place] / 2 if len(gaps) else 0.5))
        inputs["min_score"][0] = least
        inputs["per_label"][1] = 1
        inputs["negative_ids"][2] = _as_text(ids[-1:])
        inputs["per_label"][3] = 0
        inputs["positive_ids"][4] = _as_text([b"\xff no id"])
        inputs["image_bytes"][4:] = as_bytes[[0, -1]]
        negative = _unit(self.rows[rows[: len(ids)][-1]])
        combined = _unit(_unit(query) - 0.5 * negative)

        def check(answer):
            valid = answer["valid"].tolist()
            said = [text != b"" for text in answer["problem"]]
            _require(
                valid == [True] * 3 + [False] * 3 and said == [not v for v in valid],
                f"query says {answer['problem'].tolist()} and valid is {valid}",
            )
            _check_bad(_rows(answer, slice(3, None)))
            found = answer["scores"][0][answer["ids"][0] != b""]
            _require(
                (found >= least).all()
                and (not self.exact or len(found) == (best[: self.k] > least).sum()),
                f"it finds the scores {found} from {least} on",
            )
            self._limited(answer, query)
            wanted = self._nearest_but(combined, rows[: len(ids)][-1])
            _require(
                ids[-1] not in answer["ids"][2].tolist(),
                f"it finds the example {ids[-1].decode()!r}",
            )
            self._same_scores(answer["scores"][2], wanted, self.exact)

        return "query", inputs, check

    def _limited(self, answer, query):
        """Checks that row 1 has the best row of each label, and all without one."""
        gallery = self.gallery
        best = np.full(len(gallery.class_names), -np.inf)
        alone = [np.empty(0)]
        for start in range(0, gallery.size, _ROWS):
            part = slice(start, start + _ROWS)
            scores = self.rows[part].astype(np.float64) @ query
            labels = gallery.labels[part]
            np.maximum.at(best, labels[labels >= 0], scores[labels >= 0])
            alone.append(-np.sort(-scores[labels < 0])[: self.k])
        wanted = np.concatenate([best[np.isfinite(best)], *alone])
        wanted = -np.sort(-wanted.clip(-1, 1))[: self.k]
        self._same_scores(answer["scores"][1], wanted, True)
        row_of = self._rows_of(answer["ids"][1])
        given = [row_of.get(each.decode(), -1) for each in answer["ids"][1] if each]
        labels = gallery.labels[given][gallery.labels[given] >= 0]
        _require(
            min(given, default=0) >= 0 and len(set(labels)) == len(labels),
            f"with one row of each label it finds {answer['labels'][1].tolist()}",
        )

    def _nearest_but(self, query, row):
        """The scores of the nearest rows but one."""
        scores, rows = nearest(query[None], self.rows, self.k + 1)
        return scores[0][(rows[0] != row) & (rows[0] >= 0)][: self.k]

    def _same_scores(self, given, wanted, exact):
        wanted = np.pad(wanted, (0, self.k - len(wanted)))
        off = given - wanted
        off = float(np.abs(off).max() if exact else off.max())
        _require(
            off <= self.tolerance,
            f"query gives the scores {given}, where NumPy's are {wanted}",
        )


def _unit(rows):
    """Returns rows in float64, divided by their length."""
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _example(encoded):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    features = tf.train.Features(feature={"image_bytes": feature})
    return tf.train.Example(features=features).SerializeToString()


def _as_text(entries):
    """A list as one string, an entry a line."""
    return b"\n".join(
        each.replace(b"\\", b"\\\\").replace(b"\n", b"\\n") for each in entries
    )


def _longer(table):
    """Lists of different lengths that say what the rows of a table say."""
    for number, row in enumerate(table.tolist()):
        entries = [each for each in row if each]
        yield entries + [b"no \\ such\nentry"] * number if entries else entries


def _rows(answer, rows):
    return {name: value[rows] for name, value in answer.items()}


def _shapes(answer):
    return {name: value.shape for name, value in answer.items()}


def _require(holds, what):
    if not holds:
        raise RuntimeError(f"The exported model does not answer as it should: {what}.")


def _check_signatures(described, image_shape, dim):
    images = {"images": ("float32", [None, *image_shape])}
    image_bytes = {"image_bytes": ("string", [None])}
    embeddings = {"embeddings": ("float32", [None, dim])}
    lists = ("string", [None, None])
    names = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")
    filters = dict.fromkeys(names, lists)
    lines = dict.fromkeys(names, ("string", [None]))
    examples = [f"{k}_{w}" for k in ("positive", "negative") for w in _EXAMPLES]
    signatures = {
        "embed": (images, _EMBED_OUTPUTS),
        "embed_bytes": (image_bytes, _EMBED_OUTPUTS),
        "search": (embeddings, _SEARCH_OUTPUTS),
        "search_images": (images, _SEARCH_OUTPUTS),
        "search_bytes": (image_bytes, _SEARCH_OUTPUTS),
        "serving_default": (image_bytes, _SEARCH_OUTPUTS),
        "search_filtered": ({**embeddings, **filters}, _SEARCH_OUTPUTS),
        "search_filtered_bytes": ({**image_bytes, **filters}, _SEARCH_OUTPUTS),
        "score": (
            {**embeddings, "ids": lists},
            {"scores": "float32", "found": "bool"},
        ),
        "search_filtered_lines": ({**embeddings, **lines}, _SEARCH_OUTPUTS),
        "search_filtered_bytes_lines": ({**image_bytes, **lines}, _SEARCH_OUTPUTS),
        "score_lines": (
            {**embeddings, "ids": ("string", [None])},
            {"lines": "string", "valid": "bool"},
        ),
        "query": (
            {
                **image_bytes,
                **embeddings,
                **dict.fromkeys(examples, ("string", [None])),
                **dict.fromkeys(("negative_weight", "min_score"), ("float32", [None])),
                "per_label": ("int32", [None]),
                **lines,
            },
            {**_SEARCH_OUTPUTS, "problem": "string"},
        ),
        "classify": (
            {"inputs": ("string", [None])},
            {"classes": "string", "scores": "float32"},
        ),
    }
    wanted = {
        name: {"inputs": inputs, "outputs": outputs}
        for name, (inputs, outputs) in signatures.items()
    }
    _require(described == wanted, f"its signatures are {described}, not {wanted}")


def _check_bad(answer):
    """Nothing is found for what is no image."""
    _require(
        not answer["valid"].any()
        and not answer["known"].any()
        and not answer["scores"].any()
        and set(answer["ids"].ravel()) == {b""}
        and set(answer["vote"]) == {b""},
        "a broken image has neighbours",
    )
