"""Thumbnails as they stand in a page: data URIs, and many of them in one sprite."""

import base64
import io

import numpy as np


def data_uri(pixels, side):
    """Encodes a picture for a page.

    Args:
        pixels: uint8 `(height, width, 1, 3 or 4)`.
        side: Most pixels of the longer side; a smaller picture stays as it is.

    Returns:
        `"data:image/...;base64,..."`.
    """
    return _encode(shrink(pixels, side))


def shrink(pixels, side):
    """Returns a Pillow image with no side longer than `side`."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def sprite(pictures, side, fill=238):
    """Lays pictures into one, in rows of square cells.

    Args:
        pictures: List of uint8 `(height, width, channels)`, or None for an empty cell.
        side: Width and height of a cell.
        fill: Gray of what no picture covers.

    Returns:
        A Pillow image, and the number of columns.
    """
    from PIL import Image

    columns = max(1, int(np.ceil(np.sqrt(len(pictures)))))
    rows = max(1, -(-len(pictures) // columns))
    gray = all(each is None or each.shape[-1] == 1 for each in pictures)
    size = columns * side, rows * side
    sheet = Image.new("L", size, fill) if gray else Image.new("RGB", size, (fill,) * 3)
    for number, pixels in enumerate(pictures):
        if pixels is None:
            continue
        image = shrink(pixels, side)
        row, column = divmod(number, columns)
        left = column * side + (side - image.width) // 2
        top = row * side + (side - image.height) // 2
        sheet.paste(image, (left, top))
    return sheet, columns


def sprite_uri(sheet):
    """Encodes a sprite."""
    return _encode(sheet)


def _encode(image):
    """PNG, or JPEG where that is smaller by far and the picture not tiny."""
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    kind, content = "png", png.getvalue()
    if max(image.size) > 48:
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=82)
        if len(jpeg.getvalue()) < 0.7 * len(content):
            kind, content = "jpeg", jpeg.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
