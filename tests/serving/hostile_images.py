"""Images that no honest client sends."""

import io
import struct
import zlib

import numpy as np
from hypothesis import strategies
from PIL import Image

SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b
"&a;&a;&a;&a;&a;&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg" width="99999999"
height="99999999"><image href="file:///etc/passwd"/><text>&b;</text></svg>"""


def _encoded(kind, size=(31, 17), **options):
    pixels = np.random.default_rng(5).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _animation():
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 90, 180)]
    file = io.BytesIO()
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    return file.getvalue()


def png_chunk(kind, data):
    """Returns a chunk of a PNG file."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def bomb(width, height):
    """Returns a PNG of a few kilobytes that unpacks to a size of its own."""
    rows = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", packed)
        + png_chunk(b"IEND", b"")
    )


GOOD = {
    "jpeg": _encoded("jpeg"),
    "progressive": _encoded("jpeg", progressive=True),
    "png": _encoded("png"),
    "gif": _encoded("gif"),
    "animation": _animation(),
    "bmp": _encoded("bmp"),
    "webp": _encoded("webp"),
    "tiff": _encoded("tiff"),
}
FIXED = [
    b"",
    b"\x00",
    SVG,
    b"<html></html>",
    b"%PDF-1.7",
    b"\xff\xd8\xff",
    b"\xff\xd8" + b"\xff" * 1000,
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"BM" + b"\xff" * 60,
    b"\xff\x0a" + bytes(50),
    bomb(900, 900),
    bomb(20_000, 3),
    *(GOOD[kind][: len(GOOD[kind]) // 2] for kind in sorted(GOOD)),
    *GOOD.values(),
]
# Where each kind keeps its width and height, and how.
_SIZES = {"png": (16, ">II"), "gif": (6, "<HH"), "bmp": (18, "<ii")}


@strategies.composite
def mutated(draw, sources):
    """Strategy: one of some byte strings, with a few changes."""
    data = bytearray(draw(strategies.sampled_from(sources)))
    for _ in range(draw(strategies.integers(1, 4))):
        if not data:
            break
        at = draw(strategies.integers(0, len(data) - 1))
        how = draw(strategies.sampled_from(["set", "cut", "drop", "put", "twice"]))
        if how == "set":
            data[at] = draw(strategies.integers(0, 255))
        elif how == "cut":
            del data[at:]
        elif how == "drop":
            del data[at : at + draw(strategies.integers(1, 9))]
        elif how == "put":
            data[at:at] = draw(strategies.binary(max_size=9))
        else:
            data[at:at] = data[at : at + 64]
    return bytes(data)


@strategies.composite
def _lying(draw):
    """Strategy: an image whose header declares another size."""
    kind = draw(strategies.sampled_from(sorted(_SIZES)))
    at, form = _SIZES[kind]
    data = bytearray(GOOD[kind])
    most = 65535 if "H" in form else 2**31 - 1
    sizes = strategies.sampled_from([0, 1, 16, 18, 900, 4000, 65535, most])
    struct.pack_into(form, data, at, draw(sizes), draw(sizes))
    if kind == "png":  # with a right check sum, so that decoders believe it
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def hostile():
    """Strategy: an image as somebody might send it."""
    return strategies.one_of(
        strategies.sampled_from(FIXED),
        mutated(list(GOOD.values())),
        _lying(),
        strategies.binary(max_size=200),
    )
