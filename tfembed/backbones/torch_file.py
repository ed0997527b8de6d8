"""Reads the tensors of a PyTorch file, and runs nothing that is in it.

Three forms: the zip of PyTorch 1.6 and later and the row of pickles before it (`.pth`,
`.pt`, `.ckpt`), and `.safetensors`, by the library of that name.

A pickle is a program, which names functions and classes and calls them. Here a name is
never imported: a few that rebuild tensors are functions of this file, and every other
is an inert placeholder, which takes any arguments and does nothing. So checkpoints that
hold an optimizer, settings or a whole Python object beside their weights can be read;
what stands where a tensor is wanted and is none is refused there.
"""

import io
import mmap
import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np

__all__ = ["StoredTensor", "read_torch_file"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
# By the end of a storage's class, a name of safetensors, or a dtype of PyTorch.
_DTYPES = {
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "BFloat16": "bfloat16",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "u1",
}
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}  # look into a register of the process
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


def read_torch_file(path):
    """Reads what a PyTorch file holds, tensors by their places only.

    Args:
        path: A file that `torch.save` or safetensors wrote.

    Returns:
        The object: dictionaries, lists, numbers and strings as they are, tensors as
        `StoredTensor`, anything else as a placeholder.

    Raises:
        ValueError: If it is no such file, or a damaged one.
        ImportError: If it is `.safetensors` and the library is missing.
    """
    path = os.fspath(path)
    try:
        if path.endswith(".safetensors"):
            return _read_safetensors(path)
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        return _read_legacy(path)
    except (ImportError, FileNotFoundError):
        raise
    except Exception as error:  # a hostile file may raise whatever it likes
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path!r} must be a file that torch.save or safetensors wrote, whole. "
            f"Reading it says: {words} Get it again, or save it in PyTorch with "
            "torch.save(model.state_dict(), FILE)."
        ) from error


class StoredTensor:
    """A tensor in a file: its shape and where its numbers are.

    Attributes:
        shape: Its shape.
    """

    __slots__ = ("_dtype", "_load", "_numel", "_offset", "_stride", "shape")

    def __init__(self, load, dtype, numel, offset, shape, stride):
        numbers = (numel, offset, *shape, *stride)
        if any(type(each) is not int or each < 0 for each in numbers):
            raise ValueError("a tensor's sizes are not all integers from 0.")
        if len(shape) != len(stride):
            raise ValueError("a tensor does not have as many strides as dimensions.")
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride))
        if 0 not in shape and last >= numel:
            raise ValueError("a tensor reaches beyond the end of its storage.")
        self._load, self._dtype, self._numel = load, dtype, numel
        self._offset, self._stride = offset, tuple(stride)
        self.shape = tuple(shape)

    def __setstate__(self, *state):
        """Takes no state from a pickle."""

    def numpy(self):
        """Reads the numbers: an array of this shape; bfloat16 comes as float32."""
        bfloat16 = self._dtype == "bfloat16"
        dtype = np.dtype("<u2" if bfloat16 else self._dtype)
        content = self._load(self._numel * dtype.itemsize)
        flat = np.frombuffer(content, dtype, self._numel)[self._offset :]
        strides = [step * dtype.itemsize for step in self._stride]
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32 if bfloat16 else dtype)
        array = np.lib.stride_tricks.as_strided(flat, self.shape, strides).copy()
        if bfloat16:
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array


class Placeholder:
    """Stands for a name in a pickle that is not known here; it does nothing."""

    qualified_name = "?"

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return self

    def __setstate__(self, *state):
        """Takes no state."""

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        """Keeps nothing."""

    def extend(self, values):
        """Keeps nothing."""

    def add(self, value):
        """Keeps nothing."""


class _Mapping(dict):
    """Stands for an `OrderedDict`; a pickle's state of it is dropped."""

    __slots__ = ()

    def __setstate__(self, *state):
        pass


class _Storage:
    """A tensor's numbers, not yet read."""

    __slots__ = ("dtype", "load", "numel")

    def __init__(self, dtype, numel, load):
        self.dtype, self.numel, self.load = dtype, numel, load

    def __setstate__(self, *state):
        pass


class _Rebuild:
    """A function of PyTorch that puts a tensor together; called by a pickle."""

    __slots__ = ("_name",)

    def __init__(self, name):
        self._name = name

    def __setstate__(self, *state):
        pass

    def __call__(self, *args):
        if self._name.startswith("_rebuild_parameter"):
            tensor = args[0] if args else None
            return tensor if isinstance(tensor, StoredTensor) else Placeholder()
        storage, offset, shape, stride = [*args[:4], *[None] * 4][:4]
        if not (
            isinstance(storage, _Storage)
            and isinstance(shape, (tuple, list))
            and isinstance(stride, (tuple, list))
        ):
            return Placeholder()
        try:
            return StoredTensor(
                storage.load, storage.dtype, storage.numel, offset, shape, stride
            )
        except ValueError:
            return Placeholder()


_REBUILDS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
)


