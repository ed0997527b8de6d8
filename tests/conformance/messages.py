"""The requests of the suite, as tensorflow-serving-api's messages."""

import time

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

AVAILABLE = 30


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


def model_text(name, base, policy="latest { num_versions: 1 }", **labels):
    """Returns the text of a model's config."""
    written = [
        f'version_labels {{ key: "{label}" value: {version} }}'
        for label, version in labels.items()
    ]
    return (
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" '
        f"model_version_policy {{ {policy} }} {' '.join(written)} }}"
    )


def reload_models(*texts):
    """Returns a ReloadConfigRequest with these models, as `model_text` writes them."""
    return reload(f"model_config_list {{ {' '.join(texts)} }}")


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


def version_states(model_stub, name):
    """Returns `(version, state)` pairs, highest first; none of an unknown model."""
    try:
        answer = model_stub.GetModelStatus(status(name=name), timeout=60)
    except grpc.RpcError as error:
        # INTERNAL where Python's protobuf cannot read a status that is not UTF-8.
        assert error.code().name in ("NOT_FOUND", "INTERNAL")
        return []
    return [(each.version, each.state) for each in answer.model_version_status]


def available_versions(model_stub, name):
    """Returns the versions that answer, highest first."""
    return [
        version
        for version, state in version_states(model_stub, name)
        if state == AVAILABLE
    ]


def which_version(stub, name, **model):
    """Returns the version of a `Numbered` that answers, None if none does."""
    try:
        response = stub.Predict(predict("which", name, **model, x=[0.0]), timeout=60)
    except grpc.RpcError as error:
        assert error.code().name in ("NOT_FOUND", "INVALID_ARGUMENT")
        return None
    return response.outputs["version"].int64_val[0]


def until(holds, seconds=60):
    """Waits until a function returns something true, and returns that.

    A server carries out a change after it has answered, some time; how long that takes
    is nobody's promise.
    """
    stop_at = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < stop_at, f"not so after {seconds} s"
        time.sleep(0.02)
