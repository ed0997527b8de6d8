"""Every signature of an export, asked by both protocols, now and awaited."""

import asyncio
import contextlib
import inspect
import json
import time

import digits as digit_model
import numpy as np
import pytest
import small_model
from digits import GALLERY, NAMES, K

from tfembed.serving import (
    AsyncClient,
    Client,
    InvalidRequest,
    NotFound,
    ServerUnavailable,
    ServingError,
)


@pytest.fixture(scope="module")
def gallery():
    """The embeddings, ids and labels of the gallery, and embeddings of others."""
    images, labels = digit_model.load()
    embeddings = digit_model.encoder().predict(images.astype(np.float32), verbose=0)
    return {
        "embeddings": embeddings[:GALLERY].astype(np.float64),
        "ids": digit_model.ids(),
        "labels": np.array(NAMES)[labels[:GALLERY]],
        "queries": embeddings[1200:1207],
        "images": images[1200:1207],
    }


class Awaited:
    """An `AsyncClient` with the methods of a `Client`."""

    def __init__(self, *arguments, **options):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name):
        method = getattr(self._client, name)

        async def listed(iterator):
            return [each async for each in iterator]

        def call(*arguments, **options):
            given = method(*arguments, **options)
            if not inspect.isawaitable(given):
                given = listed(given)
            return self._loop.run_until_complete(given)

        return call

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=["grpc", "rest"])
def served(digit_server, request):
    """The address, once for each protocol."""
    return {"grpc": digit_server.grpc_address, "rest": digit_server.rest_address}[
        request.param
    ]


@pytest.fixture(params=[Client, Awaited])
def client(served, request):
    with request.param(served, name="digits", timeout=60, batch_size=4) as connected:
        yield connected


def _nearest(gallery, allowed, k=K):
    """Returns the ids of the nearest among the allowed rows `(queries, rows)`."""
    scores = gallery["queries"].astype(np.float64) @ gallery["embeddings"].T
    scores = np.where(np.broadcast_to(allowed, scores.shape), scores, -np.inf)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, rows, 1)
    return np.where(found > -np.inf, gallery["ids"][rows], ""), found


def _same(result, gallery, allowed, k=K):
    """Compares by scores: rows whose scores are near equal may change places."""
    ids, scores = _nearest(gallery, allowed, k)
    np.testing.assert_allclose(
        result.scores, np.where(scores > -np.inf, scores, 0), atol=1e-5
    )
    assert ((result.ids == "") == (ids == "")).all()
    assert np.mean(result.ids == ids) > 0.95


def test_search_embeddings(client, gallery):
    result = client.search_embeddings(gallery["queries"])
    _same(result, gallery, True)
    assert result.valid.all() and result.scores.dtype == np.float32
    one = client.search_embeddings(gallery["queries"][0] * 7, k=3)
    assert one.ids.tolist() == result.ids[:1, :3].tolist()
    nothing = client.search_embeddings(np.zeros([1, 64]))
    assert nothing.valid.tolist() == [False]


@pytest.mark.parametrize("kind", ["embeddings", "bytes", "images"])
def test_filters(client, gallery, kind):
    from tensorflow.io import encode_png

    images = gallery["images"]
    given = {
        "embeddings": {"embeddings": gallery["queries"]},
        "bytes": {"images": [encode_png(image).numpy() for image in images]},
        "images": {"images": images},
    }[kind]
    labels, ids = gallery["labels"], gallery["ids"]
    result = client.search_filtered(**given, exclude_labels=["one", "two", "none such"])
    _same(result, gallery, ~np.isin(labels, ["one", "two"]))
    allowed = [None if row % 2 else NAMES[: row + 1] for row in range(len(images))]
    each = [True if names is None else np.isin(labels, names) for names in allowed]
    each = np.stack([np.broadcast_to(row, labels.shape) for row in each])
    result = client.search_filtered(**given, k=5, allow_labels=allowed)
    _same(result, gallery, each, 5)
    some = ids[[1, 2, 500]].tolist()
    result = client.search_filtered(**given, allow_ids=[*some, "absent"])
    _same(result, gallery, np.isin(ids, some))
    nearest = client.search_filtered(**given).ids[:, 0]
    others = client.search_filtered(**given, exclude_ids=[[each] for each in nearest])
    _same(others, gallery, ids[None] != nearest[:, None])


