"""TF Serving's JSON: what is read, what is refused in which words, what is written."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfembed.serving.json_tensors import (
    parse,
    read_request,
    shown,
    write_response,
)
from tfembed.serving.status import StatusError


def _infos(**dtypes):
    infos = {}
    for name, dtype in dtypes.items():
        spec = tf.TensorSpec(None, dtype)
        infos[name] = tf.compat.v1.saved_model.utils.build_tensor_info(
            tf.compat.v1.placeholder(spec.dtype)
        )
    return infos


@pytest.fixture(scope="module")
def infos():
    with tf.Graph().as_default():
        return {
            "one": _infos(x=tf.float32),
            "text": _infos(s=tf.string),
            "two": _infos(a=tf.float32, b=tf.int64),
            "flags": _infos(p=tf.bool, q=tf.uint8),
            "half": _infos(h=tf.float16),
        }


def _parse(infos, signature, **body):
    body["signature_name"] = signature
    return read_request(parse(json.dumps(body).encode()), infos.__getitem__)


def test_rows_of_one_input_may_be_bare(infos):
    for instances in ([[1, 2.5], [3, 4]], [{"x": [1, 2.5]}, {"x": [3, 4]}]):
        name, inputs, row = _parse(infos, "one", instances=instances)
        assert (name, row) == ("one", True)
        assert inputs["x"].dtype == np.float32
        np.testing.assert_array_equal(inputs["x"], [[1, 2.5], [3, 4]])


def test_rows_of_two_inputs(infos):
    _, inputs, _ = _parse(infos, "two", instances=[{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    np.testing.assert_array_equal(inputs["a"], np.float32([1, 3]))
    np.testing.assert_array_equal(inputs["b"], np.int64([2, 4]))
    assert inputs["b"].dtype == np.int64


def test_columns(infos):
    _, inputs, row = _parse(infos, "two", inputs={"a": [1], "b": [2**40], "more": 1})
    assert not row and set(inputs) == {"a", "b"}
    assert inputs["b"][0] == 2**40
    _, inputs, _ = _parse(infos, "one", inputs=[[1.5]])
    np.testing.assert_array_equal(inputs["x"], np.float32([[1.5]]))
    _, inputs, _ = _parse(infos, "one", inputs=2)
    assert inputs["x"].shape == ()
    _, inputs, _ = _parse(infos, "flags", inputs={"p": [True, False], "q": [0, 255]})
    assert inputs["p"].tolist() == [True, False] and inputs["q"].tolist() == [0, 255]


def test_strings_are_text_or_base64_whatever_the_name(infos):
    instances = ["bée", {"b64": "AP8="}, {"b64": "AP8"}]
    _, inputs, _ = _parse(infos, "text", instances=instances)
    assert inputs["s"].tolist() == ["bée".encode(), b"\x00\xff", b"\x00\xff"]
    _, inputs, _ = _parse(infos, "text", inputs={"b64": "AP8="})
    assert inputs["s"].shape == () and inputs["s"].item() == b"\x00\xff"


def test_not_a_number_is_a_number(infos):
    body = b'{"signature_name": "one", "inputs": [NaN, -Infinity]}'
    _, inputs, _ = read_request(parse(body), infos.__getitem__)
    assert np.isnan(inputs["x"][0]) and inputs["x"][1] == -np.inf


def test_what_follows_the_object_is_not_read(infos):
    body = b' {"signature_name": "one", "inputs": [1]} and so on'
    _, inputs, _ = read_request(parse(body), infos.__getitem__)
    assert inputs["x"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"\x00\x01", "JSON Parse error: Invalid value. at offset: 0"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": "\xff"}', "JSON Parse error: Invalid encoding in string. at offset"),
        (b"[" * 100_000, "JSON Parse error: "),
        (b"[1, 2]", "JSON Value: [1, 2] Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"signature_name": 3}', "'signature_name' key must be a string value."),
        (b'{"inputs": 1, "instances": [1]}', "one of 'inputs' or 'instances' keys"),
        (b'{"instances": 1}', "Expecting 'instances' to be an list/array"),
        (b'{"instances": []}', "No values in 'instances' array"),
        (b'{"instances": [[1], [1, 2]]}', "Expecting tensor size: 1 but got: 2"),
        (b'{"instances": [[[1, 2]], [1, 2]]}', "Expecting shape [1,2] but got: [2]"),
        (b'{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at"),
        (b'{"instances": [{"x": 1}, 1]}', "Expecting object but got list at item 1"),
        (b'{"instances": [{"y": 1}]}', "does not have named input: y"),
        (b'{"instances": [{}]}', "keys must be equal to: x"),
        (b'{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
        (b'{"inputs": [[1], 2]}', "found at incorrect level: 2 in the JSON DOM"),
        (b'{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1"),
        (b'{"inputs": [[1], [2, 3]]}', "unexpected size: 2 at level: 1 expected size"),
        (b'{"inputs": ["1"]}', 'JSON Value: "1" Type: String is not of expected type'),
        (b'{"inputs": [true]}', "Type: True is not of expected type: float"),
        (b'{"inputs": [null]}', "Type: Null is not of expected type: float"),
    ],
)
def test_refusals(infos, body, message):
    with pytest.raises(StatusError) as caught:
        read_request(parse(body), lambda name: infos[name or "one"])
    assert caught.value.code == "INVALID_ARGUMENT"
    assert message in caught.value.message


def test_refusals_of_other_dtypes(infos):
    for signature, inputs, message in [
        ("two", {"a": [1], "b": [1.0]}, "Type: Number is not of expected type: int64"),
        ("two", [1], "inputs is a plain value/list, but expecting an object"),
        ("flags", {"p": [1], "q": [1]}, "is not of expected type: bool"),
        ("flags", {"p": [True], "q": [256]}, "is not of expected type: uint8"),
        ("text", [1], "is not of expected type: string"),
        ("text", [{"b64": 1}], "not formatted correctly for base64 data"),
        ("text", [{"b64": "*"}], "Unable to base64 decode"),
    ]:
        with pytest.raises(StatusError, match=message) as caught:
            _parse(infos, signature, inputs=inputs)
        assert caught.value.code == "INVALID_ARGUMENT"
    with pytest.raises(StatusError, match="to type: half") as caught:
        _parse(infos, "half", inputs=[1])
    assert caught.value.code == "UNIMPLEMENTED"
    with pytest.raises(StatusError, match="instances is a plain list"):
        _parse(infos, "two", instances=[1])
    with pytest.raises(
        StatusError,
        match="Failed to process element: 1 key: b of 'instances' list. Error: "
        "INVALID_ARGUMENT: JSON Value: 0.5",
    ):
        _parse(infos, "two", instances=[{"a": 1, "b": 2}, {"b": 0.5, "a": 1}])


def test_one_output_stands_bare_and_two_are_objects():
    one, two = np.float32([[1, 2], [3, 4]]), np.int64([5, 6])
    assert json.loads(write_response({"y": one}, True)) == {
        "predictions": [[1.0, 2.0], [3.0, 4.0]]
    }
    assert json.loads(write_response({"y": one, "z": two}, True)) == {
        "predictions": [{"y": [1.0, 2.0], "z": 5}, {"y": [3.0, 4.0], "z": 6}]
    }
    assert json.loads(write_response({"y": one}, False)) == {
        "outputs": [[1.0, 2.0], [3.0, 4.0]]
    }
    assert json.loads(write_response({"y": one, "z": two}, False)) == {
        "outputs": {"y": [[1.0, 2.0], [3.0, 4.0]], "z": [5, 6]}
    }


def test_bytes_are_base64_by_the_name_of_the_output():
    value = np.array([b"\x00\xff"], object)
    assert json.loads(write_response({"a_bytes": value}, True)) == {
        "predictions": [{"b64": "AP8="}]
    }
    text = np.array(["bée\n".encode()], object)
    assert json.loads(write_response({"a": text}, True)) == {"predictions": ["bée\n"]}


def test_floats_are_written_short_and_come_back_equal(rng):
    for dtype in (np.float32, np.float64):
        values = (10 ** rng.uniform(-30, 30, 500) * rng.choice([-1, 1], 500)).astype(
            dtype
        )
        values = np.concatenate([values, dtype([0, 0.1, 0.2, 1 / 3, 2, 9e6, 3e-5])])
        read = json.loads(write_response({"y": values}, True))["predictions"]
        np.testing.assert_array_equal(np.array(read, dtype), values)
    text = write_response({"y": np.float32([0.2, 2, 9e6, 3e-5, np.nan, np.inf])}, True)
    numbers = text.decode().partition("[")[2].rpartition("]")[0]
    assert [number.strip() for number in numbers.split(",")] == [
        "0.2",
        "2.0",
        "9e+06",
        "3e-05",
        "NaN",
        "Infinity",
    ]


def test_bools_and_small_integers():
    outputs = {"p": np.array([True, False]), "q": np.uint8([0, 255])}
    assert json.loads(write_response(outputs, False)) == {
        "outputs": {"p": [True, False], "q": [0, 255]}
    }


def test_outputs_that_cannot_be_written():
    for outputs, row, message in [
        ({"t": np.float32(1)}, True, "Tensor name: t has no shape information "),
        (
            {"a": np.zeros(2), "b": np.zeros(3)},
            True,
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
        ({"h": np.zeros(1, np.float16)}, False, "for tensor type: half"),
        ({}, False, "Cannot convert empty tensor map to JSON"),
    ]:
        with pytest.raises(StatusError, match=message) as caught:
            write_response(outputs, row)
        assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "[]"),
        ({}, "{}"),
        ([1, [True, None], "a\n"], '[1, [true, null], "a\\n"]'),
        ({"a": {}, "b": [{}]}, '{\n    "a": {},\n    "b": [{}]\n}'),
        # An array is a level, too.
        ([{"a": 1}], '[{\n        "a": 1\n    }]'),
        (
            [0.5, -0.0, 1e20, 1e21, 1e-6, 1.5e-7],
            "[0.5, -0.0, 100000000000000000000.0, 1e21, 0.000001, 1.5e-7]",
        ),
        (
            [2**64 - 1, 2**64, -(2**63) - 1],
            "[18446744073709551615, 18446744073709552000.0, -9223372036854776000.0]",
        ),
        # Nothing can be written of these; what was begun stays.
        ([1, float("nan"), 2], "[1, "),
        ([1, float("-inf")], "[1, "),
    ],
)
def test_a_value_in_a_message(value, text):
    assert shown(value) == text


def test_a_long_value_in_a_message_is_cut():
    text = "["
    for number in range(1000):
        if len(text) < 256:
            text += f", {number}" if number else "0"
    assert shown(list(range(1000))) == text
    assert len(shown(["x" * 255, 1])) == 258  # the piece that reaches it stays whole
    deep = []
    for _ in range(900):
        deep = [deep]
    assert shown(deep) == "[" * 256
