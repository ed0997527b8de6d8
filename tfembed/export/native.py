"""Runs a SavedModel with TensorFlow's C API: no Python of TensorFlow is involved.

The nearest thing to a stock server that the TensorFlow wheel contains: the loader and
the session are the ones that TF Serving calls. This file imports nothing of tfembed
and no TensorFlow, so that a process may run it alone.
"""

import ctypes as c
import importlib.util
import os

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


LIBRARIES = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")


def find_libraries():
    """Returns the paths of the C API's libraries in the wheel; none if one lacks."""
    folder = os.path.dirname(importlib.util.find_spec("tensorflow").origin)
    paths = [os.path.join(folder, name) for name in LIBRARIES]
    return paths if all(map(os.path.isfile, paths)) else []


def load_library():
    """Opens the C API that ships in the wheel."""
    for path in find_libraries():
        library = c.CDLL(path, c.RTLD_GLOBAL)
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


class NativeModel:
    """A SavedModel, loaded by the C API.

    Args:
        folder: Path of the SavedModel, a string.

    Raises:
        RuntimeError: With what TensorFlow says, if it does not load.
    """

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

    def close(self):
        """Gives the session and its variables back."""
        self.tf.TF_CloseSession(self.session, self.status)
        self.tf.TF_DeleteSession(self.session, self.status)
        self.tf.TF_DeleteGraph(self.graph)

    def __call__(self, signature, inputs):
        """Runs a signature.

        Args:
            signature: Its name.
            inputs: `{input name: array}`; strings are arrays of bytes objects.

        Returns:
            `{output name: array}`.

        Raises:
            RuntimeError: With what TensorFlow says, if it fails.
        """
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
        for value in values:
            self.tf.TF_DeleteTensor(c.c_void_p(value))
        self.check()
        answer = {}
        for name, result in zip(given, results):
            answer[name] = self.array(c.c_void_p(result))
            self.tf.TF_DeleteTensor(c.c_void_p(result))
        return answer