class _Unpickler(pickle.Unpickler):
    """Reads a pickle without importing anything.

    Args:
        stream: Bytes, that `_length` has looked over.
        open_storage: Function of (key, dtype, count), gives what reads the bytes.
    """

    def __init__(self, stream, open_storage):
        # PyTorch for Python 2 wrote byte strings, which are names.
        super().__init__(stream, fix_imports=False, encoding="latin1")
        self._open_storage = open_storage
        self._names = {}

    def find_class(self, module, name):
        """Gives what stands for a name; it is never imported."""
        qualified = f"{module}.{name}"
        if qualified in ("collections.OrderedDict", "builtins.dict"):
            return _Mapping
        if module == "torch._utils" and name in _REBUILDS:
            return _Rebuild(name)
        if qualified not in self._names:
            self._names[qualified] = type(
                "Placeholder", (Placeholder,), {"qualified_name": qualified}
            )
        return self._names[qualified]

    def persistent_load(self, reference):
        """Gives the storage that a tensor refers to."""
        if not isinstance(reference, (tuple, list)) or len(reference) < 5:
            return Placeholder()
        kind, cls, key, _, count = reference[:5]
        name = getattr(cls, "qualified_name", "")
        name = name if isinstance(name, str) else ""
        module, _, ending = name.rpartition(".")
        dtype = _DTYPES.get(ending[: -len("Storage")])
        known = module.split(".")[0] == "torch" and ending.endswith("Storage") and dtype
        if kind != "storage" or not known or type(key) not in (str, int):
            return Placeholder()
        if type(count) is not int or count < 0:
            return Placeholder()
        if len(reference) > 5 and reference[5] is not None:
            return Placeholder()  # a view of another storage, of before PyTorch 0.4
        return _Storage(dtype, count, self._open_storage(str(key), dtype, count))


def _unpickle(content, open_storage):
    return _Unpickler(io.BytesIO(content), open_storage).load()


def _length(stream):
    """Returns the length of the pickle that a stream is at, and leaves it at its end.

    Refuses what would have the unpickler take memory for nothing: a memo that does
    not count up, byte strings longer than the file.
    """
    start, count = stream.tell(), 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name in _EXTENSIONS:
            raise ValueError("its pickle refers to a register of Python's copyreg.")
        if opcode.name in _PUTS and not 0 <= int(argument) <= count + 1:
            raise ValueError("its pickle numbers what it remembers out of order.")
    return stream.tell() - start


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise ValueError("it is a zip file, and not one of PyTorch's.")
        root = pickles[0].split("/")[0]
        if f"{root}/byteorder" in names:
            if _stored(archive, f"{root}/byteorder", 16).strip() != b"little":
                raise ValueError("its numbers are of a big-endian machine.")
        content = _stored(archive, pickles[0])

    def open_storage(key, dtype, count):
        def load(length):
            with zipfile.ZipFile(path) as archive:
                return _stored(archive, f"{root}/data/{key}", length, exact=True)

        return load

    _length(io.BytesIO(content))
    return _unpickle(content, open_storage)


def _stored(archive, name, length=None, exact=False):
    """Reads a file of a zip, which PyTorch never compresses."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"{name} is missing in it.") from None
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed in it, which PyTorch does not do.")
    if length is not None and (
        info.file_size > length if not exact else info.file_size != length
    ):
        raise ValueError(f"{name} has {info.file_size} bytes in it, not {length}.")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{name} is damaged in it. {error}".strip()) from error


def _read_legacy(path):
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError("it is empty.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
            return _read_pickles(path, stream)


def _read_pickles(path, stream):
    """Reads magic number, version, system, object, keys; then come the numbers."""
    places, sizes = {}, {}

    def open_storage(key, dtype, count):
        sizes.setdefault(key, 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize)

        def load(length):
            if key not in places:
                raise ValueError(f"the numbers of storage {key!r} are missing in it.")
            start, numel = places[key]
            if numel != count:
                raise ValueError(f"storage {key!r} is of another length in it.")
            with open(path, "rb") as file:
                file.seek(start)
                content = file.read(length)
            if len(content) != length:
                raise ValueError("it ends too early.")
            return content

        return load

    def one():
        start = stream.tell()
        return _unpickle(stream[start : start + _length(stream)], open_storage)

    if stream[:1] != b"\x80" or one() != _LEGACY_MAGIC:
        raise ValueError("it begins like neither form of PyTorch's files.")
    if one() != _LEGACY_VERSION:
        raise ValueError("it is of a version of PyTorch that is not known.")
    system = one()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its numbers are of a big-endian machine.")
    found, keys = one(), one()
    if not isinstance(keys, list):
        raise ValueError("it does not list its storages.")
    for key in map(str, keys):
        (numel,) = struct.unpack("<q", stream.read(8))
        places[key] = (stream.tell(), numel)
        end = stream.tell() + numel * sizes.get(key, 1)
        if numel < 0 or end > len(stream):
            raise ValueError("it ends too early.")
        stream.seek(end)
    return found


def _read_safetensors(path):
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            f"{path!r} needs the library safetensors, which could not be imported "
            f"({error}). Install it with `pip install 'tfembed[torch-files]'`."
        ) from error
    with open(path, "rb") as file:
        found = safetensors.deserialize(file.read())
    return {name: _safe_tensor(name, tensor) for name, tensor in found}


def _safe_tensor(name, tensor):
    content, dtype = bytes(tensor["data"]), _SAFETENSORS.get(tensor["dtype"])
    if dtype is None:
        raise ValueError(f"{name} is of type {tensor['dtype']}, which is not known.")
    shape = [int(side) for side in tensor["shape"]]
    stride, count = [], 1
    for side in reversed(shape):
        stride.insert(0, count)
        count *= side
    return StoredTensor(lambda length: content, dtype, count, 0, shape, stride)
