"""Small pictures beside the page, each a JPEG file by the number of its row."""

import contextlib
import os
import re

import numpy as np

from tfembed.formats.disk import raise_full_disk

__all__ = ["FOLDER", "Thumbnails"]

FOLDER = "thumbnails"
SIDE = 240
_QUALITY = 85


class Thumbnails:
    """Writes small pictures to a folder of the output; what was there before goes.

    Args:
        output: The folder of the page.
        rows: `Rows`.
        pictures: What `tfembed.dedup.pictures` has.
    """

    def __init__(self, output, rows, pictures):
        self._output, self._rows, self._pictures = output, rows, pictures
        folder = os.path.join(output, FOLDER)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise_full_disk(folder, error)
            raise
        for name in os.listdir(folder):
            if re.fullmatch(r"\d+\.jpg", name):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))

    def write(self, row):
        """Writes the small picture of a row.

        Returns:
            `(address, width, height)`, the address from the page; `None` where there is
            no picture.
        """
        (name,) = self._rows.ids([row])
        pixels = self._pictures.pixels(name)
        if pixels is None:
            return None
        import tensorflow as tf

        from tfembed.ops.resize import resize_images

        height, width = pixels.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        with tf.device("CPU:0"):
            small = resize_images(tf.constant(np.asarray(pixels)[None]), size)[0]
            small = tf.cast(tf.clip_by_value(tf.round(small), 0, 255), tf.uint8)
            data = tf.io.encode_jpeg(small, quality=_QUALITY).numpy()
        address = f"{FOLDER}/{int(row)}.jpg"
        path = os.path.join(self._output, address)
        try:
            with open(path, "wb") as file:
                file.write(data)
        except OSError as error:
            raise_full_disk(path, error)
            raise
        return address, size[1], size[0]
