"""A server that has too much to do is asked again; what is too large for it is not."""

import asyncio
import concurrent.futures
import contextlib
import http.server
import threading
import time

import grpc
import numpy as np
import pytest
import small_model

from tfembed.serving import (
    AsyncClient,
    Client,
    LocalServer,
    RequestTooLarge,
    ServerBusy,
    ServerUnavailable,
    ServingError,
)
from tfembed.serving.errors import serving_error
from tfembed.serving.grpc_service import add_services
from tfembed.serving.grpc_transport import AsyncGrpcTransport, GrpcTransport
from tfembed.serving.metrics import Metrics
from tfembed.serving.rest_transport import RestTransport
from tfembed.serving.servable import Servable
from tfembed.serving.status import StatusError

IMAGE = small_model.png(small_model.images(1)[0])
# What a TF Serving says of its threads, without and with a text, and of its batches.
EXHAUSTED = ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
SILENT = ("RESOURCE_EXHAUSTED", "")
FULL = (
    "UNAVAILABLE",
    "The batch scheduling queue to which this task was submitted is full; task size is "
    "1 but scheduling capacity is only 0",
)


@pytest.fixture
def sent(monkeypatch):
    """Names of the methods of each call of a transport."""
    calls = []
    for transport in (GrpcTransport, RestTransport, AsyncGrpcTransport):

        def call(self, *arguments, timeout, original=transport.call):
            calls.append(arguments[0])
            return original(self, *arguments, timeout=timeout)

        monkeypatch.setattr(transport, "call", call)
    return calls


class Runs:
    """Runs of signatures: how many at once, at most; refused or slow if wished."""

    def __init__(self):
        self.refusals, self.error, self.seconds = 0, None, 0.0
        self.now = self.most = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def run(self):
        with self._lock:
            if self.refusals:
                self.refusals -= 1
                raise StatusError(*self.error)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            time.sleep(self.seconds)
            yield
        finally:
            with self._lock:
                self.now -= 1


@pytest.fixture
def runs(monkeypatch):
    watched, predict = Runs(), Servable.predict

    def watch(self, *arguments):
        with watched.run():
            return predict(self, *arguments)

    monkeypatch.setattr(Servable, "predict", watch)
    return watched


