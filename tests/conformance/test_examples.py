"""Classify, Regress and MultiInference, over gRPC and REST."""

import base64

import pytest
from conformance.messages import classify, example, multi, predict, refused, regress

ANT = example(name="ant", x=0.25)
BEE = example(name="bee", x=0.5)


def _classes(result):
    return [
        [(each.label, each.score) for each in row.classes]
        for row in result.classifications
    ]


def test_classify(stub):
    response = stub.Classify(classify(examples=[ANT, BEE]), timeout=60)
    assert _classes(response.result) == [
        [("ant", 0.25), ("other", 0.75)],
        [("bee", 0.5), ("other", 0.5)],
    ]
    assert response.model_spec.name == "forms"
    assert response.model_spec.signature_name == "classify"
    assert response.model_spec.version.value == 7


def test_classes_or_scores_alone(stub):
    response = stub.Classify(classify("classify_scores", [ANT]), timeout=60)
    assert _classes(response.result) == [[("", 0.25)]]
    response = stub.Classify(classify("classify_classes", [ANT]), timeout=60)
    assert _classes(response.result) == [[("ant", 0.0)]]


def test_a_context_is_part_of_each_example(stub):
    request = classify(examples=[example(x=0.25), BEE], context=example(name="all"))
    response = stub.Classify(request, timeout=60)
    assert [row[0][0] for row in _classes(response.result)] == ["all", "bee"]


def test_regress(stub):
    for signature, values in (("regress", [2.5, 5.0]), ("regress_column", [0.25, 0.5])):
        response = stub.Regress(regress(signature, [ANT, BEE]), timeout=60)
        assert [each.value for each in response.result.regressions] == values
        assert response.model_spec.signature_name == signature


def test_multi_inference(stub):
    request = multi(("classify", "classify"), ("regress", "regress"), examples=[ANT])
    first, second = stub.MultiInference(request, timeout=60).results
    assert _classes(first.classification_result) == [[("ant", 0.25), ("other", 0.75)]]
    assert second.regression_result.regressions[0].value == 2.5
    assert first.model_spec.signature_name == "classify"
    assert second.model_spec.version.value == 7


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("nope", ["No signature was found with the name: nope"]),
        ("two", ["Expected one input Tensor."]),
        ("three_outputs", ["Expected one or two output Tensors, found 3"]),
        ("other_input", ["No classification inputs found in SignatureDef"]),
        ("other_outputs", ['at least one of "classes" or "scores"']),
        ("classify_flat", ["[batch_size num_classes]", "[1]"]),
        ("classify_double", ["scores Tensor of DT_FLOAT. Got: DT_DOUBLE"]),
        ("classify_uneven", ["should match in dim_size(1). Got 1 vs. 2"]),
    ],
)
def test_what_cannot_be_classified(stub, signature, words):
    request = classify(signature, [ANT])
    refused(stub.Classify, request, "INVALID_ARGUMENT", *words)


def test_a_batch_that_comes_back_short(stub):
    refused(
        stub.Classify,
        classify("classify_short", [ANT, BEE]),
        "INVALID_ARGUMENT",
        "Expected scores output batch size of 2. Got: 1",
    )


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("nope", ["No signature was found with the name: nope"]),
        ("two", ["Expected one input Tensor."]),
        ("classify", ["Expected one output Tensor."]),
        ("other_input", ["No regression inputs found in SignatureDef"]),
        ("other_outputs", ["No regression outputs found in SignatureDef"]),
        ("regress_wide", ["[batch_size] or [batch_size, 1]", "[1,2]"]),
        ("regress_double", ["DT_FLOAT", "DT_DOUBLE"]),
    ],
)
def test_what_cannot_be_regressed(stub, signature, words):
    refused(stub.Regress, regress(signature, [ANT]), "INVALID_ARGUMENT", *words)


