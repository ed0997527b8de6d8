"""What an export is asked before it is published, and how each answer is checked."""

import struct

import numpy as np
import tensorflow as tf

from tfembed.export.comparison import (
    SCORE_TOLERANCE,
    VOTE_TOLERANCE,
    Comparison,
    check_bad,
    require,
    rows_of_answer,
    shapes,
)
from tfembed.export.filter_checks import filtered_requests
from tfembed.export.query_checks import query_request
from tfembed.export.text_entries import NO_LINES, as_text
from tfembed.ops.images import decode_image

EMBEDDING_TOLERANCE = 1e-5
MIXED_TOLERANCE = 2e-2
_BROKEN = b"these bytes are no image"
# A PNG file that declares 60,000 x 60,000 pixels.
_HUGE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIB", 13, b"IHDR", 60000, 60000, 8)
_HUGE += b"\2" + 100 * b"\0"


class Checks(Comparison):
    """What is asked, and how each answer is checked.

    Args:
        encoder: The `ExportedEncoder`.
        gallery: The `Gallery`.
        head: Name of the head.
        k: Neighbours that the export was made with.
        encoded_images: Sample images, encoded, at least one.

    Attributes:
        requests: List of `(signature, inputs, function of the answer)`.
        expected: The images' embeddings, by the encoder itself.
        embedded: The same as the export gives them, by kind of input.
        order: Scores and rows of the nearest rows to `expected`.
        mixed: Whether a layer of the encoder computes in half precision.
    """

    def __init__(self, encoder, gallery, head, k, encoded_images):
        super().__init__(gallery, head, k)
        self.mixed = encoder.is_mixed
        images = np.stack(
            [
                decode_image(each, encoder.image_shape, resize=encoder.resize)
                for each in encoded_images
            ]
        )
        self.expected = encoder.embed(images)
        norms = np.linalg.norm(self.expected, axis=1)
        require(
            np.abs(norms - 1).max() < 1e-2,
            f"scores are cosines, but the encoder gives embeddings of length "
            f"{norms[np.abs(norms - 1).argmax()]:.3g}, not 1",
        )
        self.order = self.nearest_rows(self.expected, min(self.most + 1, gallery.size))
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
            ("search_bytes", {"image_bytes": as_bytes[-1:]}, check_bad),
            ("search", {"embeddings": 2 * self.expected}, self._search_embeddings),
            ("classify", {"inputs": examples}, self._classify),
            *score_requests(self),
            *filtered_requests(self, as_bytes),
            query_request(self, as_bytes),
        ]

    def _embed(self, answer):
        self._embeddings("images", answer["embeddings"])

    def _embed_bytes(self, answer):
        count = len(self.expected)
        valid = answer["valid"].tolist()
        require(
            valid == [True] * count + [False] * (len(valid) - count),
            f"`valid` is {valid}, where only the last two images are broken",
        )
        self._embeddings("bytes", answer["embeddings"][:count])

    def _embeddings(self, kind, given):
        off = float(np.abs(given - self.expected).max())
        tolerance = MIXED_TOLERANCE if self.mixed else EMBEDDING_TOLERANCE
        require(
            off <= tolerance,
            f"embeddings differ from the encoder's by {off:.2g}, more than "
            f"{tolerance:g}",
        )
        self.worst["embeddings"] = max(self.worst["embeddings"], off)
        self.embedded[kind] = given

    def _search_images(self, answer):
        self.search(self.embedded["images"], answer)

    def search_bytes(self, answer):
        """Checks a search by bytes, after the embeddings were checked."""
        count = len(self.expected)
        self.search(self.embedded["bytes"], rows_of_answer(answer, slice(count)))
        check_bad(rows_of_answer(answer, slice(count, None)))

    def _search_one(self, answer):
        if not self.mixed:  # there, another batch size may round otherwise
            self.search(self.embedded["bytes"][:1], answer)

    def _search_embeddings(self, answer):
        self.search(self.expected, answer)

    def _classify(self, answer):
        """Classes by share, and nothing of what is no image."""
        count, gallery = len(self.expected), self.gallery
        classes = min(len(gallery.class_names), self.voters)
        require(
            answer["classes"].shape[1:] == answer["scores"].shape[1:] == (classes,),
            f"classify gives {shapes(answer)}, not {classes} classes",
        )
        require(
            set(answer["classes"][count:].ravel()) <= {b""}
            and not answer["scores"][count:].any(),
            "classify gives classes to what is no image",
        )
        sums = answer["scores"][:count].sum(axis=1)
        require(
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
            shares = self.class_shares(best[query, voters], rows[query, voters])
            wanted = -np.sort(-shares)[:classes]
            off = np.abs(answer["scores"][query] - wanted).max(initial=0)
            require(
                off <= VOTE_TOLERANCE,
                f"the scores of classify differ from NumPy's by {off:.2g}",
            )


def score_requests(checks):
    """Asks for the scores of near rows, of an id that is not there, of none."""
    rows = checks.order[1][:, : min(checks.k, 4)]
    count = len(rows)
    ids = [[name.encode() for name in checks.gallery.ids[row]] for row in rows]
    ids = np.array([each + [b"\xff no id", b""] for each in ids], object)
    wanted = checks.order[0][:, : rows.shape[1]]

    def check(answer):
        found = np.concatenate(
            [np.ones(rows.shape, bool), np.zeros((count, 2), bool)], axis=1
        )
        off = np.abs(answer["scores"][:, :-2] - wanted).max()
        require(
            np.array_equal(answer["found"], found)
            and not answer["scores"][:, -2:].any()
            and off <= checks.tolerance,
            f"score finds {answer['found'].tolist()}, with scores off by {off:.2g}",
        )

    def check_lines(answer):
        lines = [each.split(b"\n") for each in answer["lines"][:-1].tolist()]
        require(
            answer["valid"].tolist() == [True] * count + [False]
            and answer["lines"][-1] == b""
            and {len(each) for each in lines} == {ids.shape[1]},
            f"score_lines gives {lines}",
        )
        scores = np.array([[float(each or 0) for each in row] for row in lines])
        found = np.array([[each != b"" for each in row] for row in lines])
        check({"scores": scores, "found": found})

    lines = np.array([*map(as_text, ids.tolist()), NO_LINES], object)
    embeddings = checks.expected[[*range(count), 0]]
    return [
        ("score", {"embeddings": checks.expected, "ids": ids}, check),
        ("score_lines", {"embeddings": embeddings, "ids": lines}, check_lines),
    ]


def _example(encoded):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    features = tf.train.Features(feature={"image_bytes": feature})
    return tf.train.Example(features=features).SerializeToString()
