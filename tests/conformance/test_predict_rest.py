"""Predict over REST: rows, columns, base64, numbers, and what is refused."""

import base64
import gzip
import json
import math
import struct
import zlib

import numpy as np
import pytest
from conformance.models import TYPES

PREDICT = "/v1/models/forms:predict"


def _ask(http, signature, **body):
    answer = http("POST", PREDICT, {"signature_name": signature, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def test_rows_and_columns(http):
    rows = [{"a": 0.1, "b": 4}, {"a": 2, "b": -1}]
    answer = _ask(http, "two", instances=rows)
    assert answer == {
        "predictions": [
            {"sum": 4.1, "twice": 8, "text_bytes": {"b64": "NA=="}},
            {"sum": 1.0, "twice": -2, "text_bytes": {"b64": "LTE="}},
        ]
    }
    answer = _ask(http, "two", inputs={"a": [0.1, 2], "b": [4, -1]})
    assert answer == {
        "outputs": {
            "sum": [4.1, 1.0],
            "twice": [8, -2],
            "text_bytes": [{"b64": "NA=="}, {"b64": "LTE="}],
        }
    }


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [1, 2.5]},
        {"instances": [{"x": 1}, {"x": 2.5}]},
    ],
)
def test_a_single_output_of_rows_stands_bare(http, body):
    assert _ask(http, "one", **body) == {"predictions": [2.0, 5.0]}


@pytest.mark.parametrize("inputs", [[1, 2.5], {"x": [1, 2.5]}])
def test_a_single_output_of_columns_stands_bare(http, inputs):
    assert _ask(http, "one", inputs=inputs) == {"outputs": [2.0, 5.0]}


def test_the_default_signature(http):
    answer = http("POST", PREDICT, {"instances": [1]})
    assert answer.json() == {"predictions": [2.0]}


