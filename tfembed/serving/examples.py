"""Classify, Regress and MultiInference: signatures that read `tf.Example`s.

TF Serving runs any signature as one of these whose tensors have the right names:
`inputs`, a vector of serialized examples, and `classes` and `scores`, or `outputs`.
"""

import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    regression_pb2,
)

from tfembed.serving.servable import DEFAULT_SIGNATURE, dtype_name
from tfembed.serving.status import StatusError, invalid_argument

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def classify(servable, request):
    """Answers a `ClassificationRequest`.

    Args:
        servable: The `Servable`.
        request: The request; its `model_spec` tells the signature.

    Returns:
        A `ClassificationResponse`.

    Raises:
        StatusError: With the code and text TF Serving would answer.
    """
    name = _signature(servable, request.model_spec.signature_name)
    _check_classify(servable.signature_defs[name])
    response = classification_pb2.ClassificationResponse()
    _tell_model(response.model_spec, request.model_spec, name, servable)
    outputs, count = _run(servable, name, request.input)
    _fill_classification(response.result, outputs, count)
    return response


def regress(servable, request):
    """Answers a `RegressionRequest`; see `classify`."""
    name = _signature(servable, request.model_spec.signature_name)
    _check_regress(servable.signature_defs[name])
    response = regression_pb2.RegressionResponse()
    _tell_model(response.model_spec, request.model_spec, name, servable)
    outputs, count = _run(servable, name, request.input)
    _fill_regression(response.result, outputs, count)
    return response


def multi_inference(servable, request):
    """Answers a `MultiInferenceRequest`; see `classify`."""
    names = _check_tasks(servable, request.tasks)
    response = inference_pb2.MultiInferenceResponse()
    for task, name in zip(request.tasks, names):
        outputs, count = _run(servable, name, request.input)
        result = response.results.add()
        if task.method_name == CLASSIFY:
            _fill_classification(result.classification_result, outputs, count)
        else:
            _fill_regression(result.regression_result, outputs, count)
        _tell_model(result.model_spec, task.model_spec, name, servable)
    return response


def _check_tasks(servable, tasks):
    """Returns the signature of each task, if all of them can be run together."""
    names = []
    for task in tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same "
                "model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in names:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        names.append(name)
        if name not in servable.signature_defs:
            raise invalid_argument(
                f"Requested signature not found in model graph: {name}"
            )
        if task.method_name == CLASSIFY:
            _check_classify(servable.signature_defs[name])
        elif task.method_name == REGRESS:
            _check_regress(servable.signature_defs[name])
        else:
            raise StatusError(
                "UNIMPLEMENTED",
                f"Unsupported signature method_name: {task.method_name}",
            )
    return names


def _signature(servable, name):
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signature_defs:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return name


def _check_classify(signature):
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if "inputs" not in signature.inputs:
        raise invalid_argument(
            f"No classification inputs found in SignatureDef: {signature}"
        )
    if not {"classes", "scores"} & set(signature.outputs):
        raise invalid_argument(
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {signature}'
        )


def _check_regress(signature):
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(
            f"No regression inputs found in SignatureDef: {signature}"
        )
    if "outputs" not in signature.outputs:
        raise invalid_argument(
            f"No regression outputs found in SignatureDef: {signature}"
        )


def _run(servable, name, input_):
    """Runs a signature on the examples; returns its outputs and their number."""
    examples = _serialized(input_)
    outputs = servable.predict(name, {"inputs": examples})
    return outputs, len(examples)


def _serialized(input_):
    """Returns the examples as a vector of bytes, the context before each."""
    kind = input_.WhichOneof("kind")
    context, examples = b"", ()
    if kind == "example_list":
        examples = input_.example_list.examples
    elif kind == "example_list_with_context":
        context = input_.example_list_with_context.context.SerializeToString()
        examples = input_.example_list_with_context.examples
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _tell_model(spec, asked, signature_name, servable):
    spec.name = asked.name
    spec.signature_name = signature_name
    spec.version.value = servable.version


def _fill_classification(result, outputs, count):
    classes, scores = outputs.get("classes"), outputs.get("scores")
    for name, array, wanted in (
        ("classes", classes, "DT_STRING"),
        ("scores", scores, "DT_FLOAT"),
    ):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid_argument(
                "Expected Tensor shape: [batch_size num_classes] but got "
                f"{_shown(array.shape)}"
            )
        if not _is(array, wanted):
            raise invalid_argument(
                f"Expected {name} Tensor of {wanted}. Got: {_data_type(array)}"
            )
        if len(array) != count:
            raise invalid_argument(
                f"Expected {name} output batch size of {count}. Got: {len(array)}"
            )
    if classes is not None and scores is not None:
        if classes.shape[1] != scores.shape[1]:
            raise invalid_argument(
                "Tensors class and score should match in dim_size(1). Got "
                f"{classes.shape[1]} vs. {scores.shape[1]}"
            )
    width = (scores if classes is None else classes).shape[1]
    for row in range(count):
        classification = result.classifications.add()
        for column in range(width):
            each = classification.classes.add()
            if classes is not None:
                each.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                each.score = scores[row, column]


def _fill_regression(result, outputs, count):
    array = outputs["outputs"]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {_shown(array.shape)}"
        )
    if len(array) != count:
        raise invalid_argument(
            "Input batch size did not match output batch size: "
            f"{count} vs. {len(array)}"
        )
    if not _is(array, "DT_FLOAT"):
        raise invalid_argument(
            f"Expected output Tensor of DT_FLOAT.  Got: {_data_type(array)}"
        )
    for value in array.ravel():
        result.regressions.add().value = value


def _is(array, data_type):
    return _data_type(array) == data_type


def _data_type(array):
    """Names the dtype of an array as protobuf does."""
    import tensorflow as tf

    dtype = tf.string if array.dtype.kind in "OS" else tf.as_dtype(array.dtype)
    return "DT_" + dtype_name(dtype.as_datatype_enum).upper()


def _shown(shape):
    return "[" + ",".join(map(str, shape)) + "]"
