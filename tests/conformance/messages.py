"""The requests of the suite, as tensorflow-serving-api's messages."""

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)


def set_model(spec, signature="", name="forms", version=None, label=None):
    """Fills in a ModelSpec."""
    spec.name = name
    spec.signature_name = signature
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def predict(signature="", name="forms", version=None, label=None, **inputs):
    """Returns a PredictRequest."""
    request = predict_pb2.PredictRequest()
    set_model(request.model_spec, signature, name, version, label)
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def example(**features):
    """Returns a tf.Example of floats, integers and texts."""
    message = example_pb2.Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, float):
            feature.float_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(value.encode())
    return message


def _with_examples(request, signature, examples, context, model):
    set_model(request.model_spec, signature, **model)
    fill_input(request.input, examples, context)
    return request


def fill_input(input_, examples, context=None):
    """Fills in an Input."""
    if context is not None:
        input_.example_list_with_context.context.CopyFrom(context)
        input_.example_list_with_context.examples.extend(examples)
    else:
        input_.example_list.examples.extend(examples)


def classify(signature="classify", examples=(), context=None, **model):
    """Returns a ClassificationRequest."""
    request = classification_pb2.ClassificationRequest()
    return _with_examples(request, signature, examples, context, model)


def regress(signature="regress", examples=(), context=None, **model):
    """Returns a RegressionRequest."""
    request = regression_pb2.RegressionRequest()
    return _with_examples(request, signature, examples, context, model)


def multi(*tasks, examples=()):
    """Returns a MultiInferenceRequest of `(method, signature[, model])` tasks."""
    request = inference_pb2.MultiInferenceRequest()
    for method, *model in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        set_model(task.model_spec, *model)
    fill_input(request.input, examples)
    return request


def metadata(*fields, **model):
    """Returns a GetModelMetadataRequest."""
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    set_model(request.model_spec, **model)
    request.metadata_field.extend(fields)
    return request


def status(**model):
    """Returns a GetModelStatusRequest."""
    request = get_model_status_pb2.GetModelStatusRequest()
    set_model(request.model_spec, **model)
    return request


def reload(text):
    """Returns a ReloadConfigRequest with the config of a text."""
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    return request


def refused(call, request, code, *words):
    """Asserts that a call is refused with a code, and says certain words."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    said = caught.value.details()
    assert caught.value.code().name == code, said
    for word in words:
        assert word in said
    return said
