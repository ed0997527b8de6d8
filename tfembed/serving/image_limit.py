"""Refuses images by what their headers declare, before anything is decoded.

A file of a few bytes can declare a billion pixels, and decoding it takes their memory.
The header tells: nothing here decodes.
"""

import struct

from tfembed.serving.status import invalid_argument

# JPEG: the markers of frames, which hold the size, and those without a length.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}


def check_pixels(name, values, limit):
    """Refuses a tensor with an image that declares too many pixels.

    Args:
        name: Name of the input.
        values: `np.ndarray`; only arrays of bytes are looked at. They may be image
            files, or serialized `tf.Example`s with image files in them.
        limit: The most pixels that are allowed.

    Raises:
        StatusError: INVALID_ARGUMENT, with a sentence.
    """
    if values.dtype.kind not in "OS":
        return
    for row, value in enumerate(values.ravel()):
        for image in _images(value, name):
            width, height = declared_size(image)
            if width * height > limit:
                raise invalid_argument(
                    f"Images must have at most {limit / 1e6:g} million pixels "
                    "(--max-image-megapixels). Received: one that declares "
                    f"{width} x {height}, item {row} of the input {name!r}. "
                    "Send it smaller."
                )


def declared_size(data):
    """Reads the size that an encoded image declares.

    Args:
        data: The bytes of a JPEG, PNG, GIF, BMP or WebP file, or of anything else.

    Returns:
        `(width, height)`; `(0, 0)` where the bytes declare no size.
    """
    for magic, read in _READERS:
        if data.startswith(magic):
            try:
                return read(data)
            except (struct.error, IndexError):
                break  # cut short: no decoder gets further either
    return 0, 0


def _images(value, name):
    """Yields the values that may be images: itself, or the bytes of an Example."""
    if isinstance(value, str):
        return
    yield value
    if name != "inputs" or not value:
        return
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        features = example_pb2.Example.FromString(value).features.feature
    except DecodeError:
        return
    for feature in features.values():
        yield from feature.bytes_list.value


def _png(data):
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg(data):
    """Walks from marker to marker to the first frame."""
    at = 2
    while True:
        at = data.index(b"\xff", at) if b"\xff" in data[at:] else len(data)
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 3 : at + 7])
            return width, height
        if marker and marker not in _JPEG_BARE:
            at += max(struct.unpack(">H", data[at : at + 2])[0], 2)


def _gif(data):
    """Looks at the canvas and at every frame: decoders make room for the largest."""
    width, height, flags = struct.unpack("<HHB", data[6:11])
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:
            at = _after_blocks(data, at + 2)
        elif data[at] == 0x2C:
            piece = data[at + 1 : at + 10]
            if len(piece) < 9:
                break
            _, _, wide, high, flags = struct.unpack("<HHHHB", piece)
            width, height = max(width, wide), max(height, high)
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
            at = _after_blocks(data, at)
        else:
            break
    return width, height


def _after_blocks(data, at):
    """Skips the blocks of a GIF, each of which begins with its length."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


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


_READERS = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF8", _gif),
    (b"BM", _bmp),
    (b"RIFF", _webp),
)