def test_examples_and_a_model_are_needed(stub):
    refused(stub.Classify, classify(), "INVALID_ARGUMENT", "Input is empty.")
    refused(stub.Regress, regress(), "INVALID_ARGUMENT", "Input is empty.")
    request = classify(examples=[ANT], name="other")
    refused(stub.Classify, request, "NOT_FOUND", "Latest(other)")
    refused(
        stub.Regress,
        type(regress())(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )


@pytest.mark.parametrize(
    ("tasks", "code", "words"),
    [
        ([], "INVALID_ARGUMENT", ["ModelSpec has no name specified."]),
        ([("classify", "classify")] * 2, "INVALID_ARGUMENT", ["Duplicate evaluation"]),
        (
            [("classify", "classify"), ("regress", "regress", "numbered")],
            "INVALID_ARGUMENT",
            ["must access the same model name"],
        ),
        (
            [("classify", "classify"), ("regress", "regress", "")],
            "INVALID_ARGUMENT",
            ["Found ModelSpec with an empty model name."],
        ),
        ([("classify", "nope")], "INVALID_ARGUMENT", ["Requested signature not found"]),
        ([("classify", "regress")], "INVALID_ARGUMENT", ["at least one of"]),
        (
            [("predict", "one")],
            "UNIMPLEMENTED",
            ["Unsupported signature method_name: tensorflow/serving/predict"],
        ),
    ],
)
def test_refusals_of_multi_inference(stub, tasks, code, words):
    refused(stub.MultiInference, multi(*tasks, examples=[ANT]), code, *words)


def test_such_a_signature_can_be_predicted_too(stub):
    request = predict("regress", inputs=[ANT.SerializeToString()])
    response = stub.Predict(request, timeout=60)
    assert list(response.outputs["outputs"].float_val) == [2.5]


def test_classify_over_rest(http):
    encoded = base64.b64encode(b"bee").decode()
    body = {
        "signature_name": "classify",
        "context": {"name": "all"},
        "examples": [
            {"name": ["ant"], "x": 0.25},
            {"name": {"b64": encoded}, "x": [0.5]},
            {"x": 0.5},
        ],
    }
    answer = http("POST", "/v1/models/forms:classify", body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "results": [
            [["ant", 0.25], ["other", 0.75]],
            [["bee", 0.5], ["other", 0.5]],
            [["all", 0.5], ["other", 0.5]],
        ]
    }


def test_regress_over_rest(http):
    body = {"signature_name": "regress", "examples": [{"x": 0.25}, {}]}
    answer = http("POST", "/v1/models/forms/versions/7:regress", body)
    assert answer.json() == {"results": [2.5, 0.0]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["key 'examples' is expected"]),
        ({"examples": {}}, ["'examples' value to be an list/array"]),
        ({"examples": []}, ["value is an empty array"]),
        ({"examples": [3]}, ["Example must be JSON object but got JSON Number"]),
        ({"examples": [{"x": None}]}, ["Feature: x", "JSON type: Null"]),
        ({"examples": [{"x": [[1]]}]}, ["Feature: x", "JSON type: Array"]),
        ({"examples": [{"x": {"a": 1}}]}, ["Feature: x", "JSON type: Object"]),
        ({"examples": [{"x": [0.5, 1]}]}, ["feature: x expecting type: float"]),
        ({"examples": [{"x": ["a", True]}]}, ["feature: x expecting type: bytes"]),
        ({"examples": [{"x": 2**63}]}, ["Only int64_t is supported"]),
        ({"examples": [{"x": "text"}]}, []),
        ({"examples": [{"x": 0.5}], "signature_name": "nope"}, ["nope"]),
        ({"examples": [{"x": 0.5}], "signature_name": []}, ["must be a string value"]),
    ],
)
def test_refusals_over_rest(http_refused, body, words):
    body = {"signature_name": "classify", **body}
    http_refused("POST", "/v1/models/forms:classify", 400, *words, body=body)
