"""Which versions a model has, in what state, and what they can be asked."""

import pytest
from conformance.messages import metadata, refused, status
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

AVAILABLE = 30


def test_status(model_stub):
    (one,) = model_stub.GetModelStatus(
        status(name="forms"), timeout=60
    ).model_version_status
    assert (one.version, one.state, one.status.error_code) == (7, AVAILABLE, 0)


def test_status_of_several_versions(model_stub):
    answer = model_stub.GetModelStatus(status(name="numbered"), timeout=60)
    versions = [each.version for each in answer.model_version_status]
    assert versions == sorted(versions, reverse=True)  # 3 may have been and ended
    available = {
        each.version for each in answer.model_version_status if each.state == AVAILABLE
    }
    assert available == {1, 2}
    answer = model_stub.GetModelStatus(status(name="numbered", version=1), timeout=60)
    assert [each.version for each in answer.model_version_status] == [1]


def test_refusals_of_status(model_stub):
    ask = model_stub.GetModelStatus
    refused(
        ask,
        status(name="forms", version=3),
        "NOT_FOUND",
        "Could not find version 3 of model forms",
    )
    refused(
        ask, status(name="x"), "NOT_FOUND", "Could not find any versions of model x"
    )
    request = get_model_status_pb2.GetModelStatusRequest()
    refused(ask, request, "INVALID_ARGUMENT", "Missing ModelSpec")


def test_metadata(stub):
    request = metadata("signature_def", name="forms")
    response = stub.GetModelMetadata(request, timeout=60)
    assert response.model_spec.name == "forms"
    assert response.model_spec.version.value == 7
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    matrix = signatures.signature_def["matrix"]
    assert matrix.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in matrix.inputs["m"].tensor_shape.dim] == [-1, 2, 3]
    assert set(matrix.outputs) == {"m", "rows"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([], ["must specify at least one metadata_field"]),
        (["weather"], ["Metadata field weather is not supported"]),
        (["signature_def", "weather"], ["Metadata field weather is not supported"]),
    ],
)
def test_fields_of_metadata(stub, fields, words):
    request = metadata(*fields, name="forms")
    refused(stub.GetModelMetadata, request, "INVALID_ARGUMENT", *words)


def test_refusals_of_metadata(stub):
    request = metadata("signature_def", name="x")
    refused(stub.GetModelMetadata, request, "NOT_FOUND", "Latest(x)")
    request = metadata("signature_def", name="numbered", label="none")
    refused(stub.GetModelMetadata, request, "INVALID_ARGUMENT", "label: none")
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    refused(stub.GetModelMetadata, request, "INVALID_ARGUMENT", "Missing ModelSpec")


@pytest.mark.parametrize(
    "path", ["/v1/models/forms", "/V1/Models/forms", "/v1/models/forms/versions/7"]
)
def test_status_over_rest(http, path):
    answer = http("GET", path)
    assert answer.status_code == 200
    assert answer.json() == {
        "model_version_status": [
            {
                "version": "7",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def test_a_label_does_not_narrow_the_status(http):
    answer = http("GET", "/v1/models/numbered/labels/stable").json()
    versions = {each["version"] for each in answer["model_version_status"]}
    assert {"1", "2"} <= versions


def test_metadata_over_rest(http):
    answer = http("GET", "/v1/models/forms/metadata").json()
    spec = answer["model_spec"]
    assert (spec["name"], spec["version"]) == ("forms", "7")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    matrix = signatures["matrix"]["inputs"]["m"]
    assert matrix["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in matrix["tensor_shape"]["dim"]]
    assert sizes == ["-1", "2", "3"]
    assert signatures["text"]["outputs"]["text"]["dtype"] == "DT_STRING"
    assert (
        http("GET", "/v1/models/numbered/labels/stable/metadata").json()["model_spec"][
            "version"
        ]
        == "1"
    )


@pytest.mark.parametrize(
    ("path", "status_", "words"),
    [
        ("/v1/models", 400, ["Missing model name in request."]),
        ("/v1/models/metadata/metadata", 404, ["Latest(metadata)"]),
        ("/v1/models/forms/versions/3", 404, ["version 3 of model forms"]),
        ("/v1/models/forms/versions/3/metadata", 404, ["Specific(forms, 3)"]),
        ("/v1/models/numbered/labels/none/metadata", 400, ["label: none"]),
        ("/v1/models/a%20b", 404, ["any versions of model a b"]),
        ("/v1/models/forms/versions/x", 400, ["Malformed request: GET"]),
        ("/v1/models/forms/weather", 400, ["Malformed request: GET"]),
        ("/v1/models/forms:predict", 400, ["Malformed request: GET"]),
        ("/v1/models/forms?x=1", 404, ["any versions of model forms?x=1"]),
        ("/v1/models/forms/metadata?x=1", 400, ["GET /v1/models/forms/metadata?x=1"]),
    ],
)
def test_refusals_over_rest(http_refused, path, status_, words):
    http_refused("GET", path, status_, *words)
