"""TF Serving's gRPC services, answered from loaded models."""

import functools
import logging

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfembed.serving.status import CODE_NUMBERS, StatusError, invalid_argument

_logger = logging.getLogger("tfembed.serving")
_LONGEST_MESSAGE = 1024
_LARGEST_TENSOR = 2**31  # bytes

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


def add_services(models, server):
    """Adds the prediction and the model service to a `grpc.Server`.

    Args:
        models: The `Models` that answer.
        server: The `grpc.Server`, not started yet.
    """
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(models), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(models), server
    )


def _answer(method):
    """Turns a `StatusError` into the status of the call."""

    @functools.wraps(method)
    def answer(self, request, context):
        try:
            return method(self, request)
        except StatusError as error:
            code, message = error.code, error.message
        except Exception as error:
            _logger.exception("request failed")
            code, message = "INTERNAL", f"{type(error).__name__}: {error}"
        if len(message) > _LONGEST_MESSAGE:
            message = message[:_LONGEST_MESSAGE] + "...TRUNCATED"
        context.abort(grpc.StatusCode[code], message)

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the other methods answer UNIMPLEMENTED."""

    def __init__(self, models):
        self._models = models

    @_answer
    def Predict(self, request):  # noqa: N802 (the name is the protocol's)
        """Runs a signature."""
        servable = self._models.get(*_model_spec(request))
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
        return metadata_response(spec[0], self._models.get(*spec))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; the other method answers UNIMPLEMENTED."""

    def __init__(self, models):
        self._models = models

    @_answer
    def GetModelStatus(self, request):  # noqa: N802
        """Tells the state of each version of a model."""
        name, version, _ = _model_spec(request)
        return status_response(self._models.states(name, version))


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


def status_response(states):
    """Returns the GetModelStatusResponse of `(version, VersionState)` pairs."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, state in states:
        status = response.model_version_status.add()
        status.version = version
        status.state = get_model_status_pb2.ModelVersionStatus.State.Value(state.state)
        status.status.error_code = CODE_NUMBERS["UNKNOWN" if state.error else "OK"]
        status.status.error_message = state.error
    return response


def _model_spec(request):
    """Returns the name, version and label that a request asks for."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    label = spec.version_label if choice == "version_label" else None
    return spec.name, version, label


def _array(name, tensor):
    """Reads a TensorProto into a NumPy array."""
    try:
        dtype = tf.as_dtype(tensor.dtype)
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        size = max(dtype.size or 1, 1) * np.prod([float(size) for size in sizes])
        if min(sizes, default=0) < 0 or size > _LARGEST_TENSOR:
            raise ValueError(f"no tensor has the shape {sizes}")
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError, KeyError) as error:
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
