"""Turns all that a user may pass as images into batches that a signature takes."""

import dataclasses
import io
import itertools

import numpy as np

from tfembed.formats.image_files import MissingReader, UnreadableImage, as_decodable
from tfembed.formats.image_header import declared_size
from tfembed.serving.image_kinds import (
    contents,
    is_unordered,
    kind_of,
    name_of,
    plain,
)

_SIZED = (list, tuple, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some of the images, in order.

    Attributes:
        kind: `"bytes"`, `"images"` or `"embeddings"`.
        values: List of bytes, or a float32 array with one row an image.
        start: How many images were before them.
    """

    kind: str
    values: object
    start: int

    def __len__(self):
        return len(self.values)

    @property
    def stop(self):
        return self.start + len(self.values)


class Images:
    """Images, read a batch at a time.

    Args:
        images: One image or many of one kind: paths of image files; their contents, as
            bytes, memoryviews or open files; Pillow's pictures; or arrays, of NumPy or
            another library, TensorFlow's tensors among them, `(height, width,
            channels)` of values 0 to 255. One array `(batch, height, width, channels)`
            holds many; where there is one channel, its axis may be missing. Many are a
            list, an array, or any other iterable in an order, such as a generator,
            which is read as far as a batch needs.

    Attributes:
        total: How many there are, or None where that cannot be known yet.
        takes_shape: Whether `batches` needs the model's size, as arrays do.

    Raises:
        TypeError: If `images` is something else.
        ValueError: If there is none.
    """

    def __init__(self, images):
        self._whole = None
        images = plain(images)
        if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
            images = images.tolist()
        if isinstance(images, np.ndarray):
            self._whole = images
            self._kind, self.total = "array", None
            return
        if is_unordered(images):
            raise _not_images(f"{type(images).__name__}, which has no order")
        if kind_of(images) is not None:
            images = [images]
        if isinstance(images, _SIZED):
            _check_one_kind(list(images))
        try:
            iterator = iter(images)
        except TypeError:
            raise _not_images(type(images).__name__) from None
        try:
            first = plain(next(iterator))
        except StopIteration:
            raise ValueError(
                "`images` must hold at least one image. Received: none."
            ) from None
        self._kind = kind_of(first)
        if self._kind is None:
            raise _not_images(type(first).__name__)
        self._items = itertools.chain([first], map(plain, iterator))
        self._first = first
        self.total = len(images) if hasattr(images, "__len__") else None
        if self._kind == "array":
            self.total = None  # an array may hold many

    @property
    def takes_shape(self):
        return self._kind == "array"

    def fits(self, shape):
        """Whether the first array is of the model's size, or a batch of that."""
        first = self._first if self._whole is None else self._whole
        return _batched(first, shape) is not None

    def batches(self, shape, size, most_bytes, max_pixels):
        """Yields the images as `Batch`es.

        Args:
            shape: The model's `(height, width, channels)`; None is any size. Used for
                arrays alone.
            size: The most images of a batch.
            most_bytes: The most bytes of a batch, unless one image has more.
            max_pixels: The most pixels that an encoded image may declare, or None.

        Raises:
            TypeError: If an image is of another kind than the first.
            ValueError: If a file cannot be read, an array does not fit the model, or
                an image declares too many pixels.
        """
        if self._whole is not None:
            batch = _checked_shape(self._whole, shape)
            self.total = len(batch)
            if not len(batch):
                raise ValueError(
                    "`images` must hold at least one image. Received: none."
                )
            row_bytes = max(4 * int(np.prod(batch.shape[1:])), 1)
            step = max(1, min(size, most_bytes // row_bytes))
            for start in range(0, len(batch), step):
                yield Batch("images", _pixels(batch[start : start + step]), start)
            return
        one_by_one = self._rows(shape) if self.takes_shape else self._files(max_pixels)
        start, held, waiting = 0, 0, []
        for value in one_by_one:
            length = value.nbytes if self.takes_shape else len(value)
            if waiting and (len(waiting) == size or held + length > most_bytes):
                yield self._batch(waiting, start)
                start, held, waiting = start + len(waiting), 0, []
            waiting.append(value)
            held += length
        yield self._batch(waiting, start)

    def _batch(self, values, start):
        if self.takes_shape:
            return Batch("images", np.stack(values), start)
        return Batch("bytes", values, start)

    def _rows(self, shape):
        """Yields each image of arrays that may hold several."""
        count = 0
        for item in self._items:
            self._check(item)
            for row in _pixels(_checked_shape(item, shape)):
                count += 1
                yield row
        if not count:
            raise ValueError("`images` must hold at least one image. Received: none.")

    def _files(self, max_pixels):
        """Yields the bytes of each file."""
        for index, item in enumerate(self._items):
            self._check(item)
            data, name = contents(item, index), name_of(item, index)
            _check_declared(data, name, max_pixels)
            yield _as_sent(data, name)

    def _check(self, item):
        if kind_of(item) != self._kind:
            raise _not_images(f"{type(self._first).__name__}, {type(item).__name__}")


class EmbeddingQueries:
    """Embeddings to search with, a batch at a time; as `Images`.

    Args:
        embeddings: float `(batch, d)`, or `(d,)` for one.

    Raises:
        TypeError: If they are no array of numbers.
        ValueError: If they have another shape, or none.
    """

    takes_shape = False

    def __init__(self, embeddings):
        try:
            array = np.asarray(embeddings)
        except ValueError:
            array = np.empty(0, object)
        if array.dtype.kind not in "uif":
            raise TypeError(
                "`embeddings` must be an array of floats (batch, d). "
                f"Received: dtype={array.dtype}."
            )
        array = array[None] if array.ndim == 1 else array
        if array.ndim != 2 or not array.size:
            raise ValueError(
                "`embeddings` must have the shape (batch, d), at least one. "
                f"Received: shape={np.shape(embeddings)}."
            )
        self._array = array
        self.total = len(array)

    def batches(self, shape, size, most_bytes, max_pixels):
        """Yields `Batch`es; `shape` and `max_pixels` are of no meaning here."""
        del shape, max_pixels
        step = max(1, min(size, most_bytes // (4 * self._array.shape[1])))
        for start in range(0, len(self._array), step):
            rows = np.asarray(self._array[start : start + step], np.float32)
            yield Batch("embeddings", rows, start)


def encode_png(batch):
    """Encodes float32 images of whole numbers from 0 to 255 as PNG files.

    Raises:
        ValueError: If the numbers are not whole.
    """
    from PIL import Image

    pixels = batch.astype(np.uint8)
    if not np.array_equal(pixels, batch):
        raise ValueError(
            "Arrays to classify are sent as PNG files, so they must hold whole numbers "
            "from 0 to 255. Received: fractions. Round them, or send paths or bytes."
        )
    files = []
    for image in pixels:
        buffer = io.BytesIO()
        plain = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(plain).save(buffer, "PNG", compress_level=1)
        files.append(buffer.getvalue())
    return files


def _check_one_kind(items):
    kinds = {kind_of(plain(item)) for item in items}
    if len(kinds) > 1 or None in kinds:
        names = sorted({type(item).__name__ for item in items})
        raise _not_images("a list of " + ", ".join(names))


def _as_sent(data, name):
    """Returns what every export reads; what nothing reads goes as it is, to be told."""
    try:
        return as_decodable(data, max_pixels=None)
    except MissingReader as error:
        raise ValueError(
            "`images` must be of formats that can be read here: what the model does "
            f"not read is sent as PNG. Received: {name}. {error}."
        ) from error
    except UnreadableImage:
        return data


def _check_declared(data, name, max_pixels):
    """Refuses what no server could leave out: it has to make room for the pixels."""
    width, height = declared_size(data)
    if max_pixels is not None and width * height > max_pixels:
        raise ValueError(
            f"An image must have at most {max_pixels / 1e6:g} million pixels "
            "(`max_megapixels`): a server may refuse the whole request for a larger "
            f"one. Received: {name}, which declares {width} x {height}. Make it "
            "smaller, or leave it out."
        )


def _checked_shape(array, shape):
    """Returns a view with a batch axis and a channel axis."""
    if array.dtype.kind not in "uif":
        raise TypeError(
            "An array of images must be of integers or floats from 0 to 255. "
            f"Received: dtype={array.dtype}."
        )
    batch = _batched(array, shape)
    if batch is None:
        raise ValueError(
            f"An array of images must be of the model's size {_shown(shape)}, or a "
            f"batch of that. Received: shape={array.shape}. Resize it, or send paths "
            "or the bytes of image files, which the model resizes itself."
        )
    return batch


def _pixels(batch):
    """Returns a batch in float32; the values are checked."""
    if not len(batch):
        return np.zeros(batch.shape, np.float32)
    batch = np.asarray(batch, np.float32)
    low, high = batch.min(), batch.max()
    if not (low >= 0.0 and high <= 255.0):  # false for NaN
        raise ValueError(
            "An array of images must hold values from 0 to 255. "
            f"Received: values from {low} to {high}."
        )
    return batch


def _batched(array, shape):
    """Adds the missing axes; None if the array does not fit."""
    if shape[-1] in (1, None):
        if _fits(array.shape, shape[:-1]):
            return array[None, ..., None]
        if _fits(array.shape[1:], shape[:-1]) and not _fits(array.shape, shape):
            return array[..., None]
    if _fits(array.shape, shape):
        return array[None]
    return array if _fits(array.shape[1:], shape) else None


def _fits(got, wanted):
    return len(got) == len(wanted) and all(
        size in (None, here) for here, size in zip(got, wanted)
    )


def _shown(shape):
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def _not_images(received):
    return TypeError(
        "`images` must be paths, bytes, open files, Pillow's pictures or arrays, one "
        "or many in an order, all of one kind. "
        f"Received: {received}."
    )
