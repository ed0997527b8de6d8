"""Lists of ids and labels of any length, from callers whose requests are joined."""

import concurrent.futures
import itertools
import json

import numpy as np
import pytest
import requests
import tensorflow as tf
from batching import Batching
from pixel_model import DIM, NAMES, ODD, SHAPE, SIZE, K, gallery

from tfembed.export.search_model import FILTERS
from tfembed.serving import Client, InvalidRequest, LocalServer, ServingError
from tfembed.serving.address import ModelSpec

CALLERS = 8


@pytest.fixture(scope="module")
def server(pixels):
    """A server of the model, and of the same as it was without lines."""
    models = {name: pixels / name for name in ("new", "old")}
    with LocalServer(models=models, port=0, rest_port=0) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def address(server, request):
    return server.grpc_address if request.param == "grpc" else server.rest_address


class Caller:
    """Draws questions and their answers by brute force."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
        self._gallery = gallery()
        self._labels = NAMES[self._gallery.labels]

    def _queries(self):
        rows = self._rng.normal(size=(self._rng.integers(1, 4), DIM))
        return rows.astype(np.float32)

    def _pictures(self):
        pixels = self._rng.integers(0, 256, (self._rng.integers(1, 4), *SHAPE))
        files = [tf.io.encode_png(each.astype(np.uint8)).numpy() for each in pixels]
        return files, pixels.reshape(len(pixels), -1) - 127.5

    def _ids(self, most):
        """Some ids, of which one is odd and one is not there."""
        some = self._rng.choice(self._gallery.ids, self._rng.integers(0, most)).tolist()
        return [*some, str(self._rng.choice(ODD)), "not there"]

    def _scores(self, queries):
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        return queries.astype(np.float64) @ self._gallery.embeddings.T.astype(float)

    def filtered(self, client, as_bytes):
        """Asks `search_filtered`, and compares."""
        given, queries = self._pictures() if as_bytes else (None, self._queries())
        each = range(len(queries))
        filters = {
            "allow_ids": [
                self._ids(90) if self._rng.random() < 0.4 else None for _ in each
            ],
            "exclude_ids": [self._ids(40) for _ in each],
            "exclude_labels": [[str(NAMES[self._rng.integers(3)])] for _ in each],
        }
        if self._rng.random() < 0.5:
            filters["allow_labels"] = NAMES[: self._rng.integers(1, 4)].tolist()
        embeddings = None if as_bytes else queries
        result = client.search_filtered(given, embeddings=embeddings, **filters)
        scores = self._scores(queries)
        for query in each:
            remains = np.ones(SIZE, bool)
            if filters["allow_ids"][query]:
                remains &= np.isin(self._gallery.ids, filters["allow_ids"][query])
            remains &= ~np.isin(self._gallery.ids, filters["exclude_ids"][query])
            remains &= ~np.isin(self._labels, filters["exclude_labels"][query])
            remains &= np.isin(self._labels, filters.get("allow_labels", NAMES))
            order = np.argsort(np.where(remains, -scores[query], np.inf))[:K]
            order = order[remains[order]]
            wanted = [*self._gallery.ids[order], *[""] * (K - len(order))]
            assert result.ids[query].tolist() == wanted
            np.testing.assert_allclose(
                result.scores[query, : len(order)], scores[query, order], atol=1e-5
            )
        assert result.valid.all()

    def score(self, client):
        """Asks `score`, and compares."""
        queries = self._queries()
        ids = [self._ids(60) for _ in queries]
        result = client.score(ids, embeddings=queries)
        scores = self._scores(queries)
        row_of = {name: row for row, name in enumerate(self._gallery.ids.tolist())}
        assert result.scores.shape == (len(queries), max(map(len, ids)))
        for query, names in enumerate(ids):
            rows = np.array([row_of.get(name, -1) for name in names])
            padded = result.scores.shape[1] - len(names)
            wanted = np.where(rows >= 0, scores[query, rows], 0)
            np.testing.assert_allclose(
                result.scores[query], [*wanted, *[0] * padded], atol=1e-5
            )
            assert result.found[query].tolist() == [*(rows >= 0), *[False] * padded]


def ask_at_once(client, questions, ask):
    """Asks from several threads; returns the errors of those that failed."""

    def several(seed):
        caller, failed = Caller(seed), []
        for number in range(questions // CALLERS):
            try:
                ask(caller, client, number)
            except ServingError as error:
                failed.append(error)
        return failed

    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        return list(itertools.chain(*pool.map(several, range(CALLERS))))


def ask_filtered(caller, client, number):
    caller.filtered(client, as_bytes=number % 3 == 2)


def ask_scores(caller, client, number):
    caller.score(client)


@pytest.mark.parametrize(
    ("ask", "count", "protocol"),
    [
        (ask_filtered, 240, "grpc"),
        (ask_scores, 120, "grpc"),
        pytest.param(ask_filtered, 240, "rest", marks=pytest.mark.slow),
        (ask_scores, 40, "rest"),
    ],
)
def test_requests_that_are_joined_are_all_answered(
    server, ask, count, protocol, monkeypatch
):
    batching = Batching(CALLERS, most_rows=5)
    batching.install(monkeypatch)
    with Client(getattr(server, f"{protocol}_address"), "new", timeout=60) as client:
        assert ask_at_once(client, count, ask) == []
    assert batching.joined > 0.9 * count and not batching.died


@pytest.mark.parametrize("ask", [ask_filtered, ask_scores])
def test_an_older_export_fails_them(server, ask, monkeypatch):
    count = 5 * CALLERS
    batching = Batching(CALLERS, most_rows=64)
    batching.install(monkeypatch)
    with Client(server.grpc_address, name="old", timeout=60) as client:
        failed = ask_at_once(client, count, ask)
    assert len(failed) > 0.8 * count
    assert {error.code for error in failed} == {"FAILED_PRECONDITION"}
    assert "different shapes" in str(failed[0])
    assert "Export the model again" in str(failed[0])


def test_the_client_goes_with_the_version(address):
    """What it knows of one version does no harm when another has come."""
    with Client(address, name="old") as client:
        for name, seed in zip(("old", "new", "new", "old", "old"), range(5)):
            client._questions.spec = ModelSpec(name)
            Caller(seed).score(client)
            Caller(seed).filtered(client, as_bytes=False)
        with pytest.raises(InvalidRequest, match="embeddings"):
            client.score(["a"], embeddings=np.ones([1, 3]))


def test_lines_written_by_hand(server):
    """Any language can: text in JSON, an entry a line, two escapes."""
    url = f"{server.rest_address}/v1/models/new:predict"
    rows = gallery().embeddings[:3].tolist()
    lines = ["id 20\nC:\\\\new\\\\b\n\\\\", "C:\\new", "a\\nb"]
    instances = [{"embeddings": row, "ids": ids} for row, ids in zip(rows, lines)]
    body = {"signature_name": "score_lines", "instances": instances}
    assert r'"id 20\nC:\\\\new\\\\b\n\\\\"' in json.dumps(body)
    found = requests.post(url, json=body, timeout=60).json()["predictions"]
    wanted = gallery().embeddings @ gallery().embeddings.T
    scores = [float(each) for each in found[0]["lines"].split("\n")]
    np.testing.assert_allclose(scores, wanted[0, [20, 6, 1]], atol=1e-6)
    # An unknown escape makes its own row invalid, and no other.
    assert [each["valid"] for each in found] == [True, True, True]
    assert found[1]["lines"] == "" and float(found[2]["lines"])
    for name in ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels"):
        instances = [
            {"embeddings": row, **dict.fromkeys(FILTERS, ""), name: ids}
            for row, ids in zip(rows, ("a\\x", "one\ntwo", "end\\"))
        ]
        body = {"signature_name": "search_filtered_lines", "instances": instances}
        found = requests.post(url, json=body, timeout=60).json()["predictions"]
        assert [each["valid"] for each in found] == [False, True, False]
        assert found[0]["ids"] == [""] * K and found[0]["scores"] == [0.0] * K
