"""Tensors in TF Serving's JSON: rows ("instances") and columns ("inputs")."""

import base64
import binascii
import contextlib
import json
import math
import re

import numpy as np
import tensorflow as tf

from tfembed.serving.servable import dtype_name
from tfembed.serving.status import StatusError, invalid_argument

_DEBUG_LENGTH = 256
_TYPE_NAMES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_INTEGERS = {tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64}
_FLOATS = {tf.float32, tf.float64}

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

# What Python's parser says, and how TF Serving's says it.
_PARSE_ERRORS = (
    ("Expecting property name", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Expecting ','", "Missing a comma or } or ] after a member or an element."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\", "Invalid escape character in string."),
    ("Invalid control", "Invalid encoding in string."),
)


def read_request(document, find_inputs):
    """Reads a request to predict.

    Args:
        document: What `parse` made of the body.
        find_inputs: Function of the signature's name (empty for the default) that
            returns its inputs, a dictionary of name to `TensorInfo`.

    Returns:
        `(signature_name, inputs, row)`: `inputs` is a dictionary of name to
        `np.ndarray`, `row` says whether the request came as rows.

    Raises:
        StatusError: With the code and text TF Serving would answer.
    """
    name = signature_name(document)
    infos = find_inputs(name)
    if not infos:
        raise invalid_argument(
            f"Failed to get input map for signature: {name or 'DEFAULT'}"
        )
    if "instances" not in document and "inputs" not in document:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only "
            "one of 'inputs' or 'instances' keys to exist "
        )
    if "inputs" in document:
        return name, _from_columns(document["inputs"], infos), False
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(
            f"JSON Value: {shown(document)} Expecting 'instances' to be an list/array"
        )
    if not instances:
        raise invalid_argument(
            f"JSON Value: {shown(document)} No values in 'instances' array"
        )
    return name, _from_rows(instances, infos), True


