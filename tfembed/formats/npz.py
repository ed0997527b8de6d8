"""NumPy archives (`.npz`) of any origin: read, or refused with what is wrong.

`numpy.load` lets a dozen kinds of errors through, according to which byte of a file is
missing or wrong, none of which names the file; some damage it does not see. Everything
in the package that reads an archive reads it here, so that all of it is a `ValueError`
of one set of sentences.
"""

import os
import struct
import zipfile
import zlib

import numpy as np

__all__ = ["Npz", "read_npz"]

_ADVICE = "Write it with numpy.savez, without object arrays."
_ENDING = ".npy"
_AT_ONCE = 1 << 24
_KINDS = {"floats": "f", "integers": "iu", "strings": "U", "bytes": "S", "uint8": "u"}


def read_npz(path, names=None, advice=_ADVICE):
    """Reads arrays of an archive into memory.

    Args:
        path: The file.
        names: Which arrays it must hold, and are read; `None` for all that it holds.
        advice: What to do about a file that is wrong, as a sentence.

    Returns:
        Dictionary of arrays.

    Raises:
        ValueError: Naming the file, if it is not there, is damaged or no archive, holds
            pickled objects, or lacks an array.
    """
    with Npz(path, advice) as archive:
        if names is None:
            names = archive.names
        archive.require(*names)
        return {name: archive[name] for name in names}


class Npz:
    """An open archive: names of arrays, and the arrays that are asked for.

    ```python
    with Npz("gallery.npz") as archive:
        rows = archive.array("embeddings", "floats", ("n", "d"))
        names = archive.get("class_names")
    ```

    Args:
        path: The file.
        advice: What to do about a file that is wrong, as a sentence.

    Attributes:
        path: The file, a string.
        names: Tuple of the names of its arrays, in order.

    Raises:
        ValueError: Naming the file; see `read_npz`.
    """

    def __init__(self, path, advice=_ADVICE):
        self.path, self._advice = os.fspath(path), advice
        try:
            self._zip = zipfile.ZipFile(self.path)
        except Exception as error:  # whatever zipfile says of whatever this is
            raise self._wrong(error) from error
        members = self._zip.namelist()
        self.names = tuple(
            name[: -len(_ENDING)] for name in members if name.endswith(_ENDING)
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._zip.close()

    def __contains__(self, name):
        return name in self.names

    def require(self, *names):
        """Raises a ValueError that lists what is there, unless these arrays are."""
        lacking = [name for name in names if name not in self.names]
        if lacking:
            raise ValueError(
                f"{self.path!r} must hold the array{'s' if len(names) > 1 else ''} "
                f"{_listed(names)}. Received: {sorted(self.names)}, without "
                f"{_listed(lacking)}. {self._advice}"
            )

    def __getitem__(self, name):
        """Returns an array, in memory and checked against its checksum."""
        self.require(name)
        try:
            self._header(name)
            with self._zip.open(name + _ENDING) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
                file.read()  # to its end, where the checksum is compared
                return array
        except MemoryError:
            raise
        except Exception as error:  # of zipfile, a decompressor, NumPy or the disk
            raise self._wrong(error, name) from error

    def get(self, name, default=None):
        """Returns an array, or a default where the archive does not have it."""
        return self[name] if name in self.names else default

    def array(self, name, kind, shape, mapped=False):
        """Returns an array of a kind and a shape.

        Args:
            name: Which array.
            kind: `"floats"`, `"integers"`, `"strings"`, `"bytes"` or `"uint8"`.
            shape: Tuple of lengths; of one that may be any, a letter.
            mapped: Whether it may be an `np.memmap`; see `mapped`.
        """
        found = self.mapped(name) if mapped else self[name]
        right = found.dtype.kind in _KINDS[kind] and found.ndim == len(shape)
        right = right and (kind != "uint8" or found.dtype == np.uint8)
        if not right or any(
            length != one
            for length, one in zip(found.shape, shape)
            if not isinstance(one, str)
        ):
            raise ValueError(
                f"{self.path!r} must hold `{name}` as {kind} of shape "
                f"[{', '.join(map(str, shape))}]. Received: {found.dtype} of shape "
                f"{list(found.shape)}. {self._advice}"
            )
        return found

    def number(self, name, default):
        """Returns a number, or a default where the archive does not have it."""
        if name not in self.names:
            return default
        found = self[name]
        if found.size != 1 or found.dtype.kind not in "iuf":
            raise ValueError(
                f"{self.path!r} must hold `{name}` as one number. Received: "
                f"{found.dtype} of shape {list(found.shape)}. {self._advice}"
            )
        return found.reshape(-1)[0].item()

    def mapped(self, name):
        """Returns an array, mapped from the file where it stands there as it is.

        NumPy maps files with one array only; in an uncompressed archive an array's
        bytes stand as they are too, some way into the file. They are compared with
        their checksum, which reads them once.
        """
        self.require(name)
        try:
            found = self._map(name)
        except Exception as error:
            raise self._wrong(error, name) from error
        return self[name] if found is None else found

    def _map(self, name):
        member = self._zip.getinfo(name + _ENDING)
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        head = self._header(name)
        if head is None:
            return None
        (shape, by_column, dtype), inside = head
        if by_column or dtype.hasobject or not np.prod(shape):
            return None
        with open(self.path, "rb") as file:
            file.seek(member.header_offset)
            name_length, extra_length = struct.unpack("<26xHH", file.read(30))
            start = member.header_offset + 30 + name_length + extra_length
            file.seek(start)
            left, checksum = member.file_size, 0
            while left:
                part = file.read(min(left, _AT_ONCE))
                if not part:
                    raise EOFError("the file ends within it")
                left, checksum = left - len(part), zlib.crc32(part, checksum)
        if checksum != member.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")
        return np.memmap(self.path, dtype, "r", start + inside, shape)

    def _header(self, name):
        """Returns `((shape, by column, dtype), its length)`; `None` if not known.

        Raises:
            ValueError: If an array of that shape is longer or shorter than the bytes
                that there are. (Before room is made for it: a damaged shape may ask for
                more than any machine has.)
        """
        member = self._zip.getinfo(name + _ENDING)
        with self._zip.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                head = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                head = np.lib.format.read_array_header_2_0(file)
            else:
                return None
            inside = file.tell()
        shape, _, dtype = head
        size = dtype.itemsize
        for length in shape:
            size *= length
        if not dtype.hasobject and size != member.file_size - inside:
            raise ValueError(
                f"its shape {shape} and {dtype} need {size} bytes, of which there are "
                f"{member.file_size - inside}"
            )
        return head, inside

    def _wrong(self, error, name=None):
        if isinstance(error, FileNotFoundError):
            return ValueError(
                f"{self.path!r} must be a NumPy archive (.npz). Received: a path where "
                "no file is."
            )
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        what = f"its array `{name}`" if name else "it"
        return ValueError(
            f"{self.path!r} must be a whole NumPy archive (.npz) of plain arrays, but "
            f"reading {what} says: {said or type(error).__name__}. {self._advice}"
        )


def _listed(names):
    return ", ".join(f"`{name}`" for name in names)
