"""Speaks TF Serving's REST API for a client; needs no TensorFlow."""

import base64
import json
import time
import urllib.parse

import numpy as np
import requests

from tfembed.serving.address import CARD_PATH, is_local
from tfembed.serving.results import (
    Classification,
    ModelMetadata,
    Signature,
    TensorSpec,
    VersionStatus,
)
from tfembed.serving.status import CODE_NAMES, CODE_OF_HTTP_STATUS

_CONNECTIONS = 64  # kept open for threads that ask at once
_CHUNK = 1 << 20
_DTYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
}


class JsonOutputs:
    """The outputs of a signature as JSON has them: without dtypes.

    Args:
        values: Dictionary of name to nested lists, or, of a single output, its value
            alone.
    """

    def __init__(self, values):
        self._values = values

    def arrays(self, specs):
        """Returns the outputs as arrays by name; strings are `str`.

        Args:
            specs: Dictionary of output name to `TensorSpec`, from the metadata.

        Returns:
            The dictionary, or None where the outputs are not those of `specs`.
        """
        values = self._values
        if len(specs) == 1:  # then it stands bare
            values = {next(iter(specs)): values}
        if not isinstance(values, dict) or values.keys() != specs.keys():
            return None
        try:
            return {
                key: np.array(value, _numpy_dtype(specs[key].dtype))
                for key, value in values.items()
            }
        except (TypeError, ValueError):
            return None


