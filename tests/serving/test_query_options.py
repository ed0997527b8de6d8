"""`min_score`, `per_label` and examples through the clients, alone and joined."""

import asyncio
import concurrent.futures

import numpy as np
import pytest
import requests
import tensorflow as tf
from batching import Batching
from pixel_model import DIM, NAMES, ODD, SHAPE, SIZE, K, gallery
from query_oracle import Question, answer, as_inputs, unit

from tfembed.export import examples, query_options
from tfembed.serving import AsyncClient, Client, InvalidRequest, LocalServer
from tfembed.serving.like_unlike import MOST
from tfembed.serving.options import NO_LIMIT

CALLERS = 8


@pytest.fixture(scope="module")
def server(pixels):
    """A server of the model, and of the same as an older tfembed exported it."""
    models = {name: pixels / name for name in ("new", "old")}
    with LocalServer(models=models, port=0, rest_port=0) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def address(server, request):
    return server.grpc_address if request.param == "grpc" else server.rest_address


def assert_answers(result, questions, k=K):
    whole = gallery()
    names = np.array([*whole.class_names, ""])
    assert len(result) == len(questions)
    for row, question in enumerate(questions):
        rows, scores, shares = answer(question, whole, whole.embeddings, K)
        rows, scores = rows[:k], scores[:k]
        rest = k - len(rows)
        assert result.ids[row].tolist() == [*whole.ids[rows], *[""] * rest], question
        assert result.labels[row].tolist() == [
            *names[whole.labels[rows]],
            *[""] * rest,
        ]
        np.testing.assert_allclose(
            result.scores[row], [*scores, *[0] * rest], atol=1e-5
        )
        assert result.vote_probability[row] == pytest.approx(shares.max(), abs=1e-4)
    assert result.valid.all() and set(result.problem) == {""}