def test_nested_lists_keep_their_shape(http):
    matrix = [[[1.5, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    answer = _ask(http, "matrix", inputs=matrix)["outputs"]
    assert answer["m"] == matrix
    assert answer["rows"] == [[6.5, 15.0], [24.0, 33.0]]
    answer = _ask(http, "matrix", instances=matrix)["predictions"]
    assert [row["m"] for row in answer] == matrix


def test_scalars_in_columns(http):
    assert _ask(http, "scalar_in", inputs=2) == {"outputs": 3.0}
    assert _ask(http, "scalar_out", inputs=[1, 2]) == {"outputs": 3.0}
    assert _ask(http, "anything", inputs=[[1], [2]]) == {"outputs": [[2.0], [3.0]]}


def test_columns_may_hold_more_than_is_asked_for(http):
    answer = _ask(http, "one", inputs={"x": [1], "other": ["thing"]})
    assert answer == {"outputs": [2.0]}


def test_base64_is_taken_for_any_string(http):
    data = bytes(range(32, 127))
    sent = {"b64": base64.b64encode(data).decode()}
    answer = _ask(http, "text", instances=[sent, {"s": sent}][:1])["predictions"]
    assert answer == [{"text": data.decode(), "text_bytes": sent}]
    answer = _ask(http, "text", instances=[{"s": sent}, {"s": "é"}])["predictions"]
    assert [row["text"] for row in answer] == [data.decode(), "é"]
    assert answer[1]["text_bytes"] == {"b64": base64.b64encode("é".encode()).decode()}
    assert _ask(http, "text", inputs=[sent])["outputs"]["text"] == [data.decode()]


def test_every_dtype_that_json_can_carry(http):
    values = {
        "a_bool": [True, False],
        "a_double": [0.1, 1e300],
        "a_float": [0.5, -3],
        "a_string": ["a", ""],
        "an_int16": [-7, 300],
        "an_int32": [-(2**31), 2**31 - 1],
        "an_int64": [-(2**63), 2**63 - 1],
        "an_int8": [-128, 127],
        "a_uint32": [0, 2**32 - 1],
        "a_uint64": [0, 2**64 - 1],
        "a_uint8": [0, 255],
    }
    assert set(values) == set(TYPES)
    answer = _ask(http, "types", inputs=values)["outputs"]
    assert answer == {f"out_{name}": value for name, value in values.items()}


def test_floats_come_back_with_the_digits_that_say_them(http):
    answer = http("POST", PREDICT, {"inputs": [0.05, 1e10, 0.1, 1 / 6]})
    assert json.loads(answer.text, parse_float=str)["outputs"] == [
        "0.1",
        "2e+10",
        "0.2",
        "0.333333343",
    ]


def test_what_is_not_finite_goes_in_and_out(http):
    data = '{"instances": [NaN, Infinity, -Infinity]}'
    answer = http("POST", PREDICT, data=data)
    values = answer.json()["predictions"]
    assert math.isnan(values[0]) and values[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("where", ["/versions/2", "/labels/canary", ""])
def test_a_version_or_its_label_is_asked(http, where):
    path = f"/v1/models/numbered{where}:predict"
    assert http("POST", path, {"instances": [1]}).json() == {"predictions": [2]}


def test_the_path_is_not_case_sensitive_but_for_the_method(http, http_refused):
    answer = http("POST", "/V1/Models/forms:predict", {"instances": [1]})
    assert answer.json() == {"predictions": [2.0]}
    http_refused("POST", "/v1/models/forms:PREDICT", 400, "Malformed request")


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (
            PREDICT,
            {"signature_name": "nope", "instances": [1]},
            400,
            ['Serving signature name: "nope" not found in signature def'],
        ),
        (
            "/v1/models/other:predict",
            {"instances": [1]},
            404,
            ["Servable not found for request: Latest(other)"],
        ),
        (
            "/v1/models/forms/versions/3:predict",
            {"instances": [1]},
            404,
            ["Servable not found for request: Specific(forms, 3)"],
        ),
        (
            "/v1/models/forms/labels/stable:predict",
            {"instances": [1]},
            400,
            ["Unrecognized servable version label: stable"],
        ),
        (PREDICT, {}, 400, ["Missing 'inputs' or 'instances' key"]),
        (PREDICT, {"instances": [1], "inputs": [1]}, 400, ["expecting only one of"]),
        (PREDICT + "?x=1", {"instances": [1]}, 400, [f"POST {PREDICT}?x=1"]),
        (
            "/v1/models/forms?x=1:predict",
            {"instances": [1]},
            404,
            ["Latest(forms?x=1)"],
        ),
        (PREDICT, {"instances": 1}, 400, ["'instances' to be an list/array"]),
        (PREDICT, {"instances": []}, 400, ["No values in 'instances' array"]),
        (PREDICT, {"signature_name": 3}, 400, ["must be a string value"]),
        (PREDICT, [1], 400, ["Is not object"]),
        (PREDICT, {"instances": ["a"]}, 400, ["String", "not of expected type: float"]),
        (PREDICT, {"instances": [None]}, 400, ["Null", "not of expected type: float"]),
        (PREDICT, {"instances": [[1], 2]}, 400, ["element: 1"]),
        (PREDICT, {"instances": [{"x": 1}, 2]}, 400, ["Expecting object but got list"]),
        (PREDICT, {"instances": [1, {"x": 2}]}, 400, ["but got object at item 1"]),
        (PREDICT, {"instances": [{"z": 2}]}, 400, ["does not have named input: z"]),
        (
            PREDICT,
            {"signature_name": "two", "instances": [{"a": 1}]},
            400,
            ["keys must be equal to: a,b"],
        ),
        (
            PREDICT,
            {"signature_name": "two", "instances": [1]},
            400,
            ["expecting list of objects"],
        ),
        (
            PREDICT,
            {"signature_name": "two", "inputs": [1]},
            400,
            ["expecting an object"],
        ),
        (
            PREDICT,
            {"signature_name": "two", "inputs": {"a": [1]}},
            400,
            ["Missing named input: b"],
        ),
        (
            PREDICT,
            {"signature_name": "two", "inputs": {"a": [1], "b": [1.0]}},
            400,
            ["not of expected type: int64"],
        ),
        (
            PREDICT,
            {"signature_name": "text", "inputs": [{"b64": "!"}]},
            400,
            ["base64"],
        ),
        (
            PREDICT,
            {"signature_name": "text", "inputs": [{"b64": "AA==", "more": 1}]},
            400,
            ["not formatted correctly for base64 data"],
        ),
        (
            PREDICT,
            {"signature_name": "scalar_out", "instances": [1, 2]},
            400,
            ["total has no shape information"],
        ),
        (
            PREDICT,
            {"signature_name": "uneven", "instances": [1]},
            400,
            ["inconsistent batch size"],
        ),
        (
            PREDICT,
            {"signature_name": "half", "instances": [1]},
            400,
            ["Failed to write JSON value for tensor type: half"],
        ),
        (PREDICT, {"signature_name": "matrix", "instances": [[1, 2]]}, 400, []),
        (PREDICT, {"inputs": [[1, 2], [3]]}, 400, ["unexpected size: 1"]),
        (
            PREDICT,
            {"signature_name": "failing", "instances": [-1]},
            400,
            ["x is not positive"],
        ),
        ("/v1/models/forms:explain", {}, 400, ["POST /v1/models/forms:explain"]),
        ("/v1/models/forms", {}, 400, ["Malformed request: POST /v1/models/forms"]),
        ("/v1/other", {}, 400, ["Malformed request: POST /v1/other"]),
    ],
)
def test_refusals(http_refused, path, body, status, words):
    http_refused("POST", path, status, *words, body=body)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["The document is empty"]),
        (b"\x89PNG\x00", ["JSON Parse error"]),
        (b"{", ["JSON Parse error: Missing a name for object member. at offset: 1"]),
        (b'{"instances" [', ["Missing a colon after a name of object member."]),
        (b'{"instances": [1', ["Missing a comma or "]),
        (b'{"instances": ["a', ["Missing a closing quotation mark in string."]),
        (rb'{"signature_name": "\ud800"}', ["surrogate pair in string is invalid"]),
    ],
)
def test_junk(http_refused, data, words):
    http_refused("POST", PREDICT, 400, *words, data=data)


