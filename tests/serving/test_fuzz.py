"""Whatever is sent: an answer, or one of the documented errors; then all is as before.

A few hundred requests here; 20,000 by

    pytest -n 0 --runslow tests/serving/test_fuzz.py

What fails is shown small, as hypothesis does, and can be had again by the line that it
prints.
"""

import base64
import contextlib
import gzip
import http.client
import json
import socket

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance import messages, models
from google.protobuf.message import DecodeError
from hostile_images import FIXED, GOOD, hostile, mutated
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.apis import (
    get_model_metadata_pb2 as metadata_pb2,
)

from tfembed.export.image_bytes import decode_images
from tfembed.serving import LocalServer

STATUSES = {200, 400, 404, 413, 429, 431, 501}
CODES = {
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
}
PREDICT = "/v1/models/forms:predict"
TIMEOUT = 30


def often(few, many):
    """Runs a test with a few examples, and with many among the slow tests."""
    slow = pytest.param(many, marks=pytest.mark.slow)
    return pytest.mark.parametrize("examples", [few, slow])


def fuzz(check, strategy, examples):
    """Calls a function with examples of a strategy."""
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 1000,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(check))()


class _Fuzzed(tf.Module):
    """The forms of the conformance suite, and the decoder of every export."""

    def __init__(self):
        super().__init__()
        self.forms, self.named = models.make_forms()
        self.named["decode"] = self.decode

    @models.signature(tf.TensorSpec([None], tf.string, "image_bytes"))
    def decode(self, image_bytes):
        images, valid = decode_images(image_bytes, (8, 8, 3))
        return {"mean": tf.reduce_mean(images, [1, 2, 3]), "valid": valid}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    base = tmp_path_factory.mktemp("fuzzed") / "forms"
    module = _Fuzzed()
    tf.saved_model.save(module, str(base / "1"), signatures=dict(module.named))
    with LocalServer(
        base,
        name="forms",
        port=0,
        rest_port=0,
        max_request_megabytes=2,
        max_image_megapixels=1,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def rest(fuzzed):
    """Function that sends a request as it is; returns the status and the body."""
    host, _, port = fuzzed.rest_address.partition("//")[2].partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)

    def send(method, path, body=b"", headers=None):
        for again in (True, False):
            try:
                connection.putrequest(method, path, skip_accept_encoding=True)
                connection.putheader("Content-Length", str(len(body)))
                for name, value in (headers or {}).items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()  # one that the server closed after an error
                if not again:
                    raise

    yield send
    connection.close()


