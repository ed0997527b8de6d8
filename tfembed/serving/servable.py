"""One loaded version of a model, and how a request to predict is run on it."""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfembed.serving.image_limit import check_pixels
from tfembed.serving.status import CODE_NAMES, StatusError, invalid_argument

DEFAULT_SIGNATURE = "serving_default"
_INIT_OP = "__saved_model_init_op"


class Servable:
    """A SavedModel in memory.

    Args:
        path: The folder of one version, with `saved_model.pb` in it.
        version: Its number.
        max_pixels: The most pixels that an encoded image among the inputs may
            declare, or None for any number.
    """

    def __init__(self, path, version, max_pixels=None):
        self.version = version
        self.path = path
        self._max_pixels = max_pixels
        self.signature_defs = _read_signature_defs(path)
        self._model = tf.saved_model.load(path, tags=["serve"])

    def signature(self, name):
        """Returns `(name, SignatureDef)`; the empty name means the default.

        Raises:
            StatusError: FAILED_PRECONDITION if the model has no such signature.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self._model.signatures or name not in self.signature_defs:
            raise StatusError(
                "FAILED_PRECONDITION", f'Serving signature key "{name}" not found.'
            )
        return name, self.signature_defs[name]

    def gallery(self, name, rows=None):
        """Returns what an export keeps of its gallery, by the variable's name.

        Args:
            name: Such as `"gallery_ids"`; see `tfembed.export.gallery_state`.
            rows: Integers `(m,)`; `None`: all.

        Returns:
            `np.ndarray`, text as an object array of UTF-8 bytes; `None` of a model that
            tfembed.export did not write.
        """
        variable = getattr(self._model, name, None)
        if not isinstance(variable, tf.Variable):
            return None
        if rows is None:
            return variable.numpy()
        return tf.gather(variable, np.asarray(rows, np.int64)).numpy()

    def predict(self, signature_name, inputs, output_filter=()):
        """Runs one signature.

        Args:
            signature_name: Its name, or the empty string for the default.
            inputs: Dictionary of input name to `np.ndarray`.
            output_filter: Names of the outputs wanted; all of them if empty.

        Returns:
            Dictionary of output name to `np.ndarray`.

        Raises:
            StatusError: With the code and text TF Serving would answer.
        """
        name, signature = self.signature(signature_name)
        _check_names(signature, inputs)
        _check_filter(signature, output_filter)
        for index, (key, info) in enumerate(sorted(signature.inputs.items())):
            _check_tensor(index, key, info, inputs[key])
        if self._max_pixels is not None:
            for key, value in inputs.items():
                check_pixels(key, value, self._max_pixels)
        try:
            outputs = self._model.signatures[name](
                **{key: tf.constant(value) for key, value in inputs.items()}
            )
        except tf.errors.OpError as error:
            code = CODE_NAMES.get(error.error_code, "UNKNOWN")
            raise StatusError(code, _kernel_message(error)) from error
        except (TypeError, ValueError) as error:
            raise invalid_argument(str(error)) from error
        return {
            key: value.numpy()
            for key, value in outputs.items()
            if not output_filter or key in output_filter
        }


def _read_signature_defs(path):
    """Reads the signatures from `saved_model.pb`, as TF Serving reports them."""
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    for graph in saved_model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise ValueError(f"The SavedModel at {path!r} has no graph tagged 'serve'.")


def _check_names(signature, inputs):
    """Compares the names sent with the names of the signature."""
    sent, wanted = set(inputs), set(signature.inputs)
    if len(sent) != len(wanted):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_braced(sent)}) != len({_braced(wanted)}). "
            f"Sent extra: {_braced(sent - wanted)}. "
            f"Missing but required: {_braced(wanted - sent)}."
        )
    for key in sorted(wanted - sent):
        raise invalid_argument(
            f"Signature input alias: {key}(feed name: {signature.inputs[key].name}) "
            "not found in request and no default value provided. Inputs expected "
            f"to be in the request {_braced(sent)}, or default input alias set: "
        )


def _check_filter(signature, output_filter):
    """Checks that the outputs asked for exist, and are asked for once."""
    seen = set()
    for name in output_filter:
        if name not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} Outputs "
                f"expected to be in the set {_braced(signature.outputs)}."
            )
        if name in seen:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
        seen.add(name)


def _check_tensor(index, name, info, value):
    """Checks the dtype and the shape of one input."""
    if info.dtype != _dtype_number(value):
        raise invalid_argument(
            f"Expects arg[{index}] to be {dtype_name(info.dtype)} "
            f"but {dtype_name(_dtype_number(value))} is provided"
        )
    if info.tensor_shape.unknown_rank:
        return
    wanted = [dim.size for dim in info.tensor_shape.dim]
    fits = len(wanted) == value.ndim and all(
        size in (-1, got) for size, got in zip(wanted, value.shape)
    )
    if not fits:
        shown = ",".join("?" if size == -1 else str(size) for size in wanted)
        got = ",".join(str(size) for size in value.shape)
        raise invalid_argument(
            f"Input {name} must have shape [{shown}], but [{got}] is provided"
        )


def _dtype_number(value):
    """Returns the DataType number of a NumPy array; objects are strings."""
    if value.dtype.kind in "OSU":
        return tf.string.as_datatype_enum
    return tf.as_dtype(value.dtype).as_datatype_enum


def dtype_name(number):
    """Names a DataType number as TF Serving's messages do, e.g. `"float"`."""
    name = tf.as_dtype(number).name
    return {"float32": "float", "float64": "double", "float16": "half"}.get(name, name)


def _kernel_message(error):
    """Takes from the error of a kernel what it has to say, without the traces."""
    lines = [line.strip() for line in error.message.splitlines()]
    lines = [
        line
        for line in lines
        if line
        and not line.startswith(("Graph execution error", "Detected at node", "File "))
        and line != "<stack traces unavailable>"
    ]
    return lines[0] if lines else np.str_(error.message)


def _braced(names):
    return "{" + ",".join(sorted(names)) + "}"
