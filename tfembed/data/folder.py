"""Image files in a folder, streamed from disk.

    PATH/CLASS/.../image.jpg      one folder a class
    PATH/image.jpg                flat, without labels
    PATH/train/...  PATH/test/... either of these, split already

What the folders at the top are is found out by their names (`layout.py`). A validation
part (`val`, `valid` or `validation`) is what training is watched by, never what is
reported. Without a test part a seeded tenth of the rest is held out, of each class
where there are classes.
Images are files with the ending of a format that is known (`tfembed.ops.image_formats`)
and those that begin as such; others are named in the log and passed over. Hidden files
are passed over, and links are followed, to each folder once
(`tfembed.formats.folders`). The order is that of the sorted paths, and an image's name
is its path below PATH, so that names mean the same whichever images are chosen.

Every chosen file is decoded once before training (and not again until it changes):
what does not decode is named in the log and left out, and the rest is numbered without
gaps. Images are brought to the wanted size by `tfembed.ops.images.decode_image`, the
function that a served model uses; what that does not read, Pillow does
(`tfembed.formats.image_files`).
"""

import logging
import os

import numpy as np
import tensorflow as tf

from tfembed.data.array_split import as_uint8
from tfembed.data.checked_files import check_files, find_two_sizes
from tfembed.data.decodable import decodable
from tfembed.data.file_digests import file_digests
from tfembed.data.layout import find_layout, split_option
from tfembed.data.request import Source
from tfembed.data.split import Split
from tfembed.formats.folders import check_names, walk
from tfembed.formats.image_files import name_some, part_images
from tfembed.ops.image_formats import ENDINGS
from tfembed.ops.images import decode_image

__all__ = ["FolderSplit", "find"]

_LOG = logging.getLogger(__name__)


def find(argument, request):
    """Lists the folder at the path `argument`; opens no image yet."""
    path, layout = split_option(argument)
    root = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(root):
        raise ValueError(
            "`folder:PATH` must name a folder of images. "
            f"Received: {argument!r}, which is not a folder."
        )
    names = _list(root)
    if not names:
        raise ValueError(
            f"`folder:PATH` must hold images ({' '.join(ENDINGS)}). "
            f"Received: {argument!r}, in which there are none."
        )
    check_names(
        names,
        "`folder:PATH` must hold files and folders whose names are UTF-8: they become "
        f"ids. Received: {argument!r}",
    )
    with os.scandir(root) as entries:
        folders = sorted(
            entry.name
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        )
    found = find_layout(names, folders, layout, argument)
    splits = {
        part: _split(root, files, found.class_names)
        for part, files in found.parts.items()
    }
    return Source(
        splits["train"],
        splits.get("test"),
        found.class_names,
        ordered=True,
        validation=splits.get("validation"),
        taken=found.taken,
    )


def _list(root):
    """The names of the images below `root`, sorted."""
    found = []
    for folder, files in walk(root):
        prefix = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if prefix == "." else f"{prefix}/"
        found += [prefix + file for file in files]
    images, others = part_images(root, sorted(found))
    if others:
        _LOG.warning(
            "Passed over %d files of %s that are not images: %s.",
            len(others),
            root,
            name_some(others),
        )
    return images


def _split(root, listing, class_names):
    labels = None
    if class_names is not None:
        numbers = {name: number for number, name in enumerate(class_names)}
        labels = [numbers[label] for _, label in listing]
    return FolderSplit(root, (None, None, None), labels, [name for name, _ in listing])


class FolderSplit(Split):
    """Images of files, decoded when they are asked for.

    Args:
        root: The folder.
        image_shape: `(height, width, channels)`; `None`s before the files were looked
            into.
        labels: int64 `[n]`, or `None`.
        names: The files' paths below `root`, `[n]`.
        skipped, metadata: As in `Split`.
        resize: How images are brought to `image_shape`, as `decode_image` takes it.
    """

    def __init__(
        self,
        root,
        image_shape,
        labels,
        names,
        skipped=(),
        metadata=None,
        resize="squash",
    ):
        """Keeps names; opens nothing."""
        super().__init__(image_shape, labels, names, skipped, metadata)
        self.root, self.resize = root, resize

    def _with(self, image_shape, rows, skipped, resize=None):
        resize = resize or self.resize
        labels = None if self.labels is None else self.labels[rows]
        names = self.names[rows]
        metadata = {name: values[rows] for name, values in self.metadata.items()}
        return FolderSplit(
            self.root, image_shape, labels, names, skipped, metadata, resize
        )

    def take(self, rows):
        """Returns a split of the images `rows`, renumbered."""
        return self._with(self.image_shape, rows, self.skipped)

    def two_sizes(self):
        """Returns two images that differ in size, as `find_two_sizes`, or `None`."""
        return find_two_sizes(self.root, self.names.tolist())

    def checked(self, request):
        """Returns a split of the images that decode, with the size they share."""
        names = self.names.tolist()
        skipped, sizes, gray = check_files(self.root, names, request.strict)
        good = np.array([name not in skipped for name in names], bool)
        size = next(iter(sizes)) if len(sizes) == 1 else (None, None)
        shape = (*size, 1 if gray else 3)
        skipped = [*self.skipped, *skipped.items()]
        return self._with(shape, np.flatnonzero(good), skipped)

    def converted(self, image_shape, resize="squash"):
        """Returns a split whose images are decoded to `image_shape`."""
        rows = np.arange(self.size)
        return self._with(tuple(image_shape), rows, self.skipped, resize)

    def contents(self):
        """Digests the bytes of each file; what was read before is not read again."""
        return file_digests(self.root, self.names.tolist())

    def read(self, ids):
        """Reads images into memory: uint8 `[n, height, width, channels]`."""
        ids = np.asarray(ids, np.int64)
        if not len(ids):
            return np.empty((0, *self.image_shape), np.uint8)
        with tf.device("CPU:0"):
            dataset = self._images(tf.data.Dataset.from_tensor_slices(ids))
            images = [as_uint8(one["images"]) for one in dataset.as_numpy_iterator()]
        return np.stack(images)

    def _load(self, batches):
        (batch_size,) = batches.element_spec.shape
        images = self._images(batches.unbatch())
        return images.batch(batch_size, drop_remainder=True)

    def _images(self, ids):
        """A dataset of int64 scalars to one of images, decoded in parallel."""
        with tf.init_scope(), tf.device("CPU:0"):
            names = tf.constant(self.names)

        def load(number):
            path = tf.strings.join([self.root, tf.gather(names, number)], os.sep)
            encoded = decodable(tf.io.read_file(path))
            image = decode_image(encoded, self.image_shape, resize=self.resize)
            return {"images": image, "ids": number}

        return ids.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
