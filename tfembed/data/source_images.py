"""All images of a source as one numbered row, whatever its parts."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np

from tfembed.data.fingerprint import fingerprint
from tfembed.data.folder import FolderSplit
from tfembed.data.image_stream import stream_images
from tfembed.data.request import Request
from tfembed.data.sources import find_source
from tfembed.data.split import Split
from tfembed.hints import PathLike
from tfembed.ops.image_formats import DECODER_VERSION
from tfembed.ops.resize import check_resize

__all__ = ["SourceImages"]

_AT_ONCE = 1 << 16  # texts


class SourceImages:
    """The images of a source, to be read once and in order.

    >>> from tfembed.data import SourceImages
    >>> images = SourceImages("synthetic", "test", (28, 28, 1), limit=10)
    >>> images.size
    10
    >>> for rows, pixels, skipped in images.stream(0, 10, batch_size=5):
    ...     print(rows, pixels.shape)
    [0 1 2 3 4] (5, 28, 28, 1)
    [5 6 7 8 9] (5, 28, 28, 1)

    Args:
        source: A source of `tfembed.data`, such as `folder:PATH`, or a `Split`.
        split: `"all"`, or `"train"`, `"validation"` or `"test"` of a source that is
            divided so.
        image_shape: `(height, width, channels)` that images are brought to.
        data_dir: As in `load_images`.
        strict: Raise when a source that decodes its images while it looks for them
            (`tfds`) finds one that does not.
        limit: Take so many of the images, a choice that is the same each time; `None`
            for all.
        resize: How images are brought to `image_shape`, as `decode_image` takes it;
            `None`: as the `Split` does, or by `"squash"`.

    Attributes:
        name: The source, with the whole of a path that it has.
        class_names: Tuple of strings, the name of each label; may be empty.
        size: Number of images.
        resize: How images are brought to `image_shape`.
        decoder: The version of the decoder that reads its files; None where it has
            pixels.
        skipped: List of `[id, reason]` of images that have no number.
        taken: What of the source was taken as what, in words; may be empty.

    Raises:
        ValueError: If there is no such source, or no such part of it.
    """

    def __init__(
        self,
        source: str | Split,
        split: str,
        image_shape: tuple[int, int, int],
        data_dir: PathLike | None = None,
        strict: bool = False,
        limit: int | None = None,
        resize: str | None = None,
    ) -> None:
        self.class_names, self.name, self.taken = (), "a Split", ""
        self.resize = resize or getattr(source, "resize", "squash")
        check_resize(self.resize)
        if isinstance(source, Split):
            self._parts = [source]
        else:
            self.name = _absolute(source)
            self._parts, self.class_names, self.taken = _parts_of(
                source, split, image_shape, data_dir, strict, self.resize
            )
        self.image_shape = image_shape
        if limit is not None:
            self._parts = _limited(self._parts, limit)
        self.size = sum(part.size for part in self._parts)
        files = any(isinstance(part, FolderSplit) for part in self._parts)
        self.decoder = DECODER_VERSION if files else None
        # What a source decoded while it was found, and left out, has no number.
        self.skipped = [list(pair) for part in self._parts for pair in part.skipped]

    @property
    def parts(self) -> list[Split]:
        """The `Split`s that it is made of, in order."""
        return list(self._parts)

    def fingerprint(self) -> str:
        """Returns a digest of what it holds; reads every image once for it."""
        return fingerprint(self._parts)

    def stream(self, first: int, last: int, batch_size: int) -> Any:
        """Reads the images from `first` to before `last`, as `stream_images` does."""
        before = 0
        for part in self._parts:
            rows = np.arange(max(first, before), min(last, before + part.size)) - before
            for some, pixels, skipped in stream_images(
                part, rows, batch_size, self.image_shape, self.resize
            ):
                moved = [(row + before, reason) for row, reason in skipped]
                yield some + before, pixels, moved
            before += part.size

    def ids(self, rows: np.ndarray) -> np.ndarray:
        """Returns the ids of images, strings `[n]`, of ascending rows."""
        return self._pick([part.names for part in self._parts], rows)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Returns the labels of images, int64 `[n]`, -1 where there are none."""
        labels = [
            np.full(part.size, -1) if part.labels is None else part.labels
            for part in self._parts
        ]
        return self._pick(labels, rows)

    def metadata(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what else a list says of images: texts `[n]` by a column's name."""
        return {
            name: self._pick([_column(part, name) for part in self._parts], rows)
            for name in self._columns()
        }

    def metadata_digest(self) -> str | None:
        """Returns a digest of all that `metadata` has; `None` where it has nothing."""
        digest, names = hashlib.sha256(), self._columns()
        for name in names:
            digest.update(json.dumps(name).encode())
            for part in self._parts:
                values = _column(part, name)
                for first in range(0, len(values), _AT_ONCE):
                    some = values[first : first + _AT_ONCE].tolist()
                    digest.update(json.dumps(some).encode())
        return digest.hexdigest() if names else None

    def _columns(self):
        return list(
            dict.fromkeys(name for part in self._parts for name in part.metadata)
        )

    def _pick(self, arrays, rows):
        rows, found, before = np.asarray(rows, np.int64), [], 0
        for values in arrays:
            inside = rows[(rows >= before) & (rows < before + len(values))]
            found.append(values[inside - before])
            before += len(values)
        return np.concatenate(found)


def _column(part, name):
    """A column of a part of a source; empty texts where it has none of that name."""
    found = part.metadata.get(name)
    return np.full(part.size, "") if found is None else found


def _limited(parts, limit):
    """A seeded choice among all images, in their order: folders are sorted by class."""
    starts = np.cumsum([0, *(part.size for part in parts)])
    rows = np.sort(np.random.default_rng(0).permutation(starts[-1])[:limit])
    return [
        part.take(rows[(rows >= first) & (rows < first + part.size)] - first)
        for part, first in zip(parts, starts)
    ]


def _absolute(source):
    """Returns a source's name, with the whole of a path that it has."""
    kind, colon, path = str(source).partition(":")
    if kind in ("folder", "csv", "npz") and colon:
        return f"{kind}:{os.path.abspath(os.path.expanduser(path))}"
    return str(source)


def _parts_of(source, split, image_shape, data_dir, strict, resize):
    _, find, argument = find_source(source)
    found = find(
        argument,
        Request(
            data_dir=data_dir,
            image_size=tuple(image_shape[:2]),
            channels=image_shape[2],
            strict=bool(strict),
            resize=resize,
        ),
    )
    parts = {
        name: part
        for name in ("train", "validation", "test")
        if (part := getattr(found, name)) is not None
    }
    if split != "all" and (split not in parts or len(parts) == 1):
        raise ValueError(
            "`split` must be 'all', or a part of its own that the source has. "
            f"Received: split={split!r}, source={str(source)!r}, which "
            + (f"has {', '.join(parts)}." if len(parts) > 1 else "is not divided.")
        )
    chosen = list(parts.values()) if split == "all" else [parts[split]]
    return chosen, found.class_names or (), found.taken
