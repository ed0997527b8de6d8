"""What is served: an encoder, a gallery and a head, as one `tf.Module`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.compat import variable
from tfembed.export.chunks import in_chunks
from tfembed.export.examples import KINDS, MOST, combine_examples
from tfembed.export.filtered_search import filtered_neighbors, score_each, score_pairs
from tfembed.export.gallery_state import variable_shape
from tfembed.export.heads import load_head
from tfembed.export.id_lookup import find_rows
from tfembed.export.image_bytes import decode_examples, decode_images
from tfembed.export.input_shapes import as_declared
from tfembed.export.problems import Problems
from tfembed.export.query_options import check_options
from tfembed.export.query_search import query_neighbors
from tfembed.export.text_lists import NO_LINES, read_lists, write_lines
from tfembed.export.unit_embeddings import unit_embeddings
from tfembed.ops.cosines import cut_cosines
from tfembed.ops.image_formats import MAX_PIXELS
from tfembed.ops.vote import vote_shares, weighted_vote
from tfembed.ops.zero_rows import around_zero_rows

_AT_ONCE = 64 << 20  # bytes of an array that become a tensor at a time

FILTERS = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")


class SearchModel(tf.Module):
    """Embeds images and finds their neighbours in a gallery.

    | signature | inputs | outputs |
    |---|---|---|
    | `embed` | `images` | `embeddings`, `valid` |
    | `embed_bytes` | `image_bytes` | the same |
    | `search` | `embeddings` | `ids`, `labels`, `scores`, `vote`, ... |
    | `search_images` | `images` | the same |
    | `search_bytes`, `serving_default` | `image_bytes` | the same |
    | `search_filtered` | `embeddings`, filters | the same |
    | `search_filtered_bytes` | `image_bytes`, filters | the same |
    | `score` | `embeddings`, `ids` | `scores`, `found` |
    | `search_filtered_lines` | `embeddings`, filters as lines | as `search` |
    | `search_filtered_bytes_lines` | `image_bytes`, filters as lines | the same |
    | `score_lines` | `embeddings`, `ids` as lines | `lines`, `valid` |
    | `query` | all that can be asked, see below | as `search`, `problem` |
    | `classify` | `inputs` | `classes`, `scores` |

    Inputs: `images` float32 `(batch, height, width, channels)` in 0..255;
    `image_bytes` string `(batch,)`, JPEG, PNG, GIF or BMP files; `embeddings` float32
    `(batch, d)` of any length but 0, they are divided by it; `inputs` string
    `(batch,)`, serialized `tf.train.Example`s, see `decode_examples`. The filters are
    `allow_ids`, `exclude_ids`, `allow_labels` and `exclude_labels`, string
    `(batch, any)` padded with empty strings, see `filtered_search`; `ids` of `score`
    is string `(batch, m)`, padded likewise. A server joins requests only where these
    lists are equally wide; the signatures `..._lines` take each list as one string, and
    the inputs of all callers are alike: string `(batch,)`, one entry a line, see
    `text_lists`. An input of another shape than these fails the request with a
    sentence, see `input_shapes`.

    `query` takes one value a row of everything, and each has one that asks for nothing
    (in brackets). What is asked is like `image_bytes` (empty) and `embeddings` (zero),
    like `positive_ids` and `positive_embeddings` and unlike `negative_ids` and
    `negative_embeddings` (all empty): ids as lines, embeddings as the bytes of their
    numbers; `negative_weight` float32 from 0 to 1 (any). They are combined as
    `tfembed.export.examples` says; rows of the gallery that are examples by id are left
    out of the answer. `min_score` float32 (-1): rows of lower scores do not count.
    `per_label` int32 (2147483647): at most so many neighbours of one label are shown,
    exactly; rows without a label are not limited, and the vote and `known` are of the
    nearest rows all the same. Filters as lines (empty). With filters, or a `per_label`
    below k, all rows are looked at whatever the head; else the head searches.

    Outputs, all of them with the batch first:

    - `embeddings` float32 `(batch, d)`, of unit length.
    - `ids` string `(batch, k)`: gallery ids, nearest first; equal scores in the
      gallery's order.
    - `labels` string `(batch, k)`: the neighbours' class names, empty if unknown.
    - `scores` float32 `(batch, k)`: cosine similarities, cut to [-1, 1].
    - `vote` string `(batch,)`, `vote_probability` float32 `(batch,)`: the winner of
      the weighted vote among the `vote_k` nearest, and its share; empty and 0 if no
      neighbour has a label.
    - `known` bool `(batch,)`: whether the best score reaches the threshold.
    - `valid` bool `(batch,)`: false for bytes that do not decode or declare more than
      `max_pixels`, for images or embeddings that are not finite, for embeddings of
      length 0, for lines with an escape that is none, and for whatever `query` cannot
      answer. Such a row has zero
      embeddings, scores and probability, empty strings and `known` false, and leaves
      the others alone.
    - of `query`: `problem` string `(batch,)`, why a row is not valid, in words; empty
      where it is.
    - of `score_lines`: `lines` string `(batch,)`: for each line of `ids` one with its
      score, to 9 digits, empty where the gallery does not have it. (Numbers `(batch,
      m)` would be of another width in each part of a request that a server splits.)
    - of `score`: `scores` float32 `(batch, m)`, `found` bool `(batch, m)`: whether the
      gallery has the id (and the embedding is valid); the score is 0 where not.
    - of `classify`: `classes` string `(batch, c)` and their shares of the vote,
      `scores` float32 `(batch, c)`, largest first and equal ones in the order of the
      class names. c is the number of classes, or of voters if that is smaller. A bad
      image has empty names and zeros.

    Where fewer than k rows are found, as a filter may have it, the rest of a row has
    empty strings as ids and labels, and score 0; without any, `known` is false. A
    gallery of fewer than `k` rows gives as many columns as it has rows.

    Everything of the gallery is a variable, and none has a fixed number of rows, so
    that another gallery fits the same graph.

    >>> from tfembed.export import SearchModel
    >>> from tfembed.export.gallery_state import gallery_state
    >>> from tfembed.export.heads import build_head
    >>> from tfembed.export.run_directory import Gallery
    >>> rows, ids = np.eye(16, dtype="float32"), np.array(list("abcdefghijklmnop"))
    >>> gallery = Gallery(rows, np.zeros(16, "int64"), ids, np.array(["cat"]))
    >>> state = gallery_state(gallery, build_head("exact", rows))
    >>> encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> like = {"image_shape": (4, 4, 1), "dim": 16, "head": "exact", "k": 2}
    >>> model = SearchModel(encoder, encoder.weights, state=state, **like)
    >>> model.search(tf.constant(rows[:1]))["ids"].numpy()[0, 0]
    b'a'

    Args:
        encoder: Function of images `(batch, height, width, channels)` and `training`
            that returns `(batch, d)`, such as a Keras model.
        weights: The encoder's weights, all of them: Keras' or `tf.Variable`s.
        image_shape: `(height, width, channels)`.
        dim: d.
        head: Name of the head.
        state: The values of `tfembed.export.gallery_state.gallery_state`.
        k: Neighbours in an answer.
        max_score_bytes: A batch is searched in chunks such that the scores of a
            chunk, 4 bytes each, take no more. (The search holds about two tables of
            that size for a moment.)
        max_pixels: Images that declare more are not decoded.
        normalize: Divides the encoder's embeddings by their length.
        resize: How encoded images are brought to `image_shape`, see
            `tfembed.ops.resize`.
    """

    def __init__(
        self,
        encoder: Callable[..., tf.Tensor],
        weights: Sequence[Any],
        image_shape: tuple[int, int, int],
        dim: int,
        head: str,
        state: Mapping[str, np.ndarray],
        k: int = 10,
        max_score_bytes: int = 128 << 20,
        max_pixels: int = MAX_PIXELS,
        normalize: bool = False,
        resize: str = "squash",
    ) -> None:
        super().__init__(name="search_model")
        # The encoder itself is not an attribute: its Keras objects stay out of the
        # export, but its variables, also those without a gradient, must be in it.
        self.encoder_variables = [variable(weight) for weight in weights]
        self._image_shape = tuple(image_shape)
        self._dim = int(dim)
        self._head = load_head(head)
        self._k = int(k)
        self._max_scores = min(int(max_score_bytes) // 4, 2**31 - 1)
        self._max_pixels = int(max_pixels)
        self._normalize, self._resize = normalize, resize
        self._gallery_names = tuple(state)
        # The signatures are attributes, too, later: `search` of `_search`.
        taken = {*dir(self), *(name[1:] for name in dir(self) if name[0] == "_")}
        for name, value in state.items():
            if name in taken:
                raise ValueError(
                    "A head must name its arrays as no attribute of the model is "
                    f"named. Received: {name!r}, of the head {head!r}. Begin it with "
                    "the head's name."
                )
            setattr(self, name, _gallery_variable(name, value))
        self._trace(encoder)

    def _trace(self, encoder):
        """Makes the signatures, of a few functions that they share.

        Only the encoder, which may be anybody's code, goes through AutoGraph.
        """
        strings = tf.TensorSpec([None], tf.string)
        lists = tf.TensorSpec([None, None], tf.string)
        images = tf.TensorSpec([None, *self._image_shape], tf.float32)
        embeddings = tf.TensorSpec([None, self._dim], tf.float32)
        numbers = tf.TensorSpec([None], tf.float32)
        filters = [lists] * len(FILTERS)
        inputs = {
            "embed": [images],
            "embed_bytes": [strings],
            "search": [embeddings],
            "search_images": [images],
            "search_bytes": [strings],
            "search_filtered": [embeddings, *filters],
            "search_filtered_bytes": [strings, *filters],
            "score": [embeddings, lists],
            "search_filtered_lines": [embeddings, *[strings] * len(FILTERS)],
            "search_filtered_bytes_lines": [strings, *[strings] * len(FILTERS)],
            "score_lines": [embeddings, strings],
            "query": [
                *[strings, embeddings],
                *[strings] * 2 * len(KINDS),
                *[numbers, numbers, tf.TensorSpec([None], tf.int32)],
                *[strings] * len(FILTERS),
            ],
            "classify": [strings],
        }
        valid = tf.TensorSpec([None], tf.bool)
        encode = tf.function(
            lambda images: encoder(images, training=False), input_signature=[images]
        )
        # In closures, not attributes: or they were exported as functions themselves.
        self._encode = lambda *inputs: encode(*inputs)
        self._decode = _shared(self._decode_bytes, [strings])
        self._embed_valid = _shared(self._embed_decoded, [images, valid])
        self._nearest = _shared(
            self._searched,
            [embeddings, tf.TensorSpec([], tf.int32)],
        )
        self._answer = _shared(self._answer_all, [embeddings, valid])
        self._answer_filtered = _shared(
            self._answer_some, [embeddings, valid, *filters]
        )
        for name, signature in inputs.items():
            method = _of_any_rows(getattr(self, f"_{name}"), signature)
            setattr(self, name, tf.function(method, signature, autograph=False))
        # A layer may hold a `tf.Variable` that Keras does not count as a weight.
        held = {id(each) for each in self.encoder_variables}
        try:
            variables = encode.get_concrete_function().graph.variables
        except Exception as error:
            said = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ValueError(
                "The encoder must run in a graph, as under `fit`. Received: one that "
                f"says there: {' '.join(said)[-400:]}"
            ) from error
        self.encoder_variables += [v for v in variables if id(v) not in held]

    @property
    def signatures(self) -> dict[str, Any]:
        """Signature names and their functions, for `tf.saved_model.save`."""
        return {
            "serving_default": self.search_bytes,
            "search_bytes": self.search_bytes,
            "search_images": self.search_images,
            "search": self.search,
            "search_filtered": self.search_filtered,
            "search_filtered_bytes": self.search_filtered_bytes,
            "score": self.score,
            "search_filtered_lines": self.search_filtered_lines,
            "search_filtered_bytes_lines": self.search_filtered_bytes_lines,
            "score_lines": self.score_lines,
            "query": self.query,
            "classify": self.classify,
            "embed_bytes": self.embed_bytes,
            "embed": self.embed,
        }

    @property
    def gallery_variables(self) -> dict[str, tf.Variable]:
        """`{name: tf.Variable}` of all that depends on the gallery."""
        return {name: getattr(self, name) for name in self._gallery_names}

    def _searched(self, queries, k):
        found = self._head.search(self.gallery_variables, queries, k)
        types = [tf.as_dtype(each.dtype).name for each in found]
        if types != ["float32", "int32"]:
            raise ValueError(
                "A head's `search` must return scores in float32 and rows in int32. "
                f"Received: {' and '.join(types)}."
            )
        return tuple(found)

    def _embed(self, images):
        return self._embed_valid(images, tf.fill([tf.shape(images)[0]], True))

    def _embed_bytes(self, image_bytes):
        return self._embed_valid(*self._decode(image_bytes))

    def _search(self, embeddings):
        return self._answer(*unit_embeddings(embeddings))

    def _search_images(self, images):
        embedded = self._embed(images)
        return self._answer(embedded["embeddings"], embedded["valid"])

    def _search_bytes(self, image_bytes):
        embedded = self._embed_bytes(image_bytes)
        return self._answer(embedded["embeddings"], embedded["valid"])

    def _search_filtered(
        self, embeddings, allow_ids, exclude_ids, allow_labels, exclude_labels
    ):
        filters = (allow_ids, exclude_ids, allow_labels, exclude_labels)
        return self._answer_filtered(*unit_embeddings(embeddings), *filters)

    def _search_filtered_bytes(
        self, image_bytes, allow_ids, exclude_ids, allow_labels, exclude_labels
    ):
        embedded = self._embed_bytes(image_bytes)
        filters = (allow_ids, exclude_ids, allow_labels, exclude_labels)
        return self._answer_filtered(
            embedded["embeddings"], embedded["valid"], *filters
        )

    def _score(self, embeddings, ids):
        queries, valid = unit_embeddings(embeddings)
        rows = tf.where(valid[:, None], find_rows(self.gallery_variables, ids), -1)
        found = rows >= 0
        scores = score_pairs(
            self._head, self.gallery_variables, queries, rows, self._max_scores
        )
        scores = tf.clip_by_value(scores, -1.0, 1.0)
        return {"scores": tf.where(found, scores, 0.0), "found": found}

    def _search_filtered_lines(
        self, embeddings, allow_ids, exclude_ids, allow_labels, exclude_labels
    ):
        texts = (allow_ids, exclude_ids, allow_labels, exclude_labels)
        return self._answer_lines(*unit_embeddings(embeddings), texts)

    def _search_filtered_bytes_lines(
        self, image_bytes, allow_ids, exclude_ids, allow_labels, exclude_labels
    ):
        embedded = self._embed_bytes(image_bytes)
        texts = (allow_ids, exclude_ids, allow_labels, exclude_labels)
        return self._answer_lines(embedded["embeddings"], embedded["valid"], texts)

    def _score_lines(self, embeddings, ids):
        queries, valid = unit_embeddings(embeddings)
        lists, readable = read_lists(ids)
        valid = tf.logical_and(valid, readable)
        of_query = lists.value_rowids()
        rows = find_rows(self.gallery_variables, lists.flat_values)
        rows = tf.where(tf.gather(valid, of_query), rows, -1)
        scores = score_each(
            self._head,
            self.gallery_variables,
            queries,
            tf.cast(of_query, tf.int32),
            rows,
            self._max_scores,
        )
        scores = tf.clip_by_value(scores, -1.0, 1.0)
        # 9 digits tell every float32 from its neighbours.
        texts = tf.strings.as_string(scores, precision=9, shortest=True)
        lines = write_lines(tf.where(rows >= 0, texts, ""), of_query, lists.nrows())
        return {"lines": tf.where(valid, lines, ""), "valid": valid}

    def _query(
        self,
        image_bytes,
        embeddings,
        positive_ids,
        negative_ids,
        positive_embeddings,
        negative_embeddings,
        negative_weight,
        min_score,
        per_label,
        allow_ids,
        exclude_ids,
        allow_labels,
        exclude_labels,
    ):
        problems = Problems(tf.fill([tf.shape(image_bytes)[0]], ""))
        limits = check_options(min_score, per_label, negative_weight, problems)
        texts = (allow_ids, exclude_ids, allow_labels, exclude_labels)
        filters = {}
        for name, text in zip(FILTERS, texts):
            lists, readable = read_lists(text)
            filters[name] = lists.to_tensor("")
            problems.add(~readable, f"`{name}` must be lines. {NO_LINES}")
        given = self._given(image_bytes, embeddings, problems)
        examples = {
            "positive_ids": positive_ids,
            "negative_ids": negative_ids,
            "positive_embeddings": positive_embeddings,
            "negative_embeddings": negative_embeddings,
        }
        queries, out = self._combined(given, examples, negative_weight, problems)
        found = self._neighbors_within(queries, filters, out, limits, min_score)
        return {**self._named(problems.none, *found), "problem": problems.texts}

    def _given(self, image_bytes, embeddings, problems):
        """What is asked with: embeddings of images, and embeddings; and which are."""
        rows = tf.cast(tf.where(image_bytes != "")[:, 0], tf.int32)

        def embed():
            embedded = self._embed_bytes(tf.gather(image_bytes, rows))
            return embedded["embeddings"], embedded["valid"]

        def nothing():
            return tf.zeros([0, self._dim]), tf.zeros([0], tf.bool)

        pictured, valid = tf.cond(tf.size(rows) > 0, embed, nothing)
        shape, places = tf.shape(embeddings), rows[:, None]
        pictured = tf.scatter_nd(places, pictured, shape)
        valid = tf.scatter_nd(places, tf.cast(valid, tf.int32), shape[:1]) > 0
        has_image = image_bytes != ""
        problems.add(
            has_image & ~valid,
            "`image_bytes` must be a JPEG, PNG, GIF or BMP file that decodes, of at "
            f"most {self._max_pixels:,} pixels. Received: another.",
        )
        units, valid = unit_embeddings(embeddings)
        has_embedding = tf.reduce_any(embeddings != 0, axis=1)
        problems.add(
            has_embedding & ~valid,
            "`embeddings` must be finite. Received: a row that is not.",
        )
        return [(pictured, has_image), (units, has_embedding)]

    def _combined(self, given, examples, weight, problems):
        """Queries, and the rows that are examples; adds to the problems."""

        def combine(start, stop):
            here = Problems(problems.texts[start:stop])
            found = combine_examples(
                self._head,
                self.gallery_variables,
                [(rows[start:stop], there[start:stop]) for rows, there in given],
                {name: each[start:stop] for name, each in examples.items()},
                weight[start:stop],
                here,
            )
            return *found, here.texts

        outputs = [
            (tf.float32, [None, self._dim]),
            (tf.int32, [None, MOST]),
            (tf.string, [None]),
        ]
        chunk = max(self._max_scores // (MOST * self._dim), 1)
        queries, rows, problems.texts = in_chunks(
            tf.shape(weight)[0], chunk, combine, outputs
        )
        return queries, rows

    def _classify(self, inputs):
        decoded = decode_examples(
            inputs, self._image_shape, self._max_pixels, self._resize
        )
        embedded = self._embed_valid(*decoded)
        labels, shares = self._shares(embedded["embeddings"])
        valid = embedded["valid"][:, None]
        names = tf.gather(self.label_names, labels + 1)
        return {
            "classes": tf.where(valid, names, ""),
            "scores": tf.where(valid, shares, 0.0),
        }

    def _decode_bytes(self, image_bytes):
        return decode_images(
            image_bytes, self._image_shape, self._max_pixels, self._resize
        )

    def _embed_decoded(self, images, valid):
        """Embeds the images that are finite and come out so; zero for the others."""
        finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
        valid = tf.logical_and(valid, finite)
        images = tf.where(valid[:, None, None, None], images, 0.0)
        embeddings = tf.cast(self._encode(images), tf.float32)
        embeddings = tf.ensure_shape(embeddings, [None, self._dim])
        finite = tf.reduce_all(tf.math.is_finite(embeddings), axis=1)
        valid = tf.logical_and(valid, finite)
        if self._normalize:
            embeddings, positive = unit_embeddings(embeddings)
            valid = tf.logical_and(valid, positive)
        embeddings = tf.where(valid[:, None], embeddings, 0.0)
        return {"embeddings": embeddings, "valid": valid}

    def _answer_all(self, embeddings, valid):
        return self._named(valid, *self._neighbors(embeddings))

    def _answer_some(self, embeddings, valid, *filters):
        filters = dict(zip(FILTERS, filters))
        return self._named(valid, *self._neighbors(embeddings, filters))

    def _answer_lines(self, embeddings, valid, texts):
        """Answers with filters that are lines; those that are none make a bad row."""
        filters = []
        for text in texts:
            lists, readable = read_lists(text)
            filters.append(lists.to_tensor(""))
            valid = tf.logical_and(valid, readable)
        return self._answer_filtered(embeddings, valid, *filters)

    def _named(self, valid, scores, rows, winner, share):
        """The outputs of a search, in names."""
        k = tf.minimum(self._k, tf.shape(self.gallery_labels)[0])
        scores, rows = scores[:, :k], rows[:, :k]
        found = tf.logical_and(valid[:, None], rows >= 0)
        # The best score, or -inf.
        best = tf.reduce_max(scores, axis=1)
        known = tf.logical_and(best >= self.known_threshold, found[:, 0])
        names = tf.gather(self.label_names, self._labels(rows) + 1)
        vote = tf.gather(self.label_names, winner + 1)
        ids = tf.gather(self.gallery_ids, tf.maximum(rows, 0))
        return {
            "ids": tf.where(found, ids, ""),
            "labels": tf.where(found, names, ""),
            "scores": tf.where(found, scores, 0.0),
            "vote": tf.where(valid, vote, ""),
            "vote_probability": tf.where(valid, share, 0.0),
            "known": tf.logical_and(valid, known),
            "valid": valid,
        }

    def _labels(self, rows):
        """Labels of rows, -1 for those without one and where there is no row."""
        labels = tf.gather(self.gallery_labels, tf.maximum(rows, 0))
        return tf.where(rows >= 0, tf.maximum(labels, -1), -1)

    def _neighbors(self, queries, filters=None):
        """Scores, rows, vote and its share, a chunk of queries at a time."""
        size = tf.shape(self.gallery_labels)[0]
        columns = tf.minimum(tf.maximum(self._k, self.vote_k), size)

        def search(start, stop):
            if filters is None:
                scores, rows = self._nearest(queries[start:stop], columns)
            else:
                scores, rows = filtered_neighbors(
                    self._head,
                    self.gallery_variables,
                    queries[start:stop],
                    {name: each[start:stop] for name, each in filters.items()},
                    columns,
                    self._max_scores,
                )
            scores, rows = cut_cosines(scores, rows)
            winner, share = weighted_vote(
                scores[:, : self.vote_k],
                self._labels(rows[:, : self.vote_k]),
                self._classes(),
                self.vote_temperature,
            )
            return scores, rows, winner, share

        if filters is None:
            width = self._head.score_columns(self.gallery_variables)
        else:  # which bounds the scores of a chunk itself
            excluded = tf.shape(filters["exclude_ids"])[1]
            listed = tf.shape(filters["allow_ids"])[1]
            width = tf.maximum(tf.minimum(columns + excluded, size), listed)
        outputs = [
            (tf.float32, [None, None]),
            (tf.int32, [None, None]),
            (tf.int64, [None]),
            (tf.float32, [None]),
        ]
        return in_chunks(tf.shape(queries)[0], self._chunk(width), search, outputs)

    def _neighbors_within(self, queries, filters, examples, limits, min_score):
        """As `_neighbors`: at most `limits` of a label, from `min_score` on.

        The vote is of the nearest rows from `min_score` on, whatever their labels.
        """
        size = tf.shape(self.gallery_labels)[0]
        shown = tf.minimum(self._k, size)
        columns = tf.minimum(tf.maximum(self._k, self.vote_k), size)

        def search(start, stop):
            nearest = query_neighbors(
                self._head,
                self._nearest,
                self.gallery_variables,
                queries[start:stop],
                {name: each[start:stop] for name, each in filters.items()},
                examples[start:stop],
                limits[start:stop],
                columns,
                shown,
                self._max_scores,
            )
            voters, found = (
                _from_score(*cut_cosines(*pair), min_score[start:stop])
                for pair in (nearest[:2], nearest[2:])
            )
            winner, share = weighted_vote(
                voters[0][:, : self.vote_k],
                self._labels(voters[1][:, : self.vote_k]),
                self._classes(),
                self.vote_temperature,
            )
            return *found, winner, share

        excluded = tf.shape(filters["exclude_ids"])[1] + MOST
        width = tf.maximum(
            tf.maximum(
                tf.minimum(columns + excluded, size), tf.shape(filters["allow_ids"])[1]
            ),
            self._head.score_columns(self.gallery_variables),
        )
        outputs = [
            (tf.float32, [None, None]),
            (tf.int32, [None, None]),
            (tf.int64, [None]),
            (tf.float32, [None]),
        ]
        return in_chunks(tf.shape(queries)[0], self._chunk(width), search, outputs)

    def _shares(self, queries):
        """Classes and their shares of the vote, largest first."""
        voters = tf.minimum(self.vote_k, tf.shape(self.gallery_labels)[0])
        classes = tf.shape(self.label_names)[0] - 1

        def search(start, stop):
            scores, rows = cut_cosines(*self._nearest(queries[start:stop], voters))
            shares = vote_shares(
                scores, self._labels(rows), self._classes(), self.vote_temperature
            )
            shares, labels = tf.math.top_k(shares, tf.minimum(classes, voters))
            return labels, shares

        width = self._head.score_columns(self.gallery_variables)
        outputs = [(tf.int32, [None, None]), (tf.float32, [None, None])]
        return in_chunks(tf.shape(queries)[0], self._chunk(width), search, outputs)

    def _classes(self):
        return tf.maximum(tf.shape(self.label_names)[0] - 1, 1)

    def _chunk(self, width):
        """Queries that are searched at once, of so many numbers each."""
        return self._max_scores // tf.maximum(width, self._classes())


def _gallery_variable(name, value):
    """A variable with the values of an array: one copy of it, however large.

    (TensorFlow makes two on the way from an array, and a constant of a graph would
    hold no more than 2 GB.)
    """
    value = np.asarray(value)
    large = value.ndim and value.dtype.kind != "S" and value.nbytes > _AT_ONCE
    first = tf.zeros(value.shape, value.dtype) if large else tf.constant(value)
    shape = variable_shape(value)
    made = tf.Variable(first, trainable=False, shape=shape, name=name)
    if large:
        del first  # its memory is the variable's now
        rows = max(1, _AT_ONCE // (value.nbytes // len(value)))
        for start in range(0, len(value), rows):
            part = value[start : start + rows]
            # In place; `made[start:stop].assign` would read, and so copy, all of it.
            tf.raw_ops.ResourceStridedSliceAssign(
                ref=made.handle,
                begin=[start],
                end=[start + len(part)],
                strides=[1],
                value=tf.constant(part),
            )
    return made


def _from_score(scores, rows, least):
    """Scores and rows without those below the least score of their query."""
    there = scores >= least[:, None]
    return tf.where(there, scores, -float("inf")), tf.where(there, rows, -1)


def _of_any_rows(method, specs):
    """The method, of inputs that were compared with their specs; of none, of one row.

    Its answer to that row is cut: see `tfembed.ops.zero_rows`.
    """
    names = list(inspect.signature(method).parameters)

    @functools.wraps(method)  # its names are those of the signature
    def run(*inputs):
        declared = as_declared(dict(zip(names, inputs)), specs)
        return around_zero_rows(method, *declared)

    return run


def _shared(function, signature):
    """Traces a function once for all signatures that call it."""
    function = tf.function(function, signature, autograph=False)
    return lambda *inputs: function(*inputs)
