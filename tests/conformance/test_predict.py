"""Predict over gRPC."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance.messages import predict, refused
from tensorflow_serving.apis import predict_pb2


def test_predict(stub):
    response = stub.Predict(predict("one", x=[1.0, 2.5]), timeout=60)
    assert response.model_spec.name == "forms"
    assert response.model_spec.signature_name == "one"
    assert response.model_spec.version.value == 7
    y = response.outputs["y"]
    assert tf.as_dtype(y.dtype) == tf.float32
    assert tf.make_ndarray(y).tolist() == [2.0, 5.0]


def test_the_default_signature(stub):
    response = stub.Predict(predict(x=[1.0]), timeout=60)
    assert response.model_spec.signature_name == "serving_default"
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [2.0]


def test_answers_stand_in_value_fields(stub):
    request = predict("two", a=np.float32([1, 2]), b=np.int64([3, 4]))
    outputs = stub.Predict(request, timeout=60).outputs
    assert list(outputs["sum"].float_val) == [4.0, 6.0]
    assert list(outputs["twice"].int64_val) == [6, 8]
    assert list(outputs["text_bytes"].string_val) == [b"3", b"4"]
    assert not outputs["sum"].tensor_content


def test_inputs_may_stand_in_value_fields(stub):
    request = predict("one", x=[1.0])
    tensor = request.inputs["x"]
    tensor.tensor_content = b""
    del tensor.float_val[:]
    tensor.float_val.extend([1.0, 2.0])
    tensor.tensor_shape.dim[0].size = 2
    answer = stub.Predict(request, timeout=60)
    assert tf.make_ndarray(answer.outputs["y"]).tolist() == [2.0, 4.0]


def test_bytes_come_back_as_they_were(stub):
    sent = [b"\x00\xff", b"", "ü".encode()]
    response = stub.Predict(predict("text", s=sent), timeout=60)
    assert list(response.outputs["text"].string_val) == sent


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (2, 1, 3)])
def test_an_input_of_any_rank(stub, shape):
    given = np.ones(shape, np.float32)
    response = stub.Predict(predict("anything", x=given), timeout=60)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), given + 1)


@pytest.mark.parametrize("shape", [(2, 9, 8, 3), (2, 8, 8, 1), (8, 8, 3), (0, 4, 4, 3)])
def test_images_of_another_size(stub, shape):
    """The graph refuses them where the server compares no shapes."""

    def ask(shape):
        return predict("pixels", "pictures", images=np.ones(shape, np.float32))

    found = stub.Predict(ask((2, 8, 8, 3)), timeout=60).outputs["mean"]
    assert tf.make_ndarray(found).tolist() == [1.0, 1.0]
    refused(stub.Predict, ask(shape), "INVALID_ARGUMENT", "images", "must have")


def test_an_empty_batch(stub):
    response = stub.Predict(predict("one", x=np.zeros([0], np.float32)), timeout=60)
    assert tf.make_ndarray(response.outputs["y"]).shape == (0,)


def test_half_floats_are_answered(stub):
    response = stub.Predict(predict("half", x=[0.5]), timeout=60)
    assert tf.make_ndarray(response.outputs["y"]).dtype == np.float16


def test_an_output_filter(stub):
    request = predict("two", a=np.float32([1]), b=np.int64([3]))
    request.output_filter.append("twice")
    assert set(stub.Predict(request, timeout=60).outputs) == {"twice"}
    request.output_filter.append("twice")
    refused(
        stub.Predict,
        request,
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: twice",
    )
    request.output_filter[1] = "none"
    refused(
        stub.Predict,
        request,
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: none",
    )


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (
            predict("nope", x=[1.0]),
            "FAILED_PRECONDITION",
            ['Serving signature key "nope" not found.'],
        ),
        (
            predict("one"),
            "INVALID_ARGUMENT",
            [
                "input size does not match signature: 0!=1 len({}) != len({x}). "
                "Sent extra: {}. Missing but required: {x}."
            ],
        ),
        (
            predict("two", a=[1.0], c=[1.0], d=[1.0]),
            "INVALID_ARGUMENT",
            ["3!=2", "Sent extra: {c,d}.", "Missing but required: {b}."],
        ),
        (
            predict("one", y=[1.0]),
            "INVALID_ARGUMENT",
            ["input", "x", "not found in request"],
        ),
        (predict("one", x=["a"]), "INVALID_ARGUMENT", ["float", "string"]),
        (
            predict("matrix", m=np.zeros([1, 2, 2], np.float32)),
            "INVALID_ARGUMENT",
            [],
        ),
        (
            predict("one", "other", x=[1.0]),
            "NOT_FOUND",
            ["Servable not found for request: Latest(other)"],
        ),
        (
            predict("one", version=3, x=[1.0]),
            "NOT_FOUND",
            ["Servable not found for request: Specific(forms, 3)"],
        ),
        (
            predict("one", label="stable", x=[1.0]),
            "INVALID_ARGUMENT",
            ["Unrecognized servable version label: stable"],
        ),
        (
            predict("one", "", x=[1.0]),
            "INVALID_ARGUMENT",
            ["ModelSpec has no name specified."],
        ),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", ["Missing ModelSpec"]),
        (predict("failing", x=[-1.0]), "INVALID_ARGUMENT", ["x is not positive"]),
    ],
)
def test_refusals(stub, request_, code, words):
    refused(stub.Predict, request_, code, *words)


@pytest.mark.parametrize("sizes", [[2**40], [-2], [3]])
def test_a_tensor_that_lies_about_its_shape(stub, sizes):
    request = predict("one", x=np.float32([1, 2]))
    tensor = request.inputs["x"]
    del tensor.tensor_shape.dim[:]
    for size in sizes:
        tensor.tensor_shape.dim.add().size = size
    refused(stub.Predict, request, "INVALID_ARGUMENT", "tensor parsing error: x")


def test_a_long_message_is_cut(stub):
    said = refused(stub.Predict, predict("x" * 3000), "FAILED_PRECONDITION")
    assert len(said) == 1024 + len("...TRUNCATED")
    assert said.endswith("...TRUNCATED")


def test_junk_on_the_wire(channel, stub):
    method = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        method(b"\xff\xfe junk", timeout=60)
    assert caught.value.code().name == "INTERNAL"
    response = stub.Predict(predict("one", x=[1.0]), timeout=60)
    assert list(response.outputs["y"].float_val) == [2.0]


def test_an_unknown_method_is_unimplemented(channel):
    method = channel.unary_unary("/tensorflow.serving.PredictionService/Guess")
    with pytest.raises(grpc.RpcError) as caught:
        method(b"", timeout=60)
    assert caught.value.code().name == "UNIMPLEMENTED"


def test_a_message_of_24_megabytes(stub):
    values = np.arange(6_000_000, dtype=np.float32)
    response = stub.Predict(predict("one", x=values), timeout=120)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), values * 2)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ({}, 2),
        ({"version": 1}, 1),
        ({"version": 2}, 2),
        ({"label": "stable"}, 1),
        ({"label": "canary"}, 2),
    ],
)
def test_a_version_or_its_label_is_asked(stub, model, version):
    request = predict("which", "numbered", **model, x=[0.0, 0.0])
    response = stub.Predict(request, timeout=60)
    assert list(response.outputs["version"].int64_val) == [version] * 2
    assert response.model_spec.version.value == version
