"""Images that no honest client sends: one set for all that look at encoded images.

`HEADERS` are those whose headers are long, damaged or lie, by name; `FIXED` are they
and more; `hostile()` draws as many others as are wanted.
"""

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


def tiff(value=6, order=">", entries=1, at=0, kind=3, count=1, magic=42, place=8):
    """Returns an EXIF directory whose entry `at` is the orientation."""
    mark = b"MM" if order == ">" else b"II"
    other = struct.pack(order + "HHIHH", 0x010F, 3, 1, 7, 0)
    entry = struct.pack(order + "HHIHH", 0x0112, kind, count, value, 0)
    table = b"".join(entry if row == at else other for row in range(entries))
    head = mark + struct.pack(order + "HI", magic, place)
    return head + struct.pack(order + "H", min(entries, 65535)) + table + bytes(4)


def segment(marker, data):
    """Returns a segment of a JPEG file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(*segments, jpeg=None):
    """Returns a JPEG file with these bytes behind its first marker."""
    jpeg = GOOD["jpeg"] if jpeg is None else jpeg
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def with_chunks(*chunks, png=None, before_data=True):
    """Returns a PNG file with these bytes before its data, or behind it."""
    png = GOOD["png"] if png is None else png
    at = png.index(b"IDAT" if before_data else b"IEND") - 4
    return png[:at] + b"".join(chunks) + png[at:]


def exif(data):
    """Returns the segment of a JPEG file that holds an EXIF directory."""
    return segment(0xE1, b"Exif\0\0" + data)


def damaged_directories():
    """Returns EXIF directories that tell nothing, by name."""
    whole = tiff()
    return {
        "empty": b"",
        "cut": whole[:19],
        "cut in its head": whole[:5],
        "of another order": b"XX" + whole[2:],
        "of another magic": tiff(magic=43),
        "far away": tiff(place=4_000_000_000),
        "in its own head": tiff(place=0),
        "of value 0": tiff(value=0),
        "of value 9": tiff(value=9),
        "of bytes": tiff(kind=1),
        "of two": tiff(count=2),
        "of 65535 entries": whole[:8] + b"\xff\xff" + whole[10:16],
        "behind 1024 entries": tiff(entries=1025, at=1024),
        "without the tag": tiff(entries=3, at=9),
    }


def gif_header(canvas=(3, 2), flags=0):
    """Returns the begin of a GIF file."""
    return b"GIF89a" + struct.pack("<HHBBB", *canvas, flags, 0, 0)


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
_PLAIN_GIF = b",\0\0\0\0\3\0\2\0\x80\0\0\0\xff\xff\xff\2"
# Files whose headers are long for their size, as functions of their bytes.
LONG = {
    "gif: blocks of one and two bytes": lambda size: (
        gif_header() + _PLAIN_GIF + b"\1\0\2\0\0" * (size // 5)
    ),
    "gif: comments of blocks of one byte": lambda size: (
        gif_header() + (b"!\xfe" + b"\1a" * 20 + b"\0") * (size // 43)
    ),
    "gif: comments of blocks of one and two bytes": lambda size: (
        gif_header() + (b"!\xfe" + b"\1a\2bb" * 1000 + b"\0") * (size // 5003)
    ),
    "gif: empty comments": lambda size: gif_header() + b"!\xfe\0" * (size // 3),
    "gif: a comment of blocks of growing length": lambda size: (
        gif_header()
        + b"!\xfe"
        + b"".join(
            bytes([1 + row % 255]) + bytes(1 + row % 255) for row in range(size // 129)
        )
    ),
    "jpeg: bare markers": lambda size: b"\xff\xd8\xff" + b"\xd0\xff" * (size // 2),
    "jpeg: fill bytes": lambda size: b"\xff\xd8" + b"\xff" * size,
    "jpeg: empty segments": lambda size: b"\xff\xd8" + segment(0xFE, b"") * (size // 4),
    "jpeg: no marker": lambda size: b"\xff\xd8\xff\xe0\0\2" + bytes(size),
    "jpeg: an Exif at the end": lambda size: (
        b"\xff\xd8" + segment(0xFE, b"") * (size // 4) + exif(tiff())
    ),
    "png: empty chunks": lambda size: with_chunks(
        png_chunk(b"teSt", b"") * (size // 12), png_chunk(b"eXIf", tiff())
    ),
}
HEADERS = {
    **{name: make(5_100) for name, make in LONG.items()},
    **{
        f"jpeg: EXIF {name}": with_segments(exif(data))
        for name, data in damaged_directories().items()
    },
    **{
        f"png: EXIF {name}": with_chunks(png_chunk(b"eXIf", data))
        for name, data in damaged_directories().items()
    },
    "jpeg: EXIF of no length": with_segments(b"\xff\xe1\0\0Exif\0\0" + tiff()),
    "jpeg: EXIF longer than the file": with_segments(b"\xff\xe1\xff\xffExif\0\0"),
    "png: a chunk longer than the file": with_chunks(b"\xff\xff\xff\xffeXIf"),
    "webp of 38 bytes": (
        b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f"
        + struct.pack("<I", 8999 | 8999 << 14)
        + bytes(13)
    ),
    "gif: a canvas of 60000": gif_header((60000, 60000)) + b";" + bytes(20),
    "gif: a frame of 60000": gif_header() + b",\0\0\0\0`\xea`\xea\0\2\0;",
    "gif: a frame far away": gif_header() + b",\xff\xff\xff\xff\1\0\1\0\0\2\0;",
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
    *HEADERS.values(),
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
