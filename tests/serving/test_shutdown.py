"""A server that stops answers what is under way, and nothing new."""

import http.client
import json
import threading

import grpc
import pytest
import requests
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfembed.serving import LocalServer
from tfembed.serving.servable import Servable

BODY = json.dumps({"signature_name": "one", "instances": [1.0]}).encode()
PATH = "/v1/models/model:predict"


@pytest.fixture
def held(monkeypatch):
    """Holds every run of a signature; `(entered, release)`."""
    entered, release = threading.Semaphore(0), threading.Event()
    predict = Servable.predict

    def slow(self, *arguments):
        entered.release()
        assert release.wait(60)
        return predict(self, *arguments)

    monkeypatch.setattr(Servable, "predict", slow)
    yield entered, release
    release.set()


def _ask_grpc(address):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = "one"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add().size = 1
    request.inputs["x"].float_val.append(1.0)
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return list(stub.Predict(request, timeout=60).outputs["y"].float_val)


def _ask_rest(address):
    with requests.Session() as session:
        session.trust_env = False
        return session.post(address + PATH, data=BODY, timeout=60).json()


def test_requests_under_way_are_answered_and_new_ones_refused(model_dir, held):
    entered, release = held
    server = LocalServer(model_dir, port=0, rest_port=0).start()
    speaks_grpc, speaks_rest = server.grpc_address, server.rest_address
    host, _, port = speaks_rest.partition("//")[2].partition(":")
    kept = http.client.HTTPConnection(host, int(port), timeout=30)
    kept.request("GET", "/v1/models/model")
    assert kept.getresponse().read()
    answers = {}
    asking = [
        threading.Thread(target=lambda: answers.update(grpc=_ask_grpc(speaks_grpc))),
        threading.Thread(target=lambda: answers.update(rest=_ask_rest(speaks_rest))),
    ]
    for thread in asking:
        thread.start()
    for _ in asking:
        assert entered.acquire(timeout=30)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    for _ in range(200):  # until the port is closed
        try:
            http.client.HTTPConnection(host, int(port), timeout=1).connect()
        except ConnectionRefusedError:
            break
        stopping.join(0.01)
    else:
        pytest.fail("the server goes on listening")
    with pytest.raises(grpc.RpcError) as caught:
        _ask_grpc(speaks_grpc)
    assert caught.value.code().name == "UNAVAILABLE"
    kept.request("POST", PATH, BODY)
    refused = kept.getresponse()
    assert refused.status == 503
    assert json.loads(refused.read()) == {"error": "The server is stopping."}
    assert stopping.is_alive() and not answers
    release.set()
    for thread in (*asking, stopping):
        thread.join(30)
    assert answers == {"grpc": [2.0], "rest": {"predictions": [2.0]}}
    kept.close()


def test_the_grace_ends(model_dir, held):
    entered, release = held
    server = LocalServer(model_dir, port=0, rest_port=0).start()
    failed = []

    def ask():
        try:
            _ask_rest(server.rest_address)
        except (requests.ConnectionError, AttributeError) as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert entered.acquire(timeout=30)
    server.stop(grace=0.1)
    release.set()
    thread.join(30)
    assert len(failed) == 1
