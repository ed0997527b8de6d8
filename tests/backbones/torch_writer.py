"""Writes files as `torch.save` does, opcode by opcode, and hostile ones likewise.

It shares no code with the reader, and needs no PyTorch. A value is a NumPy array (a
tensor), a dictionary, a list, a string, a number, or a `Code`: opcodes as they are.
"""

import struct
import zipfile

import numpy as np

_KINDS = {
    "float64": "Double",
    "float32": "Float",
    "float16": "Half",
    "int64": "Long",
    "int32": "Int",
    "uint8": "Byte",
}
_EMPTY_ORDERED = b"ccollections\nOrderedDict\n)R"


class Code(bytes):
    """Opcodes that leave one object on the stack."""


class Filled:
    """A tensor of one number, of which the file holds one copy."""

    def __init__(self, number, shape):
        self.number, self.shape = number, tuple(shape)


class _Pickler:
    """Turns a value into opcodes of protocol 2; keeps the tensors' numbers."""

    def __init__(self, legacy):
        self.storages = []
        self._legacy = legacy

    def value(self, value):
        if isinstance(value, Code):
            return bytes(value)
        if isinstance(value, (np.ndarray, Filled)):
            return self._tensor(value)
        if isinstance(value, dict):
            items = b"".join(self.value(k) + self.value(v) for k, v in value.items())
            return _EMPTY_ORDERED + b"(" + items + b"u"
        if isinstance(value, (list, tuple)):
            return b"](" + b"".join(map(self.value, value)) + b"e"
        if isinstance(value, bool) or value is None:
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        if isinstance(value, str):
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        return _integer(value)

    def _tensor(self, tensor):
        if isinstance(tensor, Filled):
            shape, strides = tensor.shape, (0,) * len(tensor.shape)
            numbers = np.full(1, tensor.number, np.float32)
        else:
            shape, numbers = tensor.shape, np.ascontiguousarray(tensor).ravel()
            strides = [int(np.prod(shape[1 + i :])) for i in range(len(shape))]
        key = str(len(self.storages))
        self.storages.append(numbers)
        kind = f"ctorch\n{_KINDS[str(numbers.dtype)]}Storage\n".encode()
        storage = b"(" + self.value("storage") + kind + self.value(key)
        storage += self.value("cpu") + _integer(numbers.size)
        storage += (b"N" if self._legacy else b"") + b"tQ"
        return (
            b"ctorch._utils\n_rebuild_tensor_v2\n("
            + storage
            + _integer(0)
            + _integers(shape)
            + _integers(strides)
            + b"\x89"
            + _EMPTY_ORDERED
            + b"tR"
        )


def _integer(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def _integers(values):
    return b"(" + b"".join(_integer(int(each)) for each in values) + b"t"


def write_zip(path, value, compression=zipfile.ZIP_STORED):
    """Writes the form of PyTorch 1.6 and later."""
    pickler = _Pickler(legacy=False)
    content = b"\x80\x02" + pickler.value(value) + b"."
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        for key, numbers in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{key}", numbers.tobytes())
        archive.writestr("archive/version", "3\n")


def write_legacy(path, value):
    """Writes the form before: a row of pickles, then the numbers."""
    pickler = _Pickler(legacy=True)
    content = pickler.value(value)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    keys = [str(key) for key in range(len(pickler.storages))]
    parts = [0x1950A86A20F9469CFC6C, 1001, system, Code(content), keys]
    with open(path, "wb") as file:
        for part in parts:
            file.write(b"\x80\x02" + pickler.value(part) + b".")
        for numbers in pickler.storages:
            file.write(struct.pack("<q", numbers.size) + numbers.tobytes())