@pytest.fixture
def two_threads(server):
    """Address of a gRPC server that refuses all but two requests at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        tight = grpc.server(pool, maximum_concurrent_rpcs=2)
        metrics = Metrics(server._models)
        add_services(server._models, metrics, server.reload_config, tight)
        port = tight.add_insecure_port("127.0.0.1:0")
        tight.start()
        yield f"127.0.0.1:{port}"
        tight.stop(None).wait()


def test_sixteen_callers_of_a_server_with_two_threads(two_threads, runs, sent):
    runs.seconds = 0.01
    with Client(two_threads, timeout=60) as client:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: client.embed(IMAGE), range(48)))
    assert all(each.valid.all() for each in found)
    assert len(sent) > 48  # some were refused, and asked again


def test_so_many_tasks_of_one_event_loop(two_threads, runs, sent):
    runs.seconds = 0.01

    async def ask():
        async with AsyncClient(two_threads, timeout=60, concurrency=16) as client:
            return await asyncio.gather(*(client.embed(IMAGE) for _ in range(48)))

    assert all(each.valid.all() for each in asyncio.run(ask()))
    assert len(sent) > 48


@pytest.mark.parametrize("error", [EXHAUSTED, SILENT, FULL])
def test_it_is_asked_more_often_than_one_that_is_away(address, runs, error):
    runs.refusals, runs.error = 4, error
    with Client(address, retries=1, timeout=30) as client:
        assert client.embed(IMAGE).valid.all()
    assert runs.refusals == 0


@pytest.mark.parametrize("error", [EXHAUSTED, SILENT, FULL])
def test_until_the_time_is_over(address, runs, sent, error):
    runs.refusals, runs.error = 10**9, error
    begun = time.monotonic()
    with Client(address, timeout=0.6) as client:
        with pytest.raises(ServerBusy) as caught:
            client.embed(IMAGE)
    assert 0.05 < time.monotonic() - begun < 5.0 and 2 <= len(sent) <= 8
    assert caught.value.code == error[0] and caught.value.detail == error[1]
    said = str(caught.value)
    assert "Check the address" not in said
    assert ("grpc_max_threads" if error[0] != FULL[0] else "max_enqueued") in said
    sent.clear()
    with Client(address, retries=0) as client, pytest.raises(ServerBusy):
        client.embed(IMAGE)
    assert len(sent) == 1


def test_a_signature_that_may_do_something_is_asked_once(address, runs, sent):
    runs.refusals, runs.error = 1, EXHAUSTED
    with Client(address) as client, pytest.raises(ServerBusy):
        client.predict({"x": np.float32([1])}, "one")
    assert len(sent) == 1


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_what_is_too_large_is_sent_once(model_dir, sent, protocol):
    with LocalServer(
        model_dir, port=0, rest_port=0, max_request_megabytes=0.1
    ) as server:
        address = server.grpc_address if protocol == "grpc" else server.rest_address
        with Client(address, retries=9) as client:
            with pytest.raises(RequestTooLarge, match="`batch_megabytes`") as caught:
                client.predict({"x": np.ones(10**5, np.float32)}, "one", retry=True)
            assert caught.value.code == "RESOURCE_EXHAUSTED" and len(sent) == 1
            assert client.embed(IMAGE).valid.all()


@pytest.mark.parametrize(
    ("code", "detail", "kind", "said"),
    [
        (*EXHAUSTED, ServerBusy, "--grpc_max_threads"),
        (*SILENT, ServerBusy, "no reason given"),
        ("RESOURCE_EXHAUSTED", "quota exceeded", ServerBusy, "a quota"),
        ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!", ServerBusy, "threads"),
        (
            "RESOURCE_EXHAUSTED",
            "SERVER: Received message larger than max (9 vs. 4)",
            RequestTooLarge,
            "`batch_size`",
        ),
        (
            "RESOURCE_EXHAUSTED",
            "CLIENT: Sent message larger than max (9 vs. 4)",
            RequestTooLarge,
            "`batch_size`",
        ),
        (
            "RESOURCE_EXHAUSTED",
            "received metadata size exceeds hard limit (9 vs. 4)",
            RequestTooLarge,
            "",
        ),
        (
            "RESOURCE_EXHAUSTED",
            "OOM when allocating tensor with shape[9999]",
            RequestTooLarge,
            "not have enough memory",
        ),
        (*FULL, ServerBusy, "max_enqueued_batches"),
        ("UNAVAILABLE", "The server is stopping.", ServerUnavailable, "shut down"),
        ("UNAVAILABLE", "HTTP status 503: <html>", ServerUnavailable, "A proxy"),
        ("UNAVAILABLE", "connection refused", ServerUnavailable, "Check the address"),
    ],
)
def test_one_code_of_several_causes(code, detail, kind, said):
    error = serving_error(code, detail, "a:1", "the model 'm'")
    assert type(error) is kind and error.code == code and error.detail == detail
    assert said in str(error)
    known = serving_error(code, detail, "a:1", "the model 'm'", too_large=True)
    assert type(known) is RequestTooLarge


@pytest.fixture
def proxy():
    """A proxy that answers by itself, in HTML; `(address, statuses, requests)`."""
    statuses, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802 (the name is the library's)
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(statuses[0])

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", statuses, asked
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "least", "most"),
    [
        (413, RequestTooLarge, 1, 1),
        (429, ServerBusy, 3, 20),
        (503, ServerUnavailable, 2, 2),
    ],
)
def test_what_a_proxy_says(proxy, status, kind, least, most):
    address, statuses, asked = proxy
    statuses.append(status)
    with Client(address, timeout=1.0, retries=1) as client:
        with pytest.raises(ServingError, match="HTTP status") as caught:
            client.embed(IMAGE)
    assert type(caught.value) is kind
    assert least <= len(asked) <= most


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_than_that_are_under_way(address, runs, concurrency):
    runs.seconds = 0.1

    async def ask():
        async with AsyncClient(address, concurrency=concurrency, timeout=1.5) as client:
            return await asyncio.gather(*(client.embed(IMAGE) for _ in range(20)))

    # With one at a time the last waits longer for its turn than its timeout.
    assert len(asyncio.run(ask())) == 20
    assert runs.most == concurrency


def test_a_turn_is_given_back(server, runs):
    async def ask():
        async with AsyncClient(server.grpc_address, concurrency=2) as client:
            runs.seconds = 0.3
            tasks = [asyncio.ensure_future(client.embed(IMAGE)) for _ in range(6)]
            await asyncio.sleep(0.1)
            for task in tasks:  # two are under way, the others wait
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            runs.seconds = 0.0
            for _ in range(3):
                with pytest.raises(ValueError, match="No such file"):
                    await client.embed("absent.png")
            async for _ in client.embed_many([IMAGE] * 40):
                break  # the others are not asked for
            return await asyncio.wait_for(
                asyncio.gather(*(client.embed(IMAGE) for _ in range(4))), 30
            )

    assert len(asyncio.run(ask())) == 4


def test_a_concurrency_that_makes_no_sense(server):
    with pytest.raises(ValueError, match="`concurrency` must be a positive integer"):
        AsyncClient(server.grpc_address, concurrency=0)
