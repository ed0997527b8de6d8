"""What the header of an encoded image says, in Python, before anything is decoded.

The table of formats is that of the graph's parsers, `tfembed.ops.declared_size` and
`tfembed.ops.gif_frame`, and so are the rules; tests hold the two against each other.
Each walk goes from segment to segment and ends after a fixed number of them: no file of
whatever size takes long.
"""

import struct

from tfembed.ops.image_formats import BMP_BITS, BMP_HEADERS, BMP_MASKS, FORMATS

__all__ = ["HEAD", "declared_size", "image_format", "is_decodable"]

HEAD = 16
"""As many bytes of a file tell its format."""

# Enough for every real file, and soon over.
_MOST_STEPS = 1 << 16
_LARGEST_JPEG = (65535, 65535)
# JPEG: the markers of frames, which hold the size, and those without a length.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}


def image_format(data):
    """Tells an image's format by its magic.

    Args:
        data: The bytes of a file, or the first `HEAD` of them.

    Returns:
        An `ImageFormat`, or None.
    """
    for one in FORMATS:
        for magic in one.magics:
            if all(data[at : at + len(part)] == part for at, part in magic):
                return one
    return None


def is_decodable(data):
    """Whether a file is of a kind that the graph reads; it may be damaged still."""
    found = image_format(data)
    if found is None or not found.in_graph:
        return False
    return found.name != "BMP" or _bmp_in_graph(data)


def declared_size(data):
    """Reads the size that an encoded image declares.

    Args:
        data: The bytes of a JPEG, PNG, GIF, BMP or WebP file, or of anything else. Of
            a GIF its canvas counts, which frames may enlarge.

    Returns:
        `(width, height)`, as stored; `(0, 0)` where the bytes declare no size. A JPEG
        that does not come to the point counts as the largest there is.
    """
    found = image_format(data)
    read = _SIZES.get(found.name) if found else None
    try:
        return read(data) if read else (0, 0)
    except (struct.error, IndexError):
        return 0, 0  # cut short: no decoder gets further either


def _bmp_in_graph(data):
    head = data[:70].ljust(70, b"\0")
    (size,) = struct.unpack_from("<i", head, 14)
    bits, compression = struct.unpack_from("<Hi", head, 28)
    if size not in BMP_HEADERS:
        return False
    if compression == 0:
        return bits in BMP_BITS
    usual = struct.unpack_from("<III", head, 54) == BMP_MASKS
    alpha = size < 56 or head[66:70] in (b"\0\0\0\xff", b"\0\0\0\0")
    return compression == 3 and bits == 32 and size != 64 and usual and alpha


def _png(data):
    width, height = struct.unpack(">ii", data[16:24])
    return abs(width), abs(height)


def _jpeg(data):
    """Walks from marker to marker to the first frame."""
    at = 2
    for _ in range(_MOST_STEPS):
        at = data.find(b"\xff", at)
        if at < 0:
            return 0, 0
        marker = data[at + 1]
        at += 1
        if marker == 0xFF:
            continue
        at += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 3 : at + 7])
            return width, height
        if marker and marker not in _JPEG_BARE:
            at += max(struct.unpack(">H", data[at : at + 2])[0], 2)
    return _LARGEST_JPEG


def _gif(data):
    """Looks at the canvas and at the frames: decoders make room for the largest."""
    width, height, flags = struct.unpack("<HHB", data[6:11])
    at = 13 + _table_size(flags)
    steps = 0
    while at < len(data) and steps < _MOST_STEPS:
        if data[at] == 0x21:
            at, taken = _after_blocks(data, at + 2)
        elif data[at] == 0x2C:
            left, top, wide, high, flags = struct.unpack(
                "<HHHHB", data[at + 1 : at + 10].ljust(9, b"\0")
            )
            width, height = max(width, left + wide), max(height, top + high)
            at, taken = _after_blocks(data, at + 11 + _table_size(flags))
        else:
            break
        steps += 1 + taken
    return width, height


def _table_size(flags):
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data, at):
    """Skips the blocks of a GIF, each of which begins with its length."""
    for steps in range(_MOST_STEPS):
        if at >= len(data) or not data[at]:
            return at + 1, steps
        at += 1 + data[at]
    return len(data), _MOST_STEPS


def _bmp(data):
    if struct.unpack("<I", data[14:18])[0] == 12:  # the oldest header
        width, height = struct.unpack("<HH", data[18:22])
    else:
        width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)


def _webp(data):
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", data[26:30]))
    return width, height


_SIZES = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp, "WebP": _webp}
