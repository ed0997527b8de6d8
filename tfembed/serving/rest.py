"""TF Serving's REST API as a WSGI application."""

import inspect
import logging
import re
import time
import zlib
from urllib.parse import unquote, urlsplit

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    regression_pb2,
)
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from tfembed.serving import (
    examples,
    json_examples,
    json_tensors,
    metrics,
    raw_status,
)
from tfembed.serving.grpc_service import metadata_response, status_response
from tfembed.serving.rest_server import too_large
from tfembed.serving.servable import DEFAULT_SIGNATURE
from tfembed.serving.status import (
    CODE_OF_HTTP_STATUS,
    HTTP_STATUS,
    StatusError,
    invalid_argument,
)

_logger = logging.getLogger("tfembed.serving")

_MODEL = r"([^/:]+)"
_VERSION = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(
    f"/v1/models/{_MODEL}{_VERSION}:(classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_GET = re.compile(
    f"/v1/models(?:/{_MODEL})?{_VERSION}(?:/(metadata))?", re.IGNORECASE | re.ASCII
)
_LARGEST_INTEGER = 2**63 - 1
_NO_BODY = "text/html; charset=ISO-8859-1"  # what its HTTP library says by itself

# protobuf renamed the option that writes fields at their default value.
_WRITE_DEFAULTS = (
    "always_print_fields_with_no_presence"
    if "always_print_fields_with_no_presence"
    in inspect.signature(json_format.MessageToJson).parameters
    else "including_default_value_fields"
)


