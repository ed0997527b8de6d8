"""Speaks TF Serving's REST API for a client; needs no TensorFlow."""

import base64
import json
import urllib.parse

import numpy as np
import requests

from tfembed.serving.results import (
    ModelMetadata,
    Signature,
    TensorSpec,
    VersionStatus,
)
from tfembed.serving.status import CODE_NAMES, CODE_OF_HTTP_STATUS

_DTYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
}


class RestTransport:
    """One session with a server.

    Args:
        base_url: `"http://host:port"`.
        timeout: Seconds to wait for the connection, and for the answer.
        fail: Function of `(code, detail)` that returns the exception to raise.
    """

    def __init__(self, base_url, timeout, fail):
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._fail = fail
        self._session = requests.Session()
        host = urllib.parse.urlsplit(base_url).hostname
        self._session.trust_env = host not in ("localhost", "127.0.0.1", "::1")

    def close(self):
        """Closes the connections."""
        self._session.close()

    def predict(self, name, version, signature_name, inputs, output_specs):
        """Runs a signature; see `Client.predict`.

        Args:
            name: The model.
            version: Its version, or None.
            signature_name: The signature.
            inputs: Dictionary of name to array, or list of bytes.
            output_specs: Function that returns the signature's outputs, a dictionary
                of name to `TensorSpec`: JSON does not tell dtypes, nor the name of
                a single output.

        Returns:
            Dictionary of output name to array; strings are `str`.
        """
        body = {
            "signature_name": signature_name,
            "inputs": {key: _jsonable(value) for key, value in inputs.items()},
        }
        answer = self._call("POST", _path(name, version) + ":predict", body)
        values, specs = answer["outputs"], output_specs()
        if len(specs) == 1:  # then it stands bare
            values = {next(iter(specs)): values}
        return {
            key: np.array(value, _numpy_dtype(specs[key].dtype))
            for key, value in values.items()
        }

    def metadata(self, name, version):
        """Returns the `ModelMetadata`."""
        answer = self._call("GET", _path(name, version) + "/metadata")
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        return ModelMetadata(
            name,
            int(answer["model_spec"]["version"]),
            {
                key: Signature(_specs(value["inputs"]), _specs(value["outputs"]))
                for key, value in signatures.items()
                if not key.startswith("__")
            },
        )

    def status(self, name, version):
        """Returns a list of `VersionStatus`."""
        answer = self._call("GET", _path(name, version))
        return [
            VersionStatus(
                int(each["version"]),
                each["state"],
                _code_name(each["status"]["error_code"]),
                each["status"]["error_message"],
            )
            for each in answer["model_version_status"]
        ]

    def _call(self, method, path, body=None):
        """Returns the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                data=data,
                timeout=self._timeout,
                headers={"Content-Type": "application/json"},
            )
        except requests.Timeout as error:
            raise self._fail("DEADLINE_EXCEEDED", str(error)) from error
        except requests.RequestException as error:
            raise self._fail("UNAVAILABLE", str(error)) from error
        if response.status_code != 200:
            code = CODE_OF_HTTP_STATUS.get(response.status_code, "UNKNOWN")
            raise self._fail(code, _error_text(response))
        try:
            return json.loads(response.content)
        except ValueError as error:
            raise self._fail("UNIMPLEMENTED", "the answer is not JSON") from error


def _path(name, version):
    path = "/v1/models/" + urllib.parse.quote(name, safe="")
    return path if version is None else f"{path}/versions/{version}"


def _jsonable(value):
    """Writes arrays as nested lists, and bytes as base64."""
    if isinstance(value, list):
        return [{"b64": base64.b64encode(each).decode()} for each in value]
    if value.dtype.kind == "f" and np.array_equal(value, value.astype(np.uint8)):
        value = value.astype(np.uint8)  # a third of the text, and the same numbers
    return value.tolist()


def _error_text(response):
    try:
        return json.loads(response.content)["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {response.status_code}: {response.text[:200]}"


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