def test_deep_nesting_ends_no_server(http):
    answer = http("POST", PREDICT, data=b'{"instances": ' + b"[" * 50_000)
    assert answer.status_code == 400
    assert http("POST", PREDICT, {"instances": [1]}).json() == {"predictions": [2.0]}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods(http_refused, method):
    http_refused(method, PREDICT, 400, f"Malformed request: {method} {PREDICT}")


@pytest.mark.parametrize(
    ("headers", "status"), [({"Origin": "http://example.org"}, 200), ({}, 400)]
)
def test_cors_preflight(http, headers, status):
    answer = http("OPTIONS", PREDICT, headers=headers)
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("number", ["99999999999999999999", "9223372036854775808"])
def test_a_version_that_is_no_int64_gets_no_text(http, method, number):
    path = f"/v1/models/forms/versions/{number}"
    path += ":predict" if method == "POST" else ""
    answer = http(method, path, {"instances": [1]} if method == "POST" else None)
    assert (answer.status_code, answer.content) == (400, b"")
    assert answer.headers["Content-Type"] == "application/json"


def test_a_value_in_a_message_is_indented(http_refused):
    body = {"instances": [1, {}, []], "inputs": {"x": [[0.5]], "y": {"z": "ü"}}}
    said = http_refused("POST", PREDICT, 400, body=body)
    assert said.startswith(
        'JSON Value: {\n    "instances": [1, {}, []],\n    "inputs": {\n        '
        '"x": [[0.5]],\n        "y": {\n            "z": "ü"\n        }\n    }\n} Not'
    )


def _packed(body):
    return gzip.compress(json.dumps(body).encode())


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_packed_body(http, encoding):
    data = _packed({"instances": [1.0] * 1000})
    answer = http("POST", PREDICT, data=data, headers={"Content-Encoding": encoding})
    assert answer.json() == {"predictions": [2.0] * 1000}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"no gzip",
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-8] + b"\x00" * 4 + data[-4:],
        lambda data: data + b"more than the footer",
    ],
    ids=["other", "nothing", "half", "checksum", "more"],
)
def test_a_packed_body_that_is_broken_is_empty(http_refused, spoil):
    data = spoil(_packed({"instances": [1.0] * 1000}))
    headers = {"Content-Encoding": "gzip"}
    said = "The document is empty"
    http_refused("POST", PREDICT, 400, said, data=data, headers=headers)


def test_a_packed_body_without_the_header_is_not_unpacked(http_refused):
    data = _packed({"instances": [1]})
    http_refused("POST", PREDICT, 400, "JSON Parse error", data=data)


def test_paths_outside_the_api_are_not_found(http):
    for path in ("/v2/models/forms", "/models", "/v1"):
        assert http("GET", path).status_code == 404


def test_a_body_of_20_megabytes(http):
    text = "x" * 20_000_000
    answer = _ask(http, "text", inputs=[text])["outputs"]
    assert answer["text"] == [text]
    values = (np.arange(200_000) % 1000 + 0.5).tolist()
    assert _ask(http, "one", inputs=values)["outputs"] == [2 * each for each in values]


def test_a_chunked_body(http):
    answer = http("POST", PREDICT, data=iter([b'{"instances"', b": [1]}"]))
    assert answer.json() == {"predictions": [2.0]}


def _png(width, height, pixels=b""):
    """Returns a gray PNG of that size, whether it has the pixels or not."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    written = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", head),
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    ):
        written += struct.pack(">I", len(data)) + kind + data
        written += struct.pack(">I", zlib.crc32(kind + data))
    return written


def test_an_image_that_declares_too_much_is_one_row_that_is_not_valid(http):
    good = _png(1, 1, b"\x00\xff")
    rows = [good, _png(60_000, 60_000), good]
    body = {"inputs": [{"b64": base64.b64encode(row).decode()} for row in rows]}
    answer = http("POST", "/v1/models/pictures:predict", body)
    assert answer.status_code == 200, answer.text
    answer = answer.json()["outputs"]
    assert answer["valid"] == [True, False, True]
    assert answer["mean"][0] == answer["mean"][2] == 255.0
