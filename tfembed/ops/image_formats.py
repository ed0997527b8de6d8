"""The formats of images: by which bytes each is told, who reads it, and the limits.

One table for all that look at encoded images: the decoder in the graph
(`tfembed.ops.images`) and the parser in Python (`tfembed.formats.image_header`). What
the graph reads is decoded there, in training and served alike. The rest is made into
PNG by Pillow, by the loaders and the client, before it gets there
(`tfembed.formats.image_files`).
"""

import typing

__all__ = [
    "BMP_BITS",
    "BMP_HEADERS",
    "BMP_MASKS",
    "DECODER_VERSION",
    "ENDINGS",
    "FORMATS",
    "IN_GRAPH",
    "MAX_ENTRIES",
    "MAX_PIXELS",
    "MAX_SEGMENTS",
    "RESIZES",
    "ImageFormat",
]

DECODER_VERSION = 2
"""Goes up whenever some image decodes to other pixels: what was made before is stale.

1: orientation and transparency ignored, palettes of BMP ignored. 2: all three honoured.
"""
MAX_PIXELS = 64_000_000
"""Images that declare more than this many pixels are not decoded, by default."""
BMP_HEADERS = (40, 52, 56, 64, 108, 124)
"""Lengths of those headers of a BMP that the graph reads."""
BMP_BITS = (8, 24, 32)
"""Bits a pixel of those BMPs that the graph reads."""
BMP_MASKS = (0xFF0000, 0xFF00, 0xFF)
"""Where red, green and blue stand in a pixel of 32 bits, as the graph reads it."""
MAX_SEGMENTS = 4096
"""Parts of a header that are looked at: segments of a JPEG, chunks of a PNG, leaps."""
MAX_ENTRIES = 1024
"""Entries of an EXIF directory that are looked at."""
RESIZES = ("squash", "crop", "pad")
"""How a picture may be brought to the size of the network (`tfembed.ops.resize`)."""


class ImageFormat(typing.NamedTuple):
    """A format.

    Attributes:
        name: As people write it.
        endings: Of file names, in lower case.
        magics: How a file may begin: each a tuple of `(offset, bytes)`, which must all
            be there.
        in_graph: Whether the graph reads it.
        package: The package beside Pillow that reads it, if there is one.
    """

    name: str
    endings: tuple
    magics: tuple
    in_graph: bool = False
    package: typing.Optional[str] = None


def _starts(*prefixes):
    return tuple(((0, prefix),) for prefix in prefixes)


def _brands(*brands):
    return tuple(((4, b"ftyp" + brand),) for brand in brands)


FORMATS = (
    ImageFormat("JPEG", (".jpg", ".jpeg", ".jpe"), _starts(b"\xff\xd8\xff"), True),
    ImageFormat("PNG", (".png",), _starts(b"\x89PNG\r\n\x1a\n"), True),
    ImageFormat("GIF", (".gif",), _starts(b"GIF87a", b"GIF89a"), True),
    ImageFormat("BMP", (".bmp", ".dib"), _starts(b"BM"), True),
    ImageFormat("WebP", (".webp",), (((0, b"RIFF"), (8, b"WEBP")),)),
    ImageFormat(
        "TIFF",
        (".tif", ".tiff"),
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ),
    ImageFormat("AVIF", (".avif",), _brands(b"avif", b"avis")),
    ImageFormat(
        "JPEG 2000",
        (".jp2", ".j2k", ".jpx"),
        _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    ),
    ImageFormat(
        "HEIC",
        (".heic", ".heif"),
        _brands(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"),
        package="pillow-heif",
    ),
)
IN_GRAPH = tuple(one for one in FORMATS if one.in_graph)
"""The formats that the graph reads: JPEG, PNG, GIF and BMP, in this order."""
ENDINGS = tuple(ending for one in FORMATS for ending in one.endings)
"""The endings of all formats, in lower case."""
