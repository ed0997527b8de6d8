"""Image files as the graph reads them: what Pillow reads besides becomes PNG.

    JPEG, PNG, GIF, BMP      go to the graph as they are
    WebP, TIFF, AVIF, JPEG 2000, BMP of 1, 4 or 16 bits or with runs
                             are read by Pillow, turned upright, written as PNG
    HEIC                     the same, where the package pillow-heif is installed

The format is told by the first bytes, never by the name. Transparency is kept, for the
graph to blend; of a file of several pictures the first is taken.
"""

import functools
import importlib
import io
import os

from tfembed.formats.image_header import (
    HEAD,
    declared_size,
    image_format,
    is_decodable,
)
from tfembed.ops.image_formats import ENDINGS, MAX_PIXELS

__all__ = [
    "ENDINGS",
    "MissingReader",
    "UnreadableImage",
    "as_decodable",
    "name_some",
    "part_images",
    "read_pixels",
]

_NAMED = 5
# Pillow's names; what is not named here it is not asked to read, whatever it could.
_PILLOW = {
    "BMP": ("BMP", "DIB"),
    "WebP": ("WEBP",),
    "TIFF": ("TIFF",),
    "AVIF": ("AVIF",),
    "JPEG 2000": ("JPEG2000",),
    "HEIC": ("HEIF", "AVIF"),
}
# What else may tell the orientation, and is not asked.
_OTHER_TELLERS = ("xmp", "XML:com.adobe.xmp", "Raw profile type exif")


class UnreadableImage(ValueError):
    """An image that cannot be read; the message is the reason, in a few words."""


class MissingReader(UnreadableImage):
    """An image whose reader is not installed; the message names it."""


def as_decodable(data, max_pixels=MAX_PIXELS, compress_level=1):
    """Returns an image as a file that the graph decodes.

    Args:
        data: The bytes of an image file.
        max_pixels: Height times width above which an image is refused; None leaves
            that to the graph, for what the graph reads.
        compress_level: Of the PNG that another format becomes, 0 to 9.

    Returns:
        The bytes as they came, where the graph reads that format; else those of a PNG
        file.

    Raises:
        UnreadableImage: If it is of no known format, declares too many pixels, or, of
            a format that the graph does not read, does not decode.
        MissingReader: If what reads it is not installed.
    """
    found = image_format(data)
    if found is None:
        raise UnreadableImage("it is not an image of a known format")
    _check_pixels(declared_size(data), max_pixels)
    if is_decodable(data):
        return data
    _check_pixels(declared_size(data), MAX_PIXELS)
    with _opened(data, found) as image:
        from PIL import ImageOps

        _check_pixels(image.size, min(max_pixels or MAX_PIXELS, MAX_PIXELS))
        try:
            buffer = io.BytesIO()
            _plain(ImageOps.exif_transpose(image)).save(
                buffer, "PNG", compress_level=compress_level
            )
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise UnreadableImage(_reason(found, error)) from error
    return buffer.getvalue()


def read_pixels(data):
    """Decodes an image as a model sees it, by the same decoder.

    Args:
        data: The bytes of an image file.

    Returns:
        uint8 array `[height, width, 3]`.

    Raises:
        UnreadableImage: If it cannot be read.
    """
    data = as_decodable(data, compress_level=0)
    import tensorflow as tf

    from tfembed.ops.images import decode_rgb

    try:
        with tf.device("CPU:0"):
            return decode_rgb(data).numpy()
    except tf.errors.OpError as error:
        raise UnreadableImage(f"it does not decode ({error.message})") from error


def part_images(root, names):
    """Parts files into images and others.

    An image is what has the ending of one, and what begins as one whatever its name.

    Args:
        root: A folder.
        names: Paths of files below it.

    Returns:
        `(images, others)`, lists of these names in their order.
    """
    images, others = [], []
    for name in names:
        found = _looks_like_an_image(os.path.join(root, name))
        (images if found else others).append(name)
    return images, others


def name_some(names, most=_NAMED):
    """Returns the first names in a sentence: `a, b, c and 7 more`."""
    names = [str(name) for name in names]
    said = ", ".join(names[:most])
    more = len(names) - most
    return f"{said} and {more:,} more" if more > 0 else said


def _looks_like_an_image(path):
    if path.lower().endswith(ENDINGS):
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    # Two letters, with which a text may begin, are not enough.
    found = image_format(head)
    return found is not None and found.name != "BMP"


def _check_pixels(size, most):
    width, height = size
    if most is not None and width * height > most:
        raise UnreadableImage(
            f"it declares {width} x {height}, more than {most / 1e6:g} million pixels"
        )


def _opened(data, found):
    """Opens a file with Pillow; decodes nothing yet."""
    readers = _readers(found)
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=readers)
    except Image.DecompressionBombError as error:
        raise UnreadableImage("it declares too many pixels") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage(_reason(found, error)) from error
    for name in _OTHER_TELLERS:
        image.info.pop(name, None)
    return image


@functools.cache
def _readers(found):
    """Pillow's readers of a format, those of another package made known to it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingReader(
            f"{found.name} is read by Pillow, which is missing ({error}). Install it "
            "with `pip install 'tfembed[images]'`"
        ) from error
    if found.package is not None:
        try:
            module = importlib.import_module(found.package.replace("-", "_"))
        except ImportError as error:
            raise MissingReader(
                f"{found.name} is read by the package {found.package}, which is "
                f"missing ({error}). Install it with `pip install {found.package}`"
            ) from error
        module.register_heif_opener()
    Image.init()
    readers = [
        one for one in _PILLOW.get(found.name, (found.name,)) if one in Image.OPEN
    ]
    if not readers:
        raise MissingReader(
            f"{found.name} is not read by the Pillow that is installed. Install a "
            "newer one with `pip install -U pillow`"
        )
    return readers


def _plain(image):
    """Returns a picture as PNG holds it: gray, RGB or RGBA, 8 bits each."""
    if image.mode.startswith("I;16"):
        import numpy as np
        from PIL import Image

        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("F", "I"):
        raise ValueError(
            "its values have neither 8 nor 16 bits, so none of them is white"
        )
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    clear = image.mode in ("RGBA", "RGBa", "LA", "La", "PA")
    clear |= "transparency" in image.info
    return image.convert("RGBA" if clear else "RGB")


def _reason(found, error):
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"it does not decode as {found.name} ({lines[0]})"