class Caller:
    """Asks drawn questions by all methods, and compares the answers."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def options(self):
        """Some of both, at least one."""
        limit, least = int(self._rng.integers(1, 4)), float(self._rng.uniform(0, 0.9))
        both = {"per_label": limit, "min_score": float(np.float32(least))}
        left_out = self._rng.choice([*both, ""])
        return {name: each for name, each in both.items() if name != left_out}

    def ids(self, most):
        some = self._rng.choice(gallery().ids, self._rng.integers(0, most)).tolist()
        return [*some, str(self._rng.choice(ODD))]

    def embeddings(self):
        rows = self._rng.normal(size=(self._rng.integers(1, 4), DIM))
        return rows.astype(np.float32)

    def by_embeddings(self, client):
        rows, options = self.embeddings(), self.options()
        result = client.search_embeddings(rows, **options)
        assert_answers(result, [Question(each, **options) for each in rows])

    def by_files(self, client):
        pixels = self._rng.integers(0, 256, (self._rng.integers(1, 4), *SHAPE))
        files = [tf.io.encode_png(each.astype(np.uint8)).numpy() for each in pixels]
        options, seen = self.options(), pixels.reshape(len(pixels), -1) - 127.5
        questions = [Question(each, **options) for each in seen]
        assert_answers(client.search(files, k=3, **options), questions, 3)

    def by_filters(self, client):
        rows, options = self.embeddings(), self.options()
        filters = {"exclude_ids": self.ids(50), "allow_labels": NAMES[1:].tolist()}
        result = client.search_filtered(embeddings=rows, **filters, **options)
        questions = [Question(each, filters=filters, **options) for each in rows]
        assert_answers(result, questions)

    def by_examples(self, client):
        given = {
            "positive_ids": self.ids(4),
            "negative_ids": self.ids(3),
            "positive_embeddings": self.embeddings(),
            "negative_weight": 0.25,
        }
        filters = {"exclude_labels": [str(NAMES[0])]} if self._rng.integers(2) else {}
        options = self.options() if self._rng.integers(2) else {}
        result = client.search_like(**given, **options, **filters)
        assert_answers(result, [Question(**given, filters=filters, **options)])


METHODS = (Caller.by_embeddings, Caller.by_files, Caller.by_filters, Caller.by_examples)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_requests_that_are_joined_are_all_answered(server, protocol, monkeypatch):
    """Of callers that ask differently, and each as it asked."""
    batching = Batching(CALLERS, most_rows=7)
    batching.install(monkeypatch)
    each = 12 if protocol == "grpc" else 4

    def several(seed):
        caller = Caller(seed)
        for number in range(each):
            METHODS[(seed + number) % len(METHODS)](caller, client)
        return each

    with Client(getattr(server, f"{protocol}_address"), "new", timeout=60) as client:
        with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
            assert sum(pool.map(several, range(CALLERS))) == CALLERS * each
    assert batching.joined > 0.9 * CALLERS * each and not batching.died


def test_images_are_embedded_first(address):
    pixels = np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.uint8)
    files = [tf.io.encode_png(each).numpy() for each in pixels]
    seen = unit(pixels.reshape(5, -1) - 127.5)
    wanted = Question(
        positive_embeddings=seen[:3],
        negative_embeddings=seen[3:],
        negative_weight=1.0,
        per_label=1,
    )

    async def awaited():
        async with AsyncClient(address, "new", batch_size=2) as client:
            return await client.search_like(
                positive_images=iter(files[:3]),
                negative_images=pixels[3:],
                negative_weight=1,
                per_label=1,
            )

    assert_answers(asyncio.run(awaited()), [wanted])
    with Client(address, "new", batch_size=2) as client:
        options = {"per_label": 1, "min_score": -1}
        result = client.search(pixels, **options)
        assert_answers(result, [Question(each, **options) for each in seen])
        many = list(client.search_many(files, 2, **options))
        assert [each.ids.tolist() for each in many] == result.ids[:, None, :2].tolist()
        with pytest.raises(ValueError, match="Received: image 1, which it cannot"):
            client.search_like(positive_images=[files[0], b"junk"])
        found = client.search([files[0], b"junk"], min_score=0.1)
        assert found.valid.tolist() == [True, False]
        assert found.problem[0] == "" and "must be a JPEG" in found.problem[1]


@pytest.fixture
def unasked(server, monkeypatch):
    """A client that sends nothing but metadata."""
    with Client(server.grpc_address, "new") as client:
        client.metadata()
        monkeypatch.setattr(client._transport, "call", None)
        yield client


ONE = {"positive_ids": ["id 20"]}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"min_score": float("nan")}, ValueError, "from -1 to 1. .*=nan"),
        ({"min_score": 1.01}, ValueError, "`min_score` must be a number from -1 to 1"),
        ({"min_score": "0.5"}, ValueError, "min_score='0.5'"),
        ({"min_score": True}, ValueError, "min_score=True"),
        ({"per_label": 0}, ValueError, "`per_label` must be a positive integer.*=0"),
        ({"per_label": 1.5}, ValueError, "per_label=1.5"),
        ({"per_label": "2"}, ValueError, "per_label='2'"),
        ({**ONE, "negative_weight": -1}, ValueError, "`negative_weight` must be a num"),
        ({"positive_ids": "id 20"}, TypeError, "must be a list of ids"),
        ({"positive_ids": [20]}, TypeError, "must be a list of ids"),
        ({"positive_ids": [""]}, ValueError, "must not have empty strings"),
        ({"positive_ids": ["id 20"] * 65}, ValueError, "at most 64 .* Received: 65"),
        (
            {"positive_ids": ["id 20"] * 63, "negative_images": [b"a", b"b"]},
            ValueError,
            "at most 64 .* Received: 65",
        ),
        ({"negative_ids": ["id 20"]}, ValueError, "must have a positive example"),
        ({"positive_ids": []}, ValueError, "must have a positive example"),
        ({"positive_embeddings": np.ones((2, 3))}, ValueError, r"shape \(m, 8\)"),
        ({"positive_embeddings": ["a"]}, TypeError, "`positive_embeddings` must be an"),
        (
            {"positive_embeddings": [[0.0] * DIM, [1.0] * DIM]},
            ValueError,
            "of a length above 0. Received: row 0",
        ),
        (
            {**ONE, "negative_embeddings": [np.inf] * DIM},
            ValueError,
            "`negative_embeddings` must be finite",
        ),
        ({**ONE, "allow_ids": []}, ValueError, "`allow_ids` must name something"),
        ({**ONE, "k": 0}, ValueError, "`k` must be a positive integer"),
    ],
)
def test_what_makes_no_sense_is_not_sent(unasked, given, error, message):
    if {"min_score", "per_label"} & set(given):
        queries = np.ones((1, DIM), np.float32)
        for search in (
            lambda: unasked.search(b"image", **given),
            lambda: unasked.search_embeddings(queries, **given),
            lambda: unasked.search_filtered(embeddings=queries, **given),
            lambda: unasked.search_like(**ONE, **given),
            lambda: list(unasked.search_many([b"image"], **given)),
        ):
            with pytest.raises(error, match=message):
                search()
    else:
        with pytest.raises(error, match=message):
            unasked.search_like(**given)


def test_limits_are_those_of_the_graph():
    assert MOST == examples.MOST
    assert NO_LIMIT == query_options.NO_LIMIT
    inputs = as_inputs([Question()], DIM)
    assert list(inputs) == list(query_options.nothing_asked(1, DIM))


def test_what_only_the_server_knows(address):
    with Client(address, name="new") as client:
        with pytest.raises(InvalidRequest, match="Received: 'nobody', which it does"):
            client.search_like(positive_ids=["id 20", "nobody"])
        with pytest.raises(InvalidRequest, match="cancel each other"):
            client.search_like(
                positive_ids=["id 20"], negative_ids=["id 20"], negative_weight=1
            )
        with pytest.raises(ValueError, match="must be from 1 to 6"):
            client.search_like(7, positive_ids=["id 20"])
    with Client(address, name="old") as client:
        rows = gallery().embeddings[:1]
        assert client.search_embeddings(rows).problem.tolist() == [""]
        for ask in (
            lambda: client.search_embeddings(rows, min_score=0.1),
            lambda: client.search_filtered(embeddings=rows, per_label=2),
            lambda: client.search_like(positive_ids=["id 20"]),
        ):
            with pytest.raises(InvalidRequest, match="an older tfembed exported it"):
                ask()


def test_a_question_written_by_hand(server):
    """Any language can: every input, the embeddings as base64."""
    import base64

    whole = gallery()
    numbers = base64.b64encode(whole.embeddings[7].astype("<f4").tobytes()).decode()
    lines = ("negative_ids", "allow_ids", "exclude_ids", "exclude_labels")
    instance = {
        **dict.fromkeys(lines, ""),
        "image_bytes": "",
        "embeddings": [0] * DIM,
        "positive_ids": "id 20\nC:\\\\new\\\\b",
        "positive_embeddings": {"b64": numbers},
        "negative_embeddings": "",
        "negative_weight": 0.5,
        "min_score": -1,
        "per_label": 1,
        "allow_labels": "red\ntwo\\nlines",
    }
    body = {"signature_name": "query", "instances": [instance]}
    url = f"{server.rest_address}/v1/models/new:predict"
    (found,) = requests.post(url, json=body, timeout=60).json()["predictions"]
    question = Question(
        positive_ids=["id 20", "C:\\new\\b"],
        positive_embeddings=whole.embeddings[7:8],
        per_label=1,
        filters={"allow_labels": ["red", "two\nlines"]},
    )
    rows, _, _ = answer(question, whole, whole.embeddings, K)
    assert len(rows) == 2 and SIZE > K
    assert found["ids"] == [*whole.ids[rows], *[""] * (K - 2)]
    assert found["valid"] and found["problem"] == ""
