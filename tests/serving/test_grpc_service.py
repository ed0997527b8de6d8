"""The server over gRPC, asked by tensorflow-serving-api's own stubs."""

import grpc
import numpy as np
import pytest
import small_model
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


@pytest.fixture(scope="module")
def channel(server):
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    with grpc.insecure_channel(server.grpc_address, options) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def _request(signature="", name="model", version=None, label=None, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def _refused(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value.code().name, caught.value.details()


def test_predict(stub):
    images = small_model.images(9)
    request = _request("search_images", images=images.astype(np.float32))
    response = stub.Predict(request, timeout=30)
    assert response.model_spec.name == "model"
    assert response.model_spec.signature_name == "search_images"
    assert response.model_spec.version.value == 7
    outputs = {key: tf.make_ndarray(value) for key, value in response.outputs.items()}
    scores = small_model.expected_scores(images)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, : small_model.K]
    _, ids, labels = small_model.gallery()
    assert outputs["ids"].tolist() == [[i.encode() for i in row] for row in ids[rows]]
    assert outputs["labels"].tolist() == [[i.encode() for i in r] for r in labels[rows]]
    np.testing.assert_allclose(
        outputs["scores"], np.take_along_axis(scores, rows, 1), atol=1e-5
    )
    assert outputs["known"].dtype == bool and outputs["known"].shape == (9,)


def test_answers_stand_in_value_fields(stub):
    response = stub.Predict(
        _request("two", a=np.float32([1, 2]), b=np.int64([3, 4])), timeout=30
    )
    assert list(response.outputs["sum"].float_val) == [4.0, 6.0]
    assert list(response.outputs["twice"].int64_val) == [6, 8]
    assert list(response.outputs["text_bytes"].string_val) == [b"3", b"4"]
    assert not response.outputs["sum"].tensor_content


def test_the_default_signature_takes_bytes(stub):
    data = [small_model.png(image) for image in small_model.images(2)] + [b"junk"]
    response = stub.Predict(_request(image_bytes=data), timeout=30)
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs["valid"].bool_val) == [True, True, False]


def test_an_output_filter(stub):
    request = _request("two", a=np.float32([1]), b=np.int64([3]))
    request.output_filter.append("twice")
    assert set(stub.Predict(request, timeout=30).outputs) == {"twice"}
    request.output_filter.append("twice")
    assert _refused(stub.Predict, request) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: twice",
    )
    request.output_filter[1] = "none"
    code, message = _refused(stub.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert message == (
        "output tensor alias not found in signature: none Outputs expected to be in "
        "the set {sum,text_bytes,twice}."
    )


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            _request("nope", x=[1.0]),
            "FAILED_PRECONDITION",
            'Serving signature key "nope" not found.',
        ),
        (
            _request("__saved_model_init_op"),
            "FAILED_PRECONDITION",
            'Serving signature key "__saved_model_init_op" not found.',
        ),
        (
            _request("one"),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). "
            "Sent extra: {}. Missing but required: {x}.",
        ),
        (
            _request("two", a=[1.0], c=[1.0], d=[1.0]),
            "INVALID_ARGUMENT",
            "input size does not match signature: 3!=2 len({a,c,d}) != len({a,b}). "
            "Sent extra: {c,d}. Missing but required: {b}.",
        ),
        (
            _request("one", y=[1.0]),
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: one_x:0) not found in request and no "
            "default value provided. Inputs expected to be in the request {y}, or "
            "default input alias set: ",
        ),
        (
            _request("one", x=["a"]),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
        ),
        (
            _request("embed", images=np.zeros([1, 6, 5, 1], np.float32)),
            "INVALID_ARGUMENT",
            "Input images must have shape [?,6,5,3], but [1,6,5,1] is provided",
        ),
        (
            _request("one", "other", x=[1.0]),
            "NOT_FOUND",
            "Servable not found for request: Latest(other)",
        ),
        (
            _request("one", version=3, x=[1.0]),
            "NOT_FOUND",
            "Servable not found for request: Specific(model, 3)",
        ),
        (
            _request("one", label="stable", x=[1.0]),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
        ),
        (
            _request("one", "", x=[1.0]),
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
        ),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_refusals(stub, request_, code, message):
    assert _refused(stub.Predict, request_) == (code, message)


def test_the_message_of_a_kernel_comes_without_traces(stub):
    code, message = _refused(stub.Predict, _request("failing", x=[-1.0]))
    assert code == "INVALID_ARGUMENT"
    assert "x is not positive" in message and "\n" not in message


@pytest.mark.parametrize("sizes", [[2**40], [-2], [3]])
def test_a_tensor_that_lies_about_itself(stub, sizes):
    request = _request("one", x=np.float32([1, 2]))
    tensor = request.inputs["x"]
    del tensor.tensor_shape.dim[:]
    for size in sizes:
        tensor.tensor_shape.dim.add().size = size
    assert _refused(stub.Predict, request) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
    )


def test_a_long_message_is_cut(stub):
    code, message = _refused(stub.Predict, _request("x" * 3000))
    assert code == "FAILED_PRECONDITION"
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("...TRUNCATED")


def test_junk_on_the_wire(channel, stub):
    method = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        method(b"\xff\xfe junk", timeout=30)
    assert caught.value.code().name == "INTERNAL"
    response = stub.Predict(_request("one", x=[1.0]), timeout=30)
    assert list(response.outputs["y"].float_val) == [2.0]


def test_a_message_of_24_megabytes(stub):
    values = np.arange(6_000_000, dtype=np.float32)
    response = stub.Predict(_request("one", x=values), timeout=120)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), values * 2)


def test_metadata(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "model"
    assert _refused(stub.GetModelMetadata, request) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    request.metadata_field.append("signature_def")
    response = stub.GetModelMetadata(request, timeout=30)
    assert response.model_spec.version.value == 7
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    embed = signatures.signature_def["embed"]
    assert embed.method_name == "tensorflow/serving/predict"
    assert [d.size for d in embed.inputs["images"].tensor_shape.dim] == [-1, 6, 5, 3]
    request.metadata_field.append("weather")
    assert _refused(stub.GetModelMetadata, request) == (
        "INVALID_ARGUMENT",
        "Metadata field weather is not supported",
    )


def test_status(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "model"
    (status,) = stub.GetModelStatus(request, timeout=30).model_version_status
    assert (status.version, status.state) == (7, 30)
    assert status.status.error_code == 0
    request.model_spec.version.value = 3
    assert _refused(stub.GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find version 3 of model model",
    )
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "other"
    assert _refused(stub.GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find any versions of model other",
    )


def test_other_methods_are_unimplemented(channel, stub):
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    for call, request in [
        (stub.Classify, classification_pb2.ClassificationRequest()),
        (stub.Regress, regression_pb2.RegressionRequest()),
        (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
        (
            models.HandleReloadConfigRequest,
            model_management_pb2.ReloadConfigRequest(),
        ),
    ]:
        assert _refused(call, request)[0] == "UNIMPLEMENTED"
