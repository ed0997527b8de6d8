"""Speaks TF Serving's gRPC for a client."""

import urllib.parse

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

from tfembed.serving.results import (
    ModelMetadata,
    Signature,
    TensorSpec,
    VersionStatus,
)
from tfembed.serving.status import CODE_NAMES


class GrpcTransport:
    """One channel to a server.

    Args:
        target: `"host:port"`.
        timeout: Seconds that each request may take.
        fail: Function of `(code, detail)` that returns the exception to raise.
    """

    def __init__(self, target, timeout, fail):
        self._timeout = timeout
        self._fail = fail
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if urllib.parse.urlsplit(f"//{target}").hostname in ("localhost", "127.0.0.1"):
            options.append(("grpc.enable_http_proxy", 0))
        self._channel = grpc.insecure_channel(target, options=options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self):
        """Closes the channel."""
        self._channel.close()

    def predict(self, name, version, signature_name, inputs, output_specs):
        """Runs a signature; see `RestTransport.predict`."""
        del output_specs  # tensors tell their dtypes
        request = predict_pb2.PredictRequest()
        _set_model(request.model_spec, name, version)
        request.model_spec.signature_name = signature_name
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._predictions.Predict, request)
        return {key: _read(value) for key, value in response.outputs.items()}

    def metadata(self, name, version):
        """Returns the `ModelMetadata`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        _set_model(request.model_spec, name, version)
        request.metadata_field.append("signature_def")
        response = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return ModelMetadata(
            name,
            response.model_spec.version.value,
            {
                key: Signature(_specs(value.inputs), _specs(value.outputs))
                for key, value in signatures.signature_def.items()
                if not key.startswith("__")
            },
        )

    def status(self, name, version):
        """Returns a list of `VersionStatus`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _set_model(request.model_spec, name, version)
        response = self._call(self._models.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [
            VersionStatus(
                each.version,
                states.Name(each.state),
                CODE_NAMES.get(each.status.error_code, "UNKNOWN"),
                each.status.error_message,
            )
            for each in response.model_version_status
        ]

    def _call(self, method, request):
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._fail(error.code().name, error.details() or "") from error


def _set_model(spec, name, version):
    spec.name = name
    if version is not None:
        spec.version.value = version


def _read(tensor):
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
