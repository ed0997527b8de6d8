"""Requests that are too large are refused, unread; the server goes on."""

import base64
import gzip
import http.client
import json
import socket
import struct
import tracemalloc

import grpc
import pytest
import small_model
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from werkzeug.exceptions import RequestEntityTooLarge

from tfembed.serving import LocalServer
from tfembed.serving.rest import unpack

LIMIT = 1_000_000
PATH = "/v1/models/model:predict"


@pytest.fixture(scope="module")
def limited(model_dir):
    with LocalServer(
        model_dir,
        port=0,
        rest_port=0,
        max_request_megabytes=LIMIT / 1e6,
        max_image_megapixels=0.01,
    ) as running:
        yield running


@pytest.fixture
def connection(limited):
    host, _, port = limited.rest_address.partition("//")[2].partition(":")
    opened = http.client.HTTPConnection(host, int(port), timeout=30)
    yield opened
    opened.close()


def _body(size):
    text = json.dumps({"signature_name": "one", "instances": [1.0]})
    return text.encode().ljust(size)


def test_a_body_as_large_as_the_limit_is_answered(connection):
    connection.request("POST", PATH, _body(LIMIT))
    assert json.loads(connection.getresponse().read()) == {"predictions": [2.0]}


@pytest.mark.parametrize("size", [LIMIT + 1, 20 * LIMIT])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_larger_body_is_refused(connection, size, chunked):
    body = _body(size)
    pieces = (body[at : at + 65536] for at in range(0, size, 65536))
    connection.request(
        "POST",
        PATH,
        pieces if chunked else body,
        encode_chunked=chunked,
        headers={"Transfer-Encoding": "chunked"} if chunked else {},
    )
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/json"
    assert f"at most {LIMIT} bytes" in json.loads(answer.read())["error"]


@pytest.mark.parametrize("extra", ["", "Expect: 100-continue\r\n"])
def test_a_body_is_refused_by_its_declared_length_alone(connection, extra):
    connection.connect()
    connection.sock.sendall(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{extra}"
        "Content-Length: 1000000000000\r\n\r\n".encode()
    )
    assert connection.sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_packed_body_is_as_large_as_it_unpacks_to(connection):
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413), (20 * LIMIT, 413)):
        body = gzip.compress(_body(size))
        assert len(body) < LIMIT / 4
        connection.request("POST", PATH, body, {"Content-Encoding": "gzip"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == status
        if status == 413:
            assert f"at most {LIMIT} bytes" in said["error"]


def test_a_bomb_takes_no_memory():
    bomb = gzip.compress(bytes(200 * LIMIT), 1)
    tracemalloc.start()
    try:
        with pytest.raises(RequestEntityTooLarge):
            unpack(bomb, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_connections_are_kept(connection):
    for _ in range(3):
        connection.request("POST", PATH, _body(100))
        assert connection.getresponse().read()
        first = connection.sock
    assert connection.sock is first and first is not None


@pytest.mark.parametrize("head", [b"junk\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n"])
def test_what_is_no_http_is_refused(connection, head):
    connection.connect()
    connection.sock.sendall(head)
    # In as many pieces as the network likes, until the server closes.
    answer = b"".join(iter(lambda: connection.sock.recv(65536), b""))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b'"error": ' in answer


def _predict(limited, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = "one" if "x" in inputs else ""
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(limited.grpc_address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=30)


def test_a_message_that_is_too_large_is_refused(limited):
    with pytest.raises(grpc.RpcError) as caught:
        _predict(limited, x=[1.0] * (LIMIT // 4 + 1))
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"
    assert "larger than max" in caught.value.details()
    assert _predict(limited, x=[1.0] * 1000).outputs["y"].float_val[0] == 2.0


def _declaring(width, height):
    """Returns a PNG whose header lies about its size."""
    data = small_model.png(small_model.images(1)[0])
    return data[:16] + struct.pack(">II", width, height) + data[24:]


def test_an_image_that_declares_too_much_is_refused(limited, connection):
    good = small_model.png(small_model.images(1)[0])
    data = [good, _declaring(60_000, 60_000)]
    with pytest.raises(grpc.RpcError) as caught:
        _predict(limited, image_bytes=data)
    assert caught.value.code().name == "INVALID_ARGUMENT"
    said = caught.value.details()
    assert "declares 60000 x 60000, item 1" in said and "at most 0.01 million" in said
    rows = [{"b64": base64.b64encode(each).decode()} for each in data]
    connection.request("POST", PATH, json.dumps({"instances": rows}).encode())
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]) == (400, said)
    assert list(_predict(limited, image_bytes=[good]).outputs["valid"].bool_val) == [1]


def test_a_client_that_goes_away_harms_nobody(limited, connection):
    host, port = connection.host, connection.port
    for sent in (b"POST / HT", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"):
        with socket.create_connection((host, port)) as half:
            half.sendall(sent)
    connection.request("POST", PATH, _body(100))
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("name", ["max_request_megabytes", "max_image_megapixels"])
def test_a_limit_is_above_zero(model_dir, name):
    with pytest.raises(
        ValueError, match=f"`{name}` must be a positive number. Received: {name}"
    ):
        LocalServer(model_dir, **{name: 0})


@pytest.mark.parametrize(
    ("dtype", "size", "value"),
    [
        (tf.uint8, 1, -1),
        (tf.int8, 1, 300),
        (tf.float32, 2**28, 0),
        (tf.int32, 2**40, 1),
    ],
)
def test_values_that_no_tensor_of_that_size_and_dtype_holds(
    limited, dtype, size, value
):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = "one"
    tensor = request.inputs["x"]
    tensor.dtype = dtype.as_datatype_enum
    tensor.tensor_shape.dim.add().size = size
    (tensor.float_val if dtype == tf.float32 else tensor.int_val).append(value)
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(limited.grpc_address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=30)
    assert caught.value.code().name == "INVALID_ARGUMENT"