class RestTransport:
    """One session with a server, whose connections stay open; threads may share it.

    Args:
        base_url: `"http://host:port"`.
        fail: Function of `(code, detail[, too_large])` that returns the exception to
            raise.
        connections: How many connections are kept open, for what asks at once.
    """

    def __init__(self, base_url, fail, connections=_CONNECTIONS):
        self._base_url = base_url.rstrip("/")
        self._fail = fail
        self._session = requests.Session()
        self._session.trust_env = not is_local(base_url)
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self):
        """Closes the connections."""
        self._session.close()

    def call(self, method, spec, *arguments, timeout):
        """Asks the server.

        Args:
            method: `"predict"`, `"classify"`, `"metadata"`, `"status"` or `"card"`.
            spec: The `ModelSpec`.
            *arguments: Of `predict` the signature's name and the inputs; of `classify`
                its name and a list of the images' bytes.
            timeout: Seconds the answer may take; one that comes in pieces is given up
                after the first piece that is late.

        Returns:
            `JsonOutputs` of `predict`, the `Classification`, the `ModelMetadata`, a
            list of `VersionStatus`, or the card, a dictionary.
        """
        return getattr(self, f"_{method}")(spec, *arguments, timeout=timeout)

    def _predict(self, spec, signature_name, inputs, timeout):
        body = {
            "signature_name": signature_name,
            "inputs": {key: _jsonable(value) for key, value in inputs.items()},
        }
        answer = self._ask("POST", _path(spec) + ":predict", body, timeout)
        return JsonOutputs(self._part(answer, "outputs"))

    def _classify(self, spec, signature_name, image_bytes, timeout):
        examples = [{"image_bytes": _jsonable(data)} for data in image_bytes]
        body = {"signature_name": signature_name, "examples": examples}
        answer = self._ask("POST", _path(spec) + ":classify", body, timeout)
        rows = self._part(answer, "results")
        return Classification(
            np.array([[label for label, _ in row] for row in rows], dtype=str),
            np.array([[score for _, score in row] for row in rows], np.float32),
        )

    def _metadata(self, spec, timeout):
        answer = self._ask("GET", _path(spec) + "/metadata", None, timeout)
        signatures = self._part(answer, "metadata")["signature_def"]["signature_def"]
        return ModelMetadata(
            spec.name,
            int(answer["model_spec"]["version"]),
            {
                key: Signature(_specs(value["inputs"]), _specs(value["outputs"]))
                for key, value in signatures.items()
                if not key.startswith("__")
            },
        )

    def _status(self, spec, timeout):
        answer = self._ask("GET", _path(spec, labels=False), None, timeout)
        return [
            VersionStatus(
                int(each["version"]),
                each["state"],
                _code_name(each["status"]["error_code"]),
                each["status"]["error_message"],
            )
            for each in self._part(answer, "model_version_status")
        ]

    def _card(self, spec, timeout):
        asked = {"name": spec.name, "version": spec.version, "label": spec.label}
        asked = {key: value for key, value in asked.items() if value is not None}
        path = f"{CARD_PATH}?{urllib.parse.urlencode(asked)}"
        return self._ask("GET", path, None, timeout, missing=_card_missing)

    def _ask(self, method, path, body, timeout, missing=None):
        """Returns the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        until = time.monotonic() + timeout
        try:
            with self._session.request(
                method,
                self._base_url + path,
                data=data,
                timeout=timeout,
                headers={"Content-Type": "application/json"},
                stream=True,
            ) as response:
                content = bytearray()
                for chunk in response.iter_content(_CHUNK):
                    content += chunk
                    if time.monotonic() > until:
                        raise requests.Timeout(f"no whole answer in {timeout:g} s")
        except requests.Timeout as error:
            raise self._fail("DEADLINE_EXCEEDED", str(error)) from error
        except requests.RequestException as error:
            raise self._fail("UNAVAILABLE", str(error)) from error
        if response.status_code != 200:
            said = _error_text(response, content)
            code = CODE_OF_HTTP_STATUS.get(response.status_code, "UNKNOWN")
            if missing is not None:
                code, said = missing(code, said)
            raise self._fail(code, said, response.status_code == 413)
        try:
            return json.loads(content)
        except ValueError as error:
            raise self._fail("UNIMPLEMENTED", "the answer is not JSON") from error

    def _part(self, answer, key):
        if not isinstance(answer, dict) or key not in answer:
            raise self._fail("UNIMPLEMENTED", f"the answer has no {key!r}")
        return answer[key]


def _path(spec, labels=True):
    path = "/v1/models/" + urllib.parse.quote(spec.name, safe="")
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    if spec.label is not None and labels:
        return f"{path}/labels/{urllib.parse.quote(spec.label, safe='')}"
    return path


def _jsonable(value):
    """Writes arrays as nested lists, and bytes as base64."""
    if isinstance(value, (bytes, bytearray)):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each) for each in value]
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    if value.dtype.kind in "OS":
        return _jsonable(value.tolist())
    if value.dtype.kind == "f" and value.size and 0 <= value.min() <= value.max() < 256:
        whole = value.astype(np.uint8)  # a third of the text, and the same numbers
        value = whole if np.array_equal(value, whole) else value
    return value.tolist()


def _card_missing(code, said):
    """TF Serving has no such path: it answers 404 with text, or 400."""
    if said.startswith("HTTP status") or "Malformed request" in said:
        return "UNIMPLEMENTED", (
            "this server does not serve a model's card; read card.json in the "
            "version's folder"
        )
    return code, said


def _error_text(response, content):
    try:
        return str(json.loads(content.decode("utf-8", "replace"))["error"])
    except (ValueError, KeyError, TypeError):
        text = content[:200].decode("utf-8", "replace")
        return f"HTTP status {response.status_code}: {text}"


def _code_name(code):
    return CODE_NAMES.get(code, "UNKNOWN") if isinstance(code, int) else code


def _numpy_dtype(name):
    return np.dtype(str) if name == "string" else np.dtype(name)


def _specs(tensors):
    return {key: _spec(info) for key, info in tensors.items()}


def _spec(info):
    dtype = _DTYPES.get(info["dtype"], info["dtype"].replace("DT_", "").lower())
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return TensorSpec(dtype, None)
    sizes = (int(dim["size"]) for dim in shape.get("dim", ()))
    return TensorSpec(dtype, tuple(None if size == -1 else size for size in sizes))