def write_response(outputs, row):
    """Writes the outputs of a signature as TF Serving does.

    Args:
        outputs: Dictionary of name to `np.ndarray`.
        row: Whether the request came as rows.

    Returns:
        The bytes of the answer.

    Raises:
        StatusError: INVALID_ARGUMENT if they cannot be written.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    names = sorted(outputs)
    if not row:
        columns = {
            name: _nested(_texts(name, outputs[name]), outputs[name].shape)
            for name in names
        }
        text = columns[names[0]] if len(names) == 1 else _object(columns)
        return _encoded('{\n    "outputs": ' + text + "\n}")
    cells = {name: [] for name in names}
    size = _row_count(names, outputs)
    for name in names:
        texts, shape = _texts(name, outputs[name]), outputs[name].shape[1:]
        width = math.prod(shape)
        cells[name] = [
            _nested(texts[index * width : (index + 1) * width], shape)
            for index in range(size)
        ]
    if len(names) == 1:
        rows = cells[names[0]]
    else:
        rows = [
            _object({name: cells[name][index] for name in names})
            for index in range(size)
        ]
    return _encoded('{\n    "predictions": [' + ", ".join(rows) + "\n    ]\n}")


def write_error(message):
    """Writes `{"error": message}` as bytes."""
    return _encoded(
        '{\n    "error": ' + json.dumps(message, ensure_ascii=False) + "\n}"
    )


def parse(body):
    """Parses a JSON object; what follows it is not looked at.

    Args:
        body: Bytes.

    Returns:
        A dictionary.

    Raises:
        StatusError: With the code and text TF Serving would answer.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8")
        start = re.match(r"[ \t\r\n]*", text).end()
        document, _ = json.JSONDecoder().raw_decode(text, start)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise invalid_argument(
            "JSON Parse error: The surrogate pair in string is invalid. at offset: 0"
        ) from error
    except UnicodeDecodeError as error:
        raise invalid_argument(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from error
    except json.JSONDecodeError as error:
        said = "Invalid value."
        for start, theirs in _PARSE_ERRORS:
            if error.msg.startswith(start):
                said = theirs
        offset = len(text[: error.pos].encode())
        raise invalid_argument(
            f"JSON Parse error: {said} at offset: {offset}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise invalid_argument(f"JSON Parse error: {error} at offset: 0") from error
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    return document


def signature_name(document):
    """Returns the signature that a request names; empty for the default."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def _from_rows(instances, infos):
    """Batches the elements of "instances" into one array per input."""
    named = _is_object(instances[0])
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    columns = {name: [] for name in infos}
    shapes = {}
    for index, element in enumerate(instances):
        if _is_object(element) != named:
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(
                f"Expecting {wanted} but got {got} at item {index} of input list"
            )
        cells = element if named else {next(iter(infos)): element}
        for name, cell in cells.items():
            try:
                values, shape = _read_cell(name, cell, infos, shapes)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {index}{key} "
                    f"of 'instances' list. Error: {error}"
                ) from error
            columns[name].extend(values)
            shapes[name] = shape
        if set(cells) != set(infos):
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. "
                f"JSON object: {shown(element)} keys must be equal to: "
                f"{','.join(sorted(infos))}"
            )
    return {
        name: _to_array(values, (len(instances), *shapes[name]), infos[name].dtype)
        for name, values in columns.items()
    }


def _read_cell(name, cell, infos, shapes):
    """Reads one input of one row, of the same shape as in the rows before."""
    if name not in infos:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    values, shape = _flat(cell, infos[name].dtype)
    known = shapes.get(name, shape)
    if math.prod(known) != len(values):
        raise invalid_argument(
            f"Expecting tensor size: {math.prod(known)} but got: {len(values)}"
        )
    if known != shape:
        raise invalid_argument(
            f"Expecting shape {_shape(known)} but got: {_shape(shape)}"
        )
    return values, shape


def _from_columns(inputs, infos):
    """Reads "inputs": an object of arrays, or the array of the only input."""
    if not _is_object(inputs):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        inputs = {next(iter(infos)): inputs}
    arrays = {}
    for name, info in infos.items():
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _to_array(*_flat(inputs[name], info.dtype), info.dtype)
    return arrays


def _flat(value, dtype_number):
    """Returns the values of nested lists in order, and their shape.

    The shape is that of the first element at each level; all others must agree.
    """
    dtype = tf.as_dtype(dtype_number)
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    values = []
    _flatten(value, 0, tuple(shape), dtype, values)
    return values, tuple(shape)


def _flatten(value, level, shape, dtype, values):
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {len(shape)}"
            )
        values.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if level + 1 == len(shape) and dtype in _FLOATS:
        if set(map(type, value)) <= {int, float}:  # the usual case, without a loop
            values.extend(value)
            return
    for element in value:
        _flatten(element, level + 1, shape, dtype, values)


def _leaf(value, dtype):
    """Reads one value of a tensor."""
    if dtype == tf.string:
        if isinstance(value, dict):
            return unbase64(value)
        if isinstance(value, str):
            return value.encode()
    elif dtype == tf.bool:
        if isinstance(value, bool):
            return value
    elif dtype in _FLOATS:
        if type(value) in (int, float):
            return value
    elif dtype in _INTEGERS:
        if type(value) is int and dtype.min <= value <= dtype.max:
            return value
    else:
        raise StatusError(
            "UNIMPLEMENTED",
            f"Conversion of JSON Value: {shown(value)} "
            f"to type: {dtype_name(dtype.as_datatype_enum)}",
        )
    raise invalid_argument(
        f"JSON Value: {shown(value)} Type: {type_name(value)} "
        f"is not of expected type: {dtype_name(dtype.as_datatype_enum)}"
    )


def unbase64(value):
    """Returns the bytes that an object stands for."""
    if not is_base64(value):
        raise invalid_argument(
            f"JSON Value: {shown(value)} not formatted correctly for base64 data"
        )
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def is_base64(value):
    """Whether an object stands for bytes."""
    return set(value) == {"b64"} and isinstance(value["b64"], str)


def _is_object(value):
    """Whether a value is an object that does not stand for bytes."""
    return isinstance(value, dict) and not is_base64(value)


def _to_array(values, shape, dtype_number):
    """Makes an array of flat values."""
    dtype = tf.as_dtype(dtype_number)
    if dtype == tf.string:
        array = np.empty(len(values), object)
        array[:] = values
    else:
        with np.errstate(over="ignore"):
            try:
                array = np.array(values, dtype.as_numpy_dtype)
            except OverflowError as error:
                raise invalid_argument(
                    "JSON Parse error: Number too big to be stored in double. "
                    "at offset: 0"
                ) from error
    return array.reshape(shape)


def _row_count(names, outputs):
    """Returns the number of rows, which all outputs must share."""
    size = None
    for name in names:
        if outputs[name].ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        count = outputs[name].shape[0]
        if size not in (None, count):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {count} "
                f"expecting: {size}"
            )
        size = count
    return size


def _texts(name, array):
    """Writes the values of an array as JSON, in order."""
    values = array.ravel().tolist()
    if array.dtype.kind in "OS":
        write = _base64_text if name.endswith("_bytes") else string_text
        return list(map(write, values))
    if array.dtype.kind == "b":
        return ["true" if value else "false" for value in values]
    if array.dtype.kind in "iu" and array.dtype != np.uint16:  # TF Serving has not it
        return list(map(str, values))
    if array.dtype in (np.float32, np.float64):
        return float_texts(array)
    number = tf.as_dtype(array.dtype).as_datatype_enum
    raise invalid_argument(
        f"Failed to write JSON value for tensor type: {dtype_name(number)}"
    )


def float_texts(values):
    """Writes six digits of a float if they say it all, else as many as are needed.

    Args:
        values: A float array of any shape, or a list of numbers, taken as float32.

    Returns:
        List of texts, flat.
    """
    array = values if isinstance(values, np.ndarray) else np.float32(values)
    flat, digits = array.ravel(), 9 if array.dtype == np.float32 else 17
    texts = [f"{value:g}" for value in flat.tolist()]
    exact = np.array(list(map(float, texts)), array.dtype) == flat
    for index in np.flatnonzero(~exact):
        texts[index] = f"{flat[index]:.{digits}g}"
    for index in np.flatnonzero(~np.isfinite(flat)):
        value = flat[index]
        texts[index] = (
            "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        )
    return [
        text if "." in text or "e" in text or text[-1] in "Ny" else text + ".0"
        for text in texts
    ]


def _nested(texts, shape):
    """Puts brackets around flat texts, as deep as the shape."""
    for size in reversed(shape):
        if not size:
            texts = ["[]"] * math.prod(shape[: shape.index(0)])
            continue
        texts = [
            "[" + ", ".join(texts[start : start + size]) + "]"
            for start in range(0, len(texts), size)
        ]
    return texts[0]


def string_text(value):
    """Writes bytes as a JSON string."""
    text = value.decode("utf-8", "surrogateescape")
    return json.dumps(text, ensure_ascii=False)


def _base64_text(value):
    return '{"b64": "' + base64.b64encode(value).decode() + '"}'


def _object(texts):
    lines = (f"{json.dumps(name)}: {text}" for name, text in texts.items())
    return "{\n            " + ",\n            ".join(lines) + "\n        }"


def _encoded(text):
    return text.encode("utf-8", "surrogateescape")


def shown(value):
    """Shows a JSON value in a message, as TF Serving does.

    Objects are indented, arrays stand on one line, and nothing follows the name, value
    or bracket that reaches 256 bytes.
    """
    text = _Text()
    with contextlib.suppress(_Full):
        text.write(value)
    return "".join(text.parts)


class _Full(Exception):
    """There is enough of a text."""


class _Text:
    """A JSON value as text, piece by piece, until it is long enough."""

    def __init__(self):
        self.parts = []
        self._left = _DEBUG_LENGTH

    def write(self, value, before="", level=1):
        """Adds a value.

        Args:
            value: What `json.loads` returned.
            before: What stands before it.
            level: How deep its own members are.
        """
        if isinstance(value, dict):
            self._add(before + "{")
            indent = "\n" + 4 * level * " "
            for index, (name, member) in enumerate(value.items()):
                comma = "," if index else ""
                self._add(comma + indent + json.dumps(name, ensure_ascii=False))
                self.write(member, ": ", level + 1)
            self._add(indent[:-4] + "}" if value else "}")
        elif isinstance(value, list):
            self._add(before + "[")
            for index, member in enumerate(value):
                self.write(member, ", " if index else "", level + 1)
            self._add("]")
        elif type(value) in (int, float):
            self._add(before)
            self.parts.append(_number_text(value))
            self._left -= len(self.parts[-1])
        else:
            self._add(before + json.dumps(value, ensure_ascii=False))

    def _add(self, piece):
        if self._left <= 0:
            raise _Full
        self.parts.append(piece)
        self._left -= len(piece.encode())


def _number_text(value):
    """Writes a number as TF Serving's writer does, which has no NaN and no infinity."""
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return str(value)
    value = float(value)
    if not math.isfinite(value):
        raise _Full
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, trim="0")
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("+", "")


def _shape(shape):
    return "[" + ",".join(str(size) for size in shape) + "]"


def type_name(value):
    """Names the type of a JSON value in a message."""
    if isinstance(value, bool):
        return "True" if value else "False"
    return _TYPE_NAMES[type(value)]