def test_filters_that_make_no_sense(client, gallery):
    queries = gallery["queries"]
    for filters, kind, said in (
        ({"allow_ids": []}, ValueError, "None to allow everything"),
        ({"allow_labels": [["one"], []]}, ValueError, "`allow_labels` must name"),
        ({"exclude_ids": [""]}, ValueError, "must not have empty strings"),
        ({"exclude_labels": "one"}, TypeError, "a list of strings"),
        ({"exclude_labels": [3]}, TypeError, "a list of strings"),
        ({"exclude_ids": [["a"], ["b"]]}, ValueError, "2 lists for 7 queries"),
        ({"images": queries}, ValueError, "Received: both"),
        ({"embeddings": None}, ValueError, "Received: neither"),
        ({"embeddings": np.zeros([0, 4])}, ValueError, r"shape=\(0, 4\)"),
        ({"embeddings": ["a"]}, TypeError, "array of floats"),
    ):
        with pytest.raises(kind, match=said):
            client.search_filtered(**{"embeddings": queries, **filters})


def test_filters_for_a_generator_are_counted(client, gallery):
    from tensorflow.io import encode_png

    files = [encode_png(image).numpy() for image in gallery["images"]]
    for count in (6, 8):
        with pytest.raises(ValueError, match=f"{count} lists for"):
            client.search_filtered(iter(files), exclude_ids=[["a"]] * count)
        with pytest.raises(ValueError, match=f"{count} lists for"):
            client.score([["a"]] * count, iter(files))


def test_score(client, gallery):
    ids = [gallery["ids"][5], "absent", gallery["ids"][1]]
    expected = (
        gallery["queries"].astype(np.float64) @ gallery["embeddings"][[5, 0, 1]].T
    )
    for given in ({"embeddings": gallery["queries"]}, {"images": gallery["images"]}):
        result = client.score(ids, **given)
        np.testing.assert_allclose(result.scores, expected * [1, 0, 1], atol=1e-5)
        assert result.found.tolist() == [[True, False, True]] * 7
    own = client.score([[name] for name in ids[:1] * 6 + ids[2:]], gallery["images"])
    np.testing.assert_allclose(
        own.scores[:, 0], [*expected[:6, 0], expected[6, 2]], atol=1e-5
    )
    for wrong, kind in (("a", TypeError), ([[1]], TypeError), ([], ValueError)):
        with pytest.raises(kind, match="`ids` must"):
            client.score(wrong, gallery["images"])
    with pytest.raises(ValueError, match="2 lists for 7 queries"):
        client.score([["a"], ["b"]], embeddings=gallery["queries"])


def test_classify(client, gallery):
    from tensorflow.io import encode_png

    files = [encode_png(image).numpy() for image in gallery["images"]]
    voted = client.search(gallery["images"])
    for given in (files, gallery["images"]):
        result = client.classify(given)
        assert result.classes[:, 0].tolist() == voted.vote.tolist()
        np.testing.assert_allclose(result.scores[:, 0], voted.vote_probability, 1e-4)
        assert result.scores.dtype == np.float32 and len(result) == 7
    mixed = client.classify([b"junk", files[0]])
    assert set(mixed.classes[0]) == {""} and mixed.classes[1, 0] == voted.vote[0]
    with pytest.raises(ValueError, match="whole numbers"):
        client.classify(gallery["images"] * 0.5)


def test_many_one_at_a_time(client, gallery):
    whole = client.search(gallery["images"], k=3)
    each = list(client.search_many(iter(gallery["images"]), k=3))
    assert [one.ids.tolist()[0] for one in each] == whole.ids.tolist()
    embedded = list(client.embed_many(gallery["images"]))
    assert np.shape([one.embeddings for one in embedded]) == (7, 1, 64)