class RestApplication:
    """Answers predict, classify, regress, metadata and status requests, and metrics.

    Args:
        models: The `Models` that answer.
        recorded: The `Metrics` to record in and to show.
        max_bytes: The largest body, after it is unpacked.
        pages: Mapping of a path, such as `"/"`, to a WSGI application that answers it.

    Attributes:
        draining: Whether new requests are refused, because the server stops.
    """

    def __init__(self, models, recorded, max_bytes, pages=None):
        self._models = models
        self._metrics = recorded
        self._max_bytes = max_bytes
        self._pages = dict(pages or {})
        self.draining = False

    def __call__(self, environ, start_response):
        """Answers one request, as WSGI wants it."""
        request = Request(environ)
        target = environ.get("REQUEST_URI") or request.path
        if not target.startswith("/"):  # an absolute URI
            target = urlsplit(target)._replace(scheme="", netloc="").geturl()
        if not target.lower().startswith("/v1/"):
            return self._other(target)(environ, start_response)
        started = time.perf_counter()
        asked = _Asked()
        kind = "application/json"
        if request.method == "OPTIONS":
            kind = _NO_BODY
        try:
            if self.draining:
                raise StatusError("UNAVAILABLE", "The server is stopping.")
            body, code, status = self._answer(request, target, asked), "OK", 200
        except _Unsaid as error:
            body, code, status = b"", error.code, HTTP_STATUS[error.code]
        except StatusError as error:
            body, code = json_tensors.write_error(error.message), error.code
            status = HTTP_STATUS.get(code, 500)
        except HTTPException as error:  # a body that cannot be read
            body = json_tensors.write_error(str(error.description))
            status = error.code
            code = CODE_OF_HTTP_STATUS.get(status, "INVALID_ARGUMENT")
        except Exception as error:
            _logger.exception("request failed")
            body = json_tensors.write_error(f"{type(error).__name__}: {error}")
            code, status = "INTERNAL", 500
        seconds = time.perf_counter() - started
        self._metrics.record(asked.model, asked.method, "REST", code, seconds)
        response = Response(body, status=status, content_type=kind)
        return response(environ, start_response)

    def _other(self, target):
        """Returns the application of a path that is not the API's."""
        path = target.partition("?")[0]
        if path == metrics.PATH:
            if target != path:
                said = f"Unexpected path: {target}. Should be {path}"
                return Response(said, status=400, mimetype="text/plain")
            return Response(self._metrics.page(), content_type=metrics.CONTENT_TYPE)
        if path in self._pages:
            return self._pages[path]
        return Response("Not Found\n", status=404, mimetype="text/plain")

    def _answer(self, request, target, asked):
        """Returns the body of the answer, as bytes.

        To TF Serving what follows a question mark is part of the path.
        """
        if request.method == "OPTIONS":
            if re.search("https?://", request.headers.get("Origin", "")):
                return b""
            raise _Unsaid(
                "FAILED_PRECONDITION", "Origin header is missing in CORS preflight"
            )
        if request.method == "POST":
            match = _POST.fullmatch(target)
            if match and match[4] in self._POSTED:
                asked.method = match[4]
                answer = self._POSTED[match[4]]
                return answer(self, *_model_spec(match, asked), self._body(request))
        if request.method == "GET":
            match = _GET.fullmatch(target)
            if match:
                asked.method = "GetModelMetadata" if match[4] else "GetModelStatus"
                return self._describe(*_model_spec(match, asked), match[4])
        raise invalid_argument(f"Malformed request: {request.method} {target}")

    def _body(self, request):
        """Returns the bytes of a body, unpacked if it is packed."""
        data = request.get_data()
        if "gzip" in request.headers.get("Content-Encoding", ""):
            data = unpack(data, self._max_bytes)
        return data

    def _predict(self, name, version, label, body):
        document = _shallow(json_tensors.parse, body)
        with self._models.use(name, version, label) as servable:

            def find_inputs(signature_name):
                try:
                    return servable.signature(signature_name)[1].inputs
                except StatusError as error:
                    wanted = signature_name or DEFAULT_SIGNATURE
                    raise invalid_argument(
                        f'Serving signature name: "{wanted}" not found in signature def'
                    ) from error

            signature_name, inputs, row = _shallow(
                json_tensors.read_request, document, find_inputs
            )
            outputs = servable.predict(signature_name, inputs)
        return json_tensors.write_response(outputs, row)

    def _classify(self, name, version, label, body):
        request = classification_pb2.ClassificationRequest()
        _shallow(json_examples.fill_request, body, request)
        request.model_spec.name = name
        with self._models.use(name, version, label) as servable:
            response = examples.classify(servable, request)
        return json_examples.write_classification(response.result)

    def _regress(self, name, version, label, body):
        request = regression_pb2.RegressionRequest()
        _shallow(json_examples.fill_request, body, request)
        request.model_spec.name = name
        with self._models.use(name, version, label) as servable:
            response = examples.regress(servable, request)
        return json_examples.write_regression(response.result)

    _POSTED = {"predict": _predict, "classify": _classify, "regress": _regress}

    def _describe(self, name, version, label, resource):
        if not name:
            raise invalid_argument("Missing model name in request.")
        if not resource:
            response = status_response(
                self._models.states(name, version),
                get_model_status_pb2.GetModelStatusResponse,
                lambda text: raw_status.to_text(raw_status.to_bytes(text)),
            )
            return _json(response).encode()
        with self._models.use(name, version, label) as servable:
            response = metadata_response(name, servable)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return (
            f'{{\n"model_spec":{_json(response.model_spec)},\n'
            f'"metadata": {{"signature_def": {_json(signatures)}}}\n}}\n'
        ).encode()


class _Unsaid(StatusError):
    """An error whose text TF Serving keeps to itself: the body is empty."""


class _Asked:
    """What a request turned out to ask for, as far as it could be read."""

    model = ""
    method = ""


def _model_spec(match, asked):
    """Returns the name, version and label that a path asks for."""
    asked.model = name = unquote(match[1]) if match[1] else ""
    version = int(match[2]) if match[2] and len(match[2]) < 4000 else None
    if match[2] and (version is None or version > _LARGEST_INTEGER):
        said = f"Failed to convert version: {match[2]} to numeric."
        raise _Unsaid("INVALID_ARGUMENT", said)
    return name, version, unquote(match[3]) if match[3] else None


def unpack(data, most):
    """Returns what a gzip file holds; as in TF Serving, nothing of a broken one.

    Args:
        data: The bytes of the file.
        most: The most bytes that it may hold. Not many more are ever in memory.

    Raises:
        RequestEntityTooLarge: If it holds more.
    """
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = gzip.decompress(data, most + 1)
    except zlib.error:
        return b""
    if len(unpacked) > most:
        raise RequestEntityTooLarge(too_large(most))
    whole = gzip.eof and not gzip.unused_data
    return unpacked if whole else b""


def _shallow(read, *arguments):
    """Reads JSON; what is nested too deeply to be read is refused."""
    try:
        return read(*arguments)
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: nested too deeply") from error


def _json(message):
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=1, **{_WRITE_DEFAULTS: True}
    )
