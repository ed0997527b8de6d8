"""TF Serving's gRPC services, answered from loaded models."""

import functools
import logging
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfembed.serving import examples, raw_status
from tfembed.serving.status import CODE_NUMBERS, StatusError, invalid_argument

_logger = logging.getLogger("tfembed.serving")
_LONGEST_MESSAGE = 1024
_LARGEST_TENSOR = 2**29  # bytes; one value in a message may stand for many

# The field of a TensorProto that holds the values of each dtype.
_VALUE_FIELDS = {
    tf.float16: "half_val",
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


def add_services(models, metrics, reload_config, server):
    """Adds the prediction and the model service to a `grpc.Server`.

    Args:
        models: The `Models` that answer.
        metrics: The `Metrics` to record in.
        reload_config: Function of a `ModelServerConfig` that replaces the models.
        server: The `grpc.Server`, not started yet.
    """
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(models, metrics), server
    )
    service = ModelService(models, metrics, reload_config)
    methods = {
        raw_status.METHOD: (
            service.GetModelStatus,
            get_model_status_pb2.GetModelStatusRequest,
            raw_status.RawStatusResponse,
        ),
        "HandleReloadConfigRequest": (
            service.HandleReloadConfigRequest,
            model_management_pb2.ReloadConfigRequest,
            model_management_pb2.ReloadConfigResponse,
        ),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method, asked.FromString, answered.SerializeToString
        )
        for name, (method, asked, answered) in methods.items()
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(raw_status.SERVICE, handlers),)
    )


def _answer(method):
    """Turns a `StatusError` into the status of the call, and records the call."""

    @functools.wraps(method)
    def answer(self, request, context):
        started = time.perf_counter()
        code, message = "OK", ""
        try:
            return method(self, request)
        except StatusError as error:
            code, message = error.code, error.message
        except Exception as error:
            _logger.exception("request failed")
            code, message = "INTERNAL", f"{type(error).__name__}: {error}"
        finally:
            seconds = time.perf_counter() - started
            name = _asked_for(request)
            self.metrics.record(name, method.__name__, "GRPC", code, seconds)
        message = raw_status.to_bytes(message)
        if len(message) > _LONGEST_MESSAGE:
            message = message[:_LONGEST_MESSAGE] + b"...TRUNCATED"
        context.abort(grpc.StatusCode[code], message)

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(self, models, metrics):
        self._models = models
        self.metrics = metrics

    @_answer
    def Predict(self, request):  # noqa: N802 (the name is the protocol's)
        """Runs a signature."""
        with self._models.use(*_model_spec(request)) as servable:
            return predict(servable, request)

    @_answer
    def Classify(self, request):  # noqa: N802
        """Runs a signature on examples, for classes and their scores."""
        with self._models.use(*_model_spec(request)) as servable:
            return examples.classify(servable, request)

    @_answer
    def Regress(self, request):  # noqa: N802
        """Runs a signature on examples, for one value each."""
        with self._models.use(*_model_spec(request)) as servable:
            return examples.regress(servable, request)

    @_answer
    def MultiInference(self, request):  # noqa: N802
        """Runs several signatures of one model on the same examples."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self._models.use(*_spec_parts(spec)) as servable:
            return examples.multi_inference(servable, request)

    @_answer
    def GetModelMetadata(self, request):  # noqa: N802
        """Tells the signatures of a model."""
        spec = _model_spec(request)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        with self._models.use(*spec) as servable:
            return metadata_response(spec[0], servable)


class ModelService:
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, models, metrics, reload_config):
        self._models = models
        self._reload_config = reload_config
        self.metrics = metrics

    @_answer
    def GetModelStatus(self, request):  # noqa: N802
        """Tells the state of each version of a model."""
        name, version, _ = _model_spec(request)
        return status_response(
            self._models.states(name, version),
            raw_status.RawStatusResponse,
            raw_status.to_bytes,
        )

    @_answer
    def HandleReloadConfigRequest(self, request):  # noqa: N802
        """Replaces the models that are served."""
        self._reload_config(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = CODE_NUMBERS["OK"]
        return response


def predict(servable, request):
    """Answers a `PredictRequest`.

    Args:
        servable: The `Servable`.
        request: The request.

    Returns:
        A `PredictResponse`.

    Raises:
        StatusError: With the code and text TF Serving would answer.
    """
    spec = request.model_spec
    name, signature = servable.signature(spec.signature_name)
    inputs = {
        key: _array(key, tensor) if key in signature.inputs else None
        for key, tensor in request.inputs.items()
    }
    outputs = servable.predict(name, inputs, list(request.output_filter))
    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.signature_name = name
    response.model_spec.version.value = servable.version
    for key, value in outputs.items():
        _fill(response.outputs[key], value)
    return response


def metadata_response(name, servable):
    """Returns the GetModelMetadataResponse of a loaded version."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in servable.signature_defs.items():
        signatures.signature_def[key].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = servable.version
    response.metadata["signature_def"].Pack(signatures)
    return response


def status_response(states, kind, write):
    """Returns the answer to GetModelStatus.

    Args:
        states: `(version, VersionState)` pairs.
        kind: Type of the answer: GetModelStatusResponse, or the raw one.
        write: Function of a text that returns what a field of it takes.
    """
    response = kind()
    for version, state in states:
        status = response.model_version_status.add()
        status.version = version
        status.state = get_model_status_pb2.ModelVersionStatus.State.Value(state.state)
        code, message = state.status
        status.status.error_code = CODE_NUMBERS[code]
        status.status.error_message = write(message)
    return response


def _model_spec(request):
    """Returns the name, version and label that a request asks for."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return _spec_parts(request.model_spec)


def _spec_parts(spec):
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    label = spec.version_label if choice == "version_label" else None
    return spec.name, version, label


def _asked_for(request):
    """Returns the name of the model that a request is for, as far as it has one."""
    tasks = getattr(request, "tasks", None)
    spec = tasks[0] if tasks else request
    return spec.model_spec.name if hasattr(spec, "model_spec") else ""


def _array(name, tensor):
    """Reads a TensorProto into a NumPy array."""
    try:
        dtype = tf.as_dtype(tensor.dtype)
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        size = max(dtype.size or 1, 1) * np.prod([float(size) for size in sizes])
        if min(sizes, default=0) < 0 or size > _LARGEST_TENSOR:
            raise ValueError(f"no tensor has the shape {sizes}")
        return tf.make_ndarray(tensor)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise invalid_argument(f"tensor parsing error: {name}") from error


def _fill(tensor, value):
    """Writes a NumPy array into the value fields of a TensorProto."""
    dtype = tf.string if value.dtype.kind in "OS" else tf.as_dtype(value.dtype)
    if dtype not in _VALUE_FIELDS or dtype == tf.float16:
        tensor.CopyFrom(tf.make_tensor_proto(value))
        return
    tensor.dtype = dtype.as_datatype_enum
    for size in value.shape:
        tensor.tensor_shape.dim.add().size = size
    getattr(tensor, _VALUE_FIELDS[dtype]).extend(value.ravel().tolist())
