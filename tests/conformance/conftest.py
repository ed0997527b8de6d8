"""Who is asked: the local server always, and a real TF Serving where there is one.

`README.md` beside this file says how to point the suite at a server.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
from typing import NamedTuple

import grpc
import pytest
import requests
from conformance import models
from conformance.messages import (
    available_versions,
    model_text,
    reload_models,
    until,
    which_version,
)
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

BINARY = "tensorflow_model_server"


class Target(NamedTuple):
    """A server that is asked: its two addresses, and its folder of models."""

    grpc: str
    rest: str
    root: pathlib.Path


@pytest.fixture(scope="session", params=["local", BINARY, "TFSERVING_ADDRESS"])
def target(request, tmp_path_factory):
    """Each server in turn, serving the models of `models.py`."""
    if request.param == BINARY and not shutil.which(BINARY):
        pytest.skip(f"{BINARY} is not on the PATH")
    address = os.environ.get("TFSERVING_ADDRESS")
    if request.param == "TFSERVING_ADDRESS" and not address:
        pytest.skip("TFSERVING_ADDRESS is not set; see tests/conformance/README.md")
    if request.param == "TFSERVING_ADDRESS":
        speaks_grpc, _, speaks_rest = address.partition(",")
        root = pathlib.Path(os.environ["TFSERVING_MODELS"])
        yield Target(speaks_grpc, f"http://{speaks_rest}", root)
        return
    root = tmp_path_factory.mktemp("conformance")
    models.write_models(root)
    start = _local_server if request.param == "local" else _model_server
    with start(root) as started:
        yield started


@contextlib.contextmanager
def _local_server(root):
    from tfembed.serving import LocalServer

    with LocalServer(
        model_config_file=root / "models.config",
        allow_version_labels_for_unavailable_models=True,
        max_num_load_retries=0,
        port=0,
        rest_port=0,
        poll_seconds=0.1,
    ) as server:
        yield Target(server.grpc_address, server.rest_address, root)


@contextlib.contextmanager
def _model_server(root):
    ports = _free_port(), _free_port()
    process = subprocess.Popen(
        [
            BINARY,
            f"--port={ports[0]}",
            f"--rest_api_port={ports[1]}",
            f"--model_config_file={root / 'models.config'}",
            f"--monitoring_config_file={root / 'monitoring.config'}",
            "--allow_version_labels_for_unavailable_models",
            "--max_num_load_retries=0",
            "--grpc_max_threads=64",
        ]
    )
    target = Target(f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", root)
    try:
        until(lambda: process.poll() is not None or _answers(target), 120)
        assert process.poll() is None, f"{BINARY} has ended: {process.returncode}"
        yield target
    finally:
        process.terminate()
        process.wait()


def _answers(target):
    """Whether all models of the config are served."""
    with requests.Session() as session, contextlib.suppress(requests.ConnectionError):
        session.trust_env = False
        paths = [f"{target.rest}/v1/models/{name}/metadata" for name in models.NAMES]
        return all(session.get(path, timeout=10).ok for path in paths)
    return False


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def channel(target):
    """A gRPC channel without limits on sizes."""
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.enable_http_proxy", 0),
    ]
    with grpc.insecure_channel(target.grpc, options) as opened:
        yield opened


@pytest.fixture(scope="session")
def stub(channel):
    """The stub of the PredictionService."""
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="session")
def model_stub(channel):
    """The stub of the ModelService."""
    return model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture(scope="session")
def http(target):
    """Function that sends a request over HTTP and returns the response."""
    session = requests.Session()
    session.trust_env = False

    def send(method, path, body=None, data=None, headers=None):
        return session.request(
            method,
            target.rest + path,
            json=body,
            data=data,
            headers=headers,
            timeout=60,
        )

    with session:
        yield send


@pytest.fixture(scope="session")
def http_refused(http):
    """Function that asserts that a request is refused, and says certain words."""

    def send(method, path, status, *words, **arguments):
        answer = http(method, path, **arguments)
        assert answer.headers["Content-Type"] == "application/json"
        assert set(answer.json()) == {"error"}
        said = answer.json()["error"]
        assert answer.status_code == status, said
        for word in words:
            assert word in said
        return said

    return send


@pytest.fixture
def usual(target):
    """The models that are served before and after, as texts of their config."""
    both = "specific { versions: 1 versions: 2 }"
    return [
        model_text("forms", target.root / "forms"),
        model_text("numbered", target.root / "numbered", both, stable=1, canary=2),
        model_text("pictures", target.root / "pictures"),
    ]


@pytest.fixture
def reload_config(stub, model_stub, usual):
    """Function that replaces the config; the usual one is back at the end."""

    def replace(*texts):
        return model_stub.HandleReloadConfigRequest(reload_models(*texts), timeout=120)

    def is_usual():
        others = ("a", "broken", "cold", "moving", "spare", "window")
        return (
            available_versions(model_stub, "numbered") == [2, 1]
            and which_version(stub, "numbered", label="stable") == 1
            and which_version(stub, "numbered", label="canary") == 2
            and not any(available_versions(model_stub, name) for name in others)
        )

    yield replace
    replace(*usual)
    until(is_usual)
