"""The server over REST, asked by plain HTTP."""

import base64

import numpy as np
import pytest
import requests
import small_model


@pytest.fixture(scope="module")
def http(server):
    session = requests.Session()
    session.trust_env = False

    def send(method, path, body=None, data=None):
        return session.request(
            method, server.rest_address + path, json=body, data=data, timeout=60
        )

    with session:
        yield send


def _error(response):
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.json()) == {"error"}
    return response.status_code, response.json()["error"]


def test_rows_and_columns_give_the_same(http):
    data = [
        {"b64": base64.b64encode(small_model.png(image)).decode()}
        for image in small_model.images(3)
    ]
    rows = http("POST", "/v1/models/model:predict", {"instances": data})
    assert rows.status_code == 200
    named = [{"image_bytes": each} for each in data]
    again = http("POST", "/v1/models/model:predict", {"instances": named})
    assert again.json() == rows.json()
    columns = http("POST", "/v1/models/model:predict", {"inputs": data})
    outputs = columns.json()["outputs"]
    predictions = rows.json()["predictions"]
    assert len(predictions) == 3
    for index, prediction in enumerate(predictions):
        assert prediction == {name: outputs[name][index] for name in outputs}
    scores = small_model.expected_scores(small_model.images(3))
    np.testing.assert_allclose(outputs["scores"], -np.sort(-scores)[:, :4], atol=1e-5)


def test_a_single_output_stands_bare(http):
    body = {"signature_name": "one", "instances": [1, 2.5]}
    answer = http("POST", "/v1/models/model:predict", body)
    assert answer.json() == {"predictions": [2.0, 5.0]}
    body = {"signature_name": "one", "inputs": [1, 2.5]}
    answer = http("POST", "/v1/models/model/versions/7:predict", body)
    assert answer.json() == {"outputs": [2.0, 5.0]}


def test_outputs_named_bytes_are_base64(http):
    body = {"signature_name": "two", "instances": [{"a": 0.1, "b": 4}]}
    (row,) = http("POST", "/v1/models/model:predict", body).json()["predictions"]
    assert row == {"sum": 4.1, "twice": 8, "text_bytes": {"b64": "NA=="}}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            "/v1/models/model:predict",
            {"signature_name": "nope", "instances": [1]},
            400,
            'Serving signature name: "nope" not found in signature def',
        ),
        (
            "/v1/models/other:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(other)",
        ),
        (
            "/v1/models/model/versions/3:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(model, 3)",
        ),
        (
            "/v1/models/model/labels/stable:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: stable",
        ),
        (
            "/v1/models/model/versions/99999999999999999999:predict",
            {"instances": [1]},
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (
            "/v1/models/model:predict",
            {"signature_name": "two", "inputs": {"a": [1]}},
            400,
            "Missing named input: b in 'inputs' object.",
        ),
        (
            "/v1/models/model:predict",
            {"signature_name": "scalar", "instances": [1, 2]},
            400,
            "Tensor name: total has no shape information ",
        ),
        (
            "/v1/models/model:predict",
            {"signature_name": "embed", "instances": [[1, 2]]},
            400,
            "Input images must have shape [?,6,5,3], but [1,2] is provided",
        ),
        (
            "/v1/models/model:explain",
            {},
            400,
            "Malformed request: POST /v1/models/model:explain",
        ),
        ("/v1/other", {}, 400, "Malformed request: POST /v1/other"),
    ],
)
def test_refusals(http, path, body, status, message):
    assert _error(http("POST", path, body)) == (status, message)


def test_junk(http):
    for data, message in [
        (b"", "JSON Parse error: The document is empty"),
        (b"\x89PNG\x00", "JSON Parse error: Invalid encoding in string. at offset: 0"),
        (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
    ]:
        answer = http("POST", "/v1/models/model:predict", data=data)
        assert _error(answer) == (400, message)


def test_other_methods(http):
    for method in ("PUT", "DELETE"):
        assert _error(http(method, "/v1/models/model:predict")) == (
            400,
            f"Malformed request: {method} /v1/models/model:predict",
        )
    for name in ("classify", "regress"):
        assert _error(http("POST", f"/v1/models/model:{name}", {}))[0] == 501
    assert http("GET", "/").status_code == 404


def test_status(http):
    expected = {
        "model_version_status": [
            {
                "version": "7",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/model", "/V1/Models/model", "/v1/models/model/versions/7"):
        answer = http("GET", path)
        assert (answer.status_code, answer.json()) == (200, expected)
    assert _error(http("GET", "/v1/models/model/versions/3")) == (
        404,
        "Could not find version 3 of model model",
    )
    assert _error(http("GET", "/v1/models/a%20b")) == (
        404,
        "Could not find any versions of model a b",
    )
    assert _error(http("GET", "/v1/models")) == (
        400,
        "Missing model name in request.",
    )


def test_metadata(http):
    answer = http("GET", "/v1/models/model/metadata").json()
    assert answer["model_spec"] == {
        "name": "model",
        "signature_name": "",
        "version": "7",
    }
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    images = signatures["embed"]["inputs"]["images"]
    assert images["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in images["tensor_shape"]["dim"]]
    assert sizes == ["-1", "6", "5", "3"]
    assert signatures["serving_default"]["outputs"]["ids"]["dtype"] == "DT_STRING"
    assert _error(http("GET", "/v1/models/model/versions/3/metadata"))[0] == 404


def test_a_body_of_20_megabytes(http):
    data = {"b64": base64.b64encode(b"\x00" * 16_000_000).decode()}
    answer = http("POST", "/v1/models/model:predict", {"inputs": [data]})
    assert len(answer.request.body) > 20_000_000
    assert answer.json()["outputs"]["valid"] == [False]
    values = (np.arange(200_000) % 1000 + 0.5).tolist()
    body = {"signature_name": "one", "inputs": values}
    answer = http("POST", "/v1/models/model:predict", body)
    assert answer.json()["outputs"] == [2 * value for value in values]
