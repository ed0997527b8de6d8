"""TF Serving's REST API as a WSGI application."""

import inspect
import logging
import re
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from tfembed.serving import json_tensors
from tfembed.serving.grpc_service import metadata_response, status_response
from tfembed.serving.servable import DEFAULT_SIGNATURE
from tfembed.serving.status import HTTP_STATUS, StatusError, invalid_argument

_logger = logging.getLogger("tfembed.serving")

_MODEL = r"([^/:]+)"
_VERSION = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(
    f"/v1/models/{_MODEL}{_VERSION}:(classify|regress|predict)", re.IGNORECASE
)
_GET = re.compile(f"/v1/models(?:/{_MODEL})?{_VERSION}(?:/(metadata))?", re.IGNORECASE)
_LARGEST_INTEGER = 2**63 - 1

# protobuf renamed the option that writes fields at their default value.
_WRITE_DEFAULTS = (
    "always_print_fields_with_no_presence"
    if "always_print_fields_with_no_presence"
    in inspect.signature(json_format.MessageToJson).parameters
    else "including_default_value_fields"
)


class RestApplication:
    """Answers predict, metadata and status requests.

    Args:
        models: The `Models` that answer.
    """

    def __init__(self, models):
        self._models = models

    def __call__(self, environ, start_response):
        """Answers one request, as WSGI wants it."""
        request = Request(environ)
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or request.path
        path = raw.partition("?")[0]
        if not path.lower().startswith("/v1/"):
            response = Response("Not Found\n", status=404, mimetype="text/plain")
            return response(environ, start_response)
        try:
            body, status = self._answer(request, path), 200
        except StatusError as error:
            body = json_tensors.write_error(error.message)
            status = HTTP_STATUS.get(error.code, 500)
        except HTTPException as error:  # a body that cannot be read
            body = json_tensors.write_error(str(error.description))
            status = error.code
        except Exception as error:
            _logger.exception("request failed")
            body = json_tensors.write_error(f"{type(error).__name__}: {error}")
            status = 500
        response = Response(body, status=status, mimetype="application/json")
        return response(environ, start_response)

    def _answer(self, request, path):
        """Returns the body of the answer, as bytes."""
        if request.method == "POST":
            match = _POST.fullmatch(path)
            if match and match[4] == "predict":
                return self._predict(*_model_spec(match), request.get_data())
            if match and match[4] in ("classify", "regress"):
                raise StatusError(
                    "UNIMPLEMENTED", f"{match[4]} is not served here; use predict"
                )
        if request.method == "GET":
            match = _GET.fullmatch(path)
            if match:
                return self._describe(*_model_spec(match), match[4])
        raise invalid_argument(f"Malformed request: {request.method} {path}")

    def _predict(self, name, version, label, body):
        servable = None

        def find_inputs(signature_name):
            nonlocal servable
            servable = self._models.get(name, version, label)
            try:
                return servable.signature(signature_name)[1].inputs
            except StatusError as error:
                wanted = signature_name or DEFAULT_SIGNATURE
                raise invalid_argument(
                    f'Serving signature name: "{wanted}" not found in signature def'
                ) from error

        signature_name, inputs, row = json_tensors.parse_request(body, find_inputs)
        return json_tensors.write_response(
            servable.predict(signature_name, inputs), row
        )

    def _describe(self, name, version, label, resource):
        if not name:
            raise invalid_argument("Missing model name in request.")
        if resource != "metadata":
            response = status_response(self._models.states(name, version))
            return _json(response).encode()
        response = metadata_response(name, self._models.get(name, version, label))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return (
            f'{{\n"model_spec":{_json(response.model_spec)},\n'
            f'"metadata": {{"signature_def": {_json(signatures)}}}\n}}\n'
        ).encode()


def _model_spec(match):
    """Returns the name, version and label that a path asks for."""
    version = int(match[2]) if match[2] else None
    if version is not None and version > _LARGEST_INTEGER:
        raise invalid_argument(f"Failed to convert version: {match[2]} to numeric.")
    name = unquote(match[1]) if match[1] else ""
    return name, version, unquote(match[3]) if match[3] else None


def _json(message):
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=1, **{_WRITE_DEFAULTS: True}
    )
