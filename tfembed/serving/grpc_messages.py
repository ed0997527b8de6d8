"""The messages of TF Serving's gRPC, written and read for both kinds of client."""

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfembed.serving import raw_status
from tfembed.serving.address import is_local
from tfembed.serving.results import (
    Classification,
    ModelMetadata,
    Signature,
    TensorSpec,
    VersionStatus,
)
from tfembed.serving.status import CODE_NAMES


def channel_options(target):
    """Returns the options of a channel to `"host:port"`.

    Messages may be of any size: gRPC's default of 4 MB refuses the embeddings of a
    large batch. A server that went away is tried again soon.
    """
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    if is_local(target):
        options.append(("grpc.enable_http_proxy", 0))
    return options


class Stubs:
    """The methods of a server on one channel, by the names of `WRITERS`."""

    def __init__(self, channel):
        predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.predict = predictions.Predict
        self.classify = predictions.Classify
        self.metadata = predictions.GetModelMetadata
        self.status = channel.unary_unary(
            f"/{raw_status.SERVICE}/{raw_status.METHOD}",
            get_model_status_pb2.GetModelStatusRequest.SerializeToString,
            raw_status.RawStatusResponse.FromString,
        )


def write_predict(spec, signature_name, inputs):
    """Returns a PredictRequest.

    Args:
        spec: The `ModelSpec`.
        signature_name: Name of the signature.
        inputs: Dictionary of name to array, or list of bytes or `str`.
    """
    request = predict_pb2.PredictRequest()
    _fill_spec(request.model_spec, spec)
    request.model_spec.signature_name = signature_name
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def write_classify(spec, signature_name, image_bytes):
    """Returns a ClassificationRequest with an Example for each image."""
    request = classification_pb2.ClassificationRequest()
    _fill_spec(request.model_spec, spec)
    request.model_spec.signature_name = signature_name
    for data in image_bytes:
        feature = request.input.example_list.examples.add().features.feature
        feature["image_bytes"].bytes_list.value.append(data)
    return request


def write_metadata(spec):
    """Returns a GetModelMetadataRequest."""
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    _fill_spec(request.model_spec, spec)
    request.metadata_field.append("signature_def")
    return request


def write_status(spec):
    """Returns a GetModelStatusRequest: of one version, or of all."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = spec.name
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    return request


def read_predict(spec, response):
    """Returns the outputs, arrays by name; strings are `str`."""
    del spec
    return {key: _array(value) for key, value in response.outputs.items()}


def read_classify(spec, response):
    """Returns the `Classification`."""
    del spec
    rows = [each.classes for each in response.result.classifications]
    return Classification(
        np.array([[each.label for each in row] for row in rows], dtype=str),
        np.array([[each.score for each in row] for row in rows], np.float32),
    )


def read_metadata(spec, response):
    """Returns the `ModelMetadata`."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return ModelMetadata(
        spec.name,
        response.model_spec.version.value,
        {
            key: Signature(_specs(value.inputs), _specs(value.outputs))
            for key, value in signatures.signature_def.items()
            if not key.startswith("__")
        },
    )


def read_status(spec, response):
    """Returns a list of `VersionStatus`."""
    del spec
    states = get_model_status_pb2.ModelVersionStatus.State
    return [
        VersionStatus(
            each.version,
            states.Name(each.state),
            CODE_NAMES.get(each.status.error_code, "UNKNOWN"),
            raw_status.to_text(each.status.error_message),
        )
        for each in response.model_version_status
    ]


WRITERS = {
    "predict": write_predict,
    "classify": write_classify,
    "metadata": write_metadata,
    "status": write_status,
}
READERS = {
    "predict": read_predict,
    "classify": read_classify,
    "metadata": read_metadata,
    "status": read_status,
}


def code_and_detail(error):
    """Returns what a `grpc.RpcError` says: the code's name, and the text."""
    code = error.code()
    detail = error.details() or ""
    if isinstance(code, grpc.StatusCode):
        return code.name, detail
    return "UNKNOWN", detail


def _fill_spec(message, spec):
    message.name = spec.name
    if spec.version is not None:
        message.version.value = spec.version
    elif spec.label is not None:
        message.version_label = spec.label


def _array(tensor):
    """Reads an output; strings become `str`."""
    value = tf.make_ndarray(tensor)
    if tensor.dtype != tf.string.as_datatype_enum:
        return value
    texts = [text.decode("utf-8", "replace") for text in value.ravel()]
    return np.array(texts, dtype=str).reshape(value.shape)


def _specs(tensors):
    return {
        key: TensorSpec(
            tf.as_dtype(info.dtype).name,
            None
            if info.tensor_shape.unknown_rank
            else tuple(
                None if dim.size == -1 else dim.size for dim in info.tensor_shape.dim
            ),
        )
        for key, info in tensors.items()
    }
