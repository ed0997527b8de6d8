"""Runs a SavedModel with TensorFlow's C API: no Python of TensorFlow in the process.

    python native.py SAVED_MODEL REQUESTS ANSWERS

The nearest thing to a stock server that the TensorFlow wheel contains: the loader and
the session are the ones that TF Serving calls. REQUESTS and ANSWERS are pickled as
for `tfembed.export.replay`.
"""

import ctypes as c
import importlib.util
import os
import pickle
import sys

import numpy as np

DTYPES = {1: np.float32, 3: np.int32, 9: np.int64, 10: np.bool_}
CODES = {np.dtype(value): code for code, value in DTYPES.items()}
STRING, STRING_BYTES = 7, 24


class Output(c.Structure):
    """TF_Output."""

    _fields_ = [("operation", c.c_void_p), ("index", c.c_int)]


class Buffer(c.Structure):
    """TF_Buffer."""

    _fields_ = [("data", c.c_void_p), ("length", c.c_size_t), ("free", c.c_void_p)]


def load_library():
    """Opens the C API that ships in the wheel."""
    folder = os.path.dirname(importlib.util.find_spec("tensorflow").origin)
    c.CDLL(os.path.join(folder, "libtensorflow_framework.so.2"), c.RTLD_GLOBAL)
    library = c.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"), c.RTLD_GLOBAL)
    pointers = (
        "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel "
        "TF_GraphOperationByName TF_AllocateTensor TF_TensorData "
        "TF_StringGetDataPointer"
    )
    for name in pointers.split():
        getattr(library, name).restype = c.c_void_p
    library.TF_Message.restype = c.c_char_p
    library.TF_Dim.restype = c.c_int64
    library.TF_StringGetSize.restype = c.c_size_t
    return library


def fields(data):
    """The (number, value) pairs of a protocol buffer message."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            size = varint() if size is None else size
            value = data[position : position + size]
            position += size
        yield tag >> 3, value


def signature_defs(meta_graph):
    """Signature name -> (inputs, outputs), each name -> tensor name."""

    def named(data, number):
        entries = [dict(fields(value)) for key, value in fields(data) if key == number]
        return {entry[1].decode(): entry[2] for entry in entries}

    def tensors(data, number):
        infos = named(data, number).items()
        return {name: dict(fields(info)).get(1, b"") for name, info in infos}

    definitions = named(meta_graph, 5)
    return {
        name: (tensors(definition, 1), tensors(definition, 2))
        for name, definition in definitions.items()
        if not name.startswith("__")
    }


class Model:
    """A loaded SavedModel."""

    def __init__(self, folder):
        self.tf = load_library()
        self.status = c.c_void_p(self.tf.TF_NewStatus())
        self.graph = c.c_void_p(self.tf.TF_NewGraph())
        meta_graph = Buffer()
        self.session = c.c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                c.c_void_p(self.tf.TF_NewSessionOptions()),
                None,
                folder.encode(),
                (c.c_char_p * 1)(b"serve"),
                1,
                self.graph,
                c.byref(meta_graph),
                self.status,
            )
        )
        self.check()
        self.signatures = signature_defs(
            c.string_at(meta_graph.data, meta_graph.length)
        )

    def check(self):
        """Raises what the last call said, if it failed."""
        if self.tf.TF_GetCode(self.status):
            raise RuntimeError(self.tf.TF_Message(self.status).decode())

    def output(self, name):
        """TF_Output of a tensor name."""
        operation, _, index = name.partition(b":")
        pointer = self.tf.TF_GraphOperationByName(self.graph, operation)
        return Output(pointer, int(index or 0))

    def tensor(self, value):
        """TF_Tensor of an array."""
        strings = value.dtype == object
        code = STRING if strings else CODES[value.dtype]
        size = STRING_BYTES * value.size if strings else value.nbytes
        shape = (c.c_int64 * value.ndim)(*value.shape)
        tensor = c.c_void_p(
            self.tf.TF_AllocateTensor(code, shape, value.ndim, c.c_size_t(size))
        )
        data = self.tf.TF_TensorData(tensor)
        if not strings:
            c.memmove(data, np.ascontiguousarray(value).ctypes.data, size)
            return tensor
        for index, item in enumerate(value.ravel()):
            cell = c.c_void_p(data + index * STRING_BYTES)
            self.tf.TF_StringInit(cell)
            self.tf.TF_StringCopy(cell, item, c.c_size_t(len(item)))
        return tensor

    def array(self, tensor):
        """The array of a TF_Tensor."""
        rank = self.tf.TF_NumDims(tensor)
        shape = [self.tf.TF_Dim(tensor, axis) for axis in range(rank)]
        size = int(np.prod(shape))
        data = self.tf.TF_TensorData(tensor)
        code = self.tf.TF_TensorType(tensor)
        if code != STRING:
            dtype = np.dtype(DTYPES[code])
            flat = np.frombuffer(c.string_at(data, size * dtype.itemsize), dtype)
            return flat.reshape(shape).copy()
        cells = [c.c_void_p(data + i * STRING_BYTES) for i in range(size)]
        flat = np.empty(size, object)
        for index, cell in enumerate(cells):
            flat[index] = c.string_at(
                self.tf.TF_StringGetDataPointer(cell), self.tf.TF_StringGetSize(cell)
            )
        return flat.reshape(shape)

    def __call__(self, signature, inputs):
        """Runs a signature on arrays; strings are arrays of bytes objects."""
        wanted, given = self.signatures[signature]
        feeds = (Output * len(inputs))(*[self.output(wanted[name]) for name in inputs])
        values = [self.tensor(value).value for value in inputs.values()]
        fetches = (Output * len(given))(*[self.output(name) for name in given.values()])
        results = (c.c_void_p * len(given))()
        self.tf.TF_SessionRun(
            self.session,
            None,
            feeds,
            (c.c_void_p * len(values))(*values),
            len(values),
            fetches,
            results,
            len(given),
            None,
            0,
            None,
            self.status,
        )
        self.check()
        return {
            name: self.array(c.c_void_p(result)) for name, result in zip(given, results)
        }


def main(saved_model, requests_path, answers_path):
    """Loads, asks, writes the answers."""
    with open(requests_path, "rb") as file:
        requests = pickle.load(file)
    model = Model(saved_model)
    answers = [model(signature, inputs) for signature, inputs in requests]
    assert "tensorflow" not in sys.modules
    with open(answers_path, "wb") as file:
        pickle.dump((answers, model.signatures), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