@pytest.fixture(scope="module")
def channel(fuzzed):
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(fuzzed.grpc_address, options) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _as_before(rest, channel):
    """Compares the answers to good requests, byte by byte, before and after."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    rows = [{"b64": base64.b64encode(GOOD[kind]).decode()} for kind in ("png", "jpeg")]
    body = json.dumps({"signature_name": "decode", "instances": rows}).encode()
    request = messages.predict("decode", image_bytes=[GOOD["gif"], GOOD["bmp"]])

    def now():
        answer = stub.Predict(request, timeout=TIMEOUT)
        return (
            rest("POST", PREDICT, body),
            answer.SerializeToString(deterministic=True),
            rest("GET", "/v1/models/forms"),
        )

    before = now()
    assert before[0][0] == 200 and b'"valid": true' in before[0][1]
    yield
    assert now() == before


def check_answer(status, body):
    """Asserts that an answer is one of those that are documented."""
    assert status in STATUSES, body
    if status == 400 and not body:  # a version that is no int64, OPTIONS
        return
    document = json.loads(body) if body else None
    if status != 200:
        assert set(document) == {"error"} and isinstance(document["error"], str)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.builds(lambda data: {"b64": base64.b64encode(data).decode()}, st.binary()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("abxms") | st.text(max_size=3), inner)
    ),
    max_leaves=12,
)
SIGNATURES = st.sampled_from(
    [name for name in vars(models.Forms) if not name.startswith("_")]
    + ["types", "decode", "", "__saved_model_init_op"]
)
KEYS = ["instances", "inputs", "examples", "context", "signature_name"]
BODIES = st.builds(
    lambda signature, rest: {"signature_name": signature, **rest},
    SIGNATURES,
    st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=2),
).map(lambda document: json.dumps(document).encode())
WRITTEN = [
    json.dumps(document).encode()
    for document in [
        {"instances": [1, 2.5]},
        {"signature_name": "two", "inputs": {"a": [0.5], "b": [3]}},
        {"signature_name": "text", "instances": [{"s": "ü"}, {"s": {"b64": "AA=="}}]},
        {"signature_name": "matrix", "instances": [[[1, 2, 3], [4, 5, 6]]]},
        {"signature_name": "classify", "examples": [{"x": 0.5, "name": "ant"}]},
    ]
]
PATHS = st.one_of(
    st.sampled_from(
        [f"/v1/models/forms:{verb}" for verb in ("predict", "classify", "regress")]
    ),
    st.lists(
        st.sampled_from(
            ["v1", "models", "forms", "versions", "labels", "1", "9" * 30, "metadata"]
            + ["%00", "%ff", "..", "", ":", "forms:predict", ":classify", "?a=b", "#"]
            + ["x" * 2000, "%F0%9F%90%9C", "monitoring", "prometheus", "metrics"]
        ),
        max_size=7,
    ).map(lambda parts: "/" + "/".join(parts)),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map(
        lambda text: "/v1/" + text
    ),
)
METHODS = st.sampled_from(["POST"] * 6 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])


@often(60, 6000)
def test_rest(rest, examples):
    def check(request):
        method, path, body, headers = request
        status, answer = rest(method, path, body, headers)
        if path.lower().startswith("/v1/"):
            check_answer(status, answer)
        else:
            assert status in (200, 404, 405)  # the page answers GET and HEAD alone

    packed = [gzip.compress(each) for each in WRITTEN]
    bodies = st.one_of(BODIES, BODIES, mutated(WRITTEN), st.binary(max_size=60))
    headers = st.sampled_from([{}, {}, {}, {"Content-Encoding": "gzip"}])
    plain = st.tuples(METHODS, PATHS, bodies, headers)
    fuzz(check, plain, examples)
    fuzz(
        check,
        st.tuples(METHODS, PATHS, mutated(packed), headers),
        examples // 3,
    )


@often(20, 2000)
def test_http(fuzzed, examples):
    """Bytes that need not be HTTP: an error, or the end of the connection."""
    host, _, port = fuzzed.rest_address.partition("//")[2].partition(":")
    heads = [
        b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n"
        b'\r\n{"instances": [1]}',
        b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        b'\r\n12\r\n{"instances": [1]}\r\n0\r\n\r\n',
        b"GET /v1/models/forms HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
    ]

    def check(data):
        with socket.create_connection((host, int(port)), timeout=TIMEOUT) as opened:
            with contextlib.suppress(ConnectionError):
                opened.sendall(data)
                opened.shutdown(socket.SHUT_WR)
                answer = opened.recv(1 << 16)
                if answer:
                    version, status = answer.split(None, 2)[:2]
                    assert version in (b"HTTP/1.0", b"HTTP/1.1")
                    assert int(status) in STATUSES | {100}

    fuzz(check, st.one_of(mutated(heads), st.binary(max_size=90)), examples)


SERVICE = "/tensorflow.serving."
EXAMPLES = [messages.example(name="ant", x=0.5)]
CALLS = [
    ("PredictionService/Predict", messages.predict("one", x=[1.0, 2.0])),
    (
        "PredictionService/Predict",
        messages.predict("two", a=np.float32([1]), b=np.int64([2])),
    ),
    ("PredictionService/Predict", messages.predict("text", s=[b"a", b"\xff"])),
    ("PredictionService/Predict", messages.predict("decode", image_bytes=FIXED[-3:])),
    ("PredictionService/Classify", messages.classify(examples=EXAMPLES)),
    ("PredictionService/Regress", messages.regress(examples=EXAMPLES)),
    (
        "PredictionService/MultiInference",
        messages.multi(
            ("classify", "classify"), ("regress", "regress"), examples=EXAMPLES
        ),
    ),
    (
        "PredictionService/GetModelMetadata",
        messages.metadata("signature_def", name="forms"),
    ),
    ("ModelService/GetModelStatus", messages.status(name="forms", version=1)),
]
REQUESTS = {
    "PredictionService/Predict": predict_pb2.PredictRequest,
    "PredictionService/Classify": classification_pb2.ClassificationRequest,
    "PredictionService/Regress": regression_pb2.RegressionRequest,
    "PredictionService/MultiInference": inference_pb2.MultiInferenceRequest,
    "PredictionService/GetModelMetadata": metadata_pb2.GetModelMetadataRequest,
    "ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}


def _call(channel, method, data):
    """Returns the name of the code of a call, and what was said."""
    try:
        channel.unary_unary(SERVICE + method)(data, timeout=TIMEOUT)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def _parses(kind, data):
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


@often(75, 6000)
def test_mutated_messages(channel, examples):
    def check(sent):
        method, data = sent
        code, said = _call(channel, method, data)
        # What is no message at all, the library of gRPC itself answers by INTERNAL.
        wanted = {*CODES, "OK"} if _parses(REQUESTS[method], data) else {"INTERNAL"}
        assert code in wanted, said

    whole = [(method, request.SerializeToString()) for method, request in CALLS]
    sent = st.sampled_from(whole).flatmap(
        lambda call: st.tuples(st.just(call[0]), mutated([call[1]]))
    )
    fuzz(check, sent, examples)


@st.composite
def _tensor(draw):
    """Strategy: a TensorProto whose parts need not fit each other."""
    tensor = predict_pb2.PredictRequest().inputs["x"]
    tensor.dtype = draw(st.integers(0, 32) | st.sampled_from([101, 107, 9999]))
    sizes = st.integers(-2, 4) | st.sampled_from([2**20, 2**31, 2**40, 2**62])
    for size in draw(st.lists(sizes, max_size=5)):
        tensor.tensor_shape.dim.add().size = size
    tensor.tensor_shape.unknown_rank = draw(st.integers(0, 9)) == 0
    tensor.tensor_content = draw(st.just(b"") | st.binary(max_size=40))
    tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    tensor.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    tensor.string_val.extend(draw(st.lists(st.binary(max_size=9), max_size=3)))
    return tensor


@often(50, 3000)
def test_tensors_that_do_not_fit(channel, examples):
    def check(sent):
        signature, tensors, wanted = sent
        request = messages.predict(signature)
        for name, tensor in tensors.items():
            request.inputs[name].CopyFrom(tensor)
        request.output_filter.extend(wanted)
        method = "PredictionService/Predict"
        code, said = _call(channel, method, request.SerializeToString())
        assert code in {*CODES, "OK"}, said

    names = st.sampled_from(["x", "a", "b", "s", "m", "inputs", "image_bytes"])
    tensors = st.dictionaries(names, _tensor(), max_size=2)
    wanted = st.lists(st.sampled_from(["y", "sum", "", "none"]), max_size=1)
    fuzz(check, st.tuples(SIGNATURES, tensors, wanted), examples)


@often(50, 3000)
def test_hostile_images(channel, rest, examples):
    """Each is answered, valid or not, or refused; the good ones are not harmed."""

    def check(image):
        data = [GOOD["png"], image]
        request = messages.predict("decode", image_bytes=data)
        try:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            valid = stub.Predict(request, timeout=TIMEOUT).outputs["valid"].bool_val
            assert valid[0]
        except grpc.RpcError as error:
            assert error.code().name == "INVALID_ARGUMENT", error.details()
            assert "million pixels" in error.details()
            valid = None
        rows = [{"b64": base64.b64encode(each).decode()} for each in data]
        body = json.dumps({"signature_name": "decode", "instances": rows}).encode()
        status, answer = rest("POST", PREDICT, body)
        check_answer(status, answer)
        if valid is None:
            assert status == 400
        else:
            predictions = json.loads(answer)["predictions"]
            assert [row["valid"] for row in predictions] == list(valid)

    fuzz(check, hostile(), examples)


@often(25, 1000)
def test_configs(channel, fuzzed, examples):
    """A config is refused, or taken over; the one before comes back."""
    usual = messages.reload(
        f'model_config_list {{ config {{ name: "forms" base_path: "{_base(fuzzed)}" '
        'model_platform: "tensorflow" } }'
    )
    method = "ModelService/HandleReloadConfigRequest"

    def check(data):
        code, said = _call(channel, method, data)
        if not _parses(model_management_pb2.ReloadConfigRequest, data):
            assert code == "INTERNAL"
        else:
            assert code in {*CODES, "OK", "UNKNOWN"}, said
            if code == "OK":
                assert _call(channel, method, usual.SerializeToString())[0] == "OK"

    fuzz(check, mutated([usual.SerializeToString()]), examples)


def _base(server):
    return server._configs[0].base_path