def test_what_is_served(client, digits, served):
    assert client.metadata().signatures.keys() >= {"search_filtered", "score"}
    assert [each.version for each in client.status()] == [1]
    outputs = client.predict({"embeddings": np.ones([1, 64], np.float32)}, "search")
    assert outputs["ids"].shape == (1, K)
    if served.startswith("http"):
        card = json.loads((digits / "models" / "1" / "card.json").read_text())
        assert client.card() == card and card["k"] == K
    else:
        with pytest.raises(ServingError, match="read card.json") as caught:
            client.card()
        assert caught.value.code == "UNIMPLEMENTED"


def test_a_card_that_is_not_there(digit_server, model_dir, server):
    with Client(digit_server.rest_address, name="digits", version=9) as client:
        with pytest.raises(NotFound, match=r"Specific\(digits, 9\)"):
            client.card()
    with Client(server.rest_address) as client:  # not written by the exporter
        with pytest.raises(NotFound, match="no card.json"):
            client.card()


@pytest.mark.parametrize("kind", [Client, Awaited])
def test_errors_of_the_server(served, gallery, kind):
    with kind(served, name="other") as client:
        with pytest.raises(NotFound, match="'other'"):
            client.embed(gallery["images"])
    with kind(served, name="digits", label="stable") as client:
        with pytest.raises(NotFound, match="label 'stable'.*Check `label`"):
            client.search_embeddings(gallery["queries"])
        assert client.status()[0].state == "AVAILABLE"
    with kind(served, name="digits") as client:
        with pytest.raises(InvalidRequest):
            client.search_embeddings(np.ones([2, 5]))


def test_a_label_chooses_a_version(model_dir, tmp_path):
    from tfembed.serving import LocalServer

    config = tmp_path / "models.config"
    config.write_text(
        f"""model_config_list {{ config {{
          name: "small" base_path: "{model_dir}" model_platform: "tensorflow"
          model_version_policy {{ all {{}} }}
          version_labels {{ key: "stable" value: 3 }} }} }}"""
    )
    with LocalServer(
        model_config_file=config,
        allow_version_labels_for_unavailable_models=True,
        port=0,
        rest_port=0,
    ) as server:
        for address in (server.grpc_address, server.rest_address):
            for pin, version in (({"label": "stable"}, 3), ({}, 7)):
                with Client(address, name="small", **pin) as client:
                    assert client.metadata().version == version
                    found = client.search(small_model.images(2))
                    assert found.valid.all()
                    assert len(client.status()) == 2


@pytest.mark.thin(2)
def test_awaited_at_once(served, gallery):
    async def ask():
        async with AsyncClient(served, name="digits", timeout=60) as client:
            ticks = []

            async def tick():
                while True:
                    ticks.append(time.monotonic())
                    await asyncio.sleep(0.005)

            ticking = asyncio.ensure_future(tick())
            found = await asyncio.gather(
                *(client.search(image) for image in gallery["images"] for _ in range(4))
            )
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
            return found, len(ticks)

    found, ticks = asyncio.run(ask())
    with Client(served, name="digits") as client:
        expected = client.search(gallery["images"]).ids
    assert [each.ids[0].tolist() for each in found[::4]] == expected.tolist()
    assert ticks > 1  # the loop went on meanwhile


def test_awaited_errors():
    async def ask(address):
        async with AsyncClient(address, timeout=5, retries=1) as client:
            await client.embed(b"image")

    for address in ("127.0.0.1:1", "http://127.0.0.1:1"):
        with pytest.raises(ServerUnavailable):
            asyncio.run(ask(address))
    with pytest.raises(ValueError, match="`address` must be"):
        AsyncClient("nowhere")


def test_both_clients_have_the_same_methods():
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if name.startswith("_"):
            continue
        twin = getattr(AsyncClient, name)
        assert inspect.signature(method) == inspect.signature(twin), name
        assert twin.__doc__, name
        assert inspect.iscoroutinefunction(twin) is not name.endswith("_many"), name
    parameters = dict(inspect.signature(AsyncClient).parameters)
    assert parameters.pop("concurrency").default == 32  # its own
    assert parameters == dict(inspect.signature(Client).parameters)
