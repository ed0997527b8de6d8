"""Examples in TF Serving's JSON: what classify and regress are asked and answer."""

from tensorflow.core.example import feature_pb2

from tfembed.serving import json_tensors
from tfembed.serving.status import invalid_argument

_KINDS = {
    "bytes_list": "bytes",
    "float_list": "float",
    "int64_list": "int64",
    None: "UNKNOWN",
}


def fill_request(body, request):
    """Reads the body of a request to classify or regress.

    Args:
        body: The bytes of the body.
        request: A `ClassificationRequest` or `RegressionRequest`; its signature and
            its examples are filled in.

    Raises:
        StatusError: With the code and text TF Serving would answer.
    """
    document = json_tensors.parse(body)
    request.model_spec.signature_name = json_tensors.signature_name(document)
    given = request.input.example_list
    if "context" in document:
        given = request.input.example_list_with_context
        _fill_example(given.context, document["context"])
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {json_tensors.shown(document)} When method is classify, key "
            "'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid_argument(
            f"JSON Value: {json_tensors.shown(document)} Expecting 'examples' value to "
            "be an list/array"
        )
    if not examples:
        raise invalid_argument(
            f"JSON Value: {json_tensors.shown(document)} 'examples' value is an empty "
            "array"
        )
    for example in examples:
        _fill_example(given.examples.add(), example)


def write_classification(result):
    """Writes a `ClassificationResult` as TF Serving does.

    Returns:
        The bytes of the answer.
    """
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for classification in result.classifications:
        classes = classification.classes
        labels = [json_tensors.string_text(each.label.encode()) for each in classes]
        scores = json_tensors.float_texts([each.score for each in classes])
        pairs = [f"[{label}, {score}]" for label, score in zip(labels, scores)]
        rows.append("[" + ", ".join(pairs) + "]")
    return _results(rows)


def write_regression(result):
    """Writes a `RegressionResult` as TF Serving does.

    Returns:
        The bytes of the answer.
    """
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = [regression.value for regression in result.regressions]
    return _results(json_tensors.float_texts(values))


def _results(texts):
    return ('{\n    "results": [' + ", ".join(texts) + "]\n}").encode()


def _fill_example(example, value):
    if not isinstance(value, dict):
        raise invalid_argument(
            f"Example must be JSON object but got JSON {json_tensors.type_name(value)}"
        )
    for name, content in value.items():
        feature = feature_pb2.Feature()
        for each in content if isinstance(content, list) else [content]:
            _add_value(feature, name, each)
        example.features.feature[name].CopyFrom(feature)


def _add_value(feature, name, value):
    """Adds one JSON value to a Feature, all of whose values are of one kind."""
    if isinstance(value, bool):
        _of_kind(feature, name, "int64_list").append(int(value))
    elif isinstance(value, int):
        if value >= 2**63:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        if value < -(2**63):
            raise invalid_argument(
                f"Feature: {name} has an element below the range of int64_t."
            )
        _of_kind(feature, name, "int64_list").append(value)
    elif isinstance(value, float):
        _of_kind(feature, name, "float_list").append(value)
    elif isinstance(value, str):
        values = _of_kind(feature, name, "bytes_list")
        values.append(value.encode())
    elif isinstance(value, dict) and json_tensors.is_base64(value):
        _of_kind(feature, name, "bytes_list").append(json_tensors.unbase64(value))
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: "
            f"{json_tensors.type_name(value)}"
        )


def _of_kind(feature, name, kind):
    """Returns the values of a Feature, if they are of that kind or none yet."""
    have = feature.WhichOneof("kind")
    if have not in (None, kind):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[have]}"
        )
    return getattr(feature, kind).value
