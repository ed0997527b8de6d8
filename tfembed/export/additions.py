"""Rows that are to come into a gallery: from files of embeddings, or from images."""

import os
import stat
from pathlib import Path

import numpy as np

from tfembed.export.run_directory import check_unit_rows
from tfembed.formats.embeddings import read_embeddings
from tfembed.formats.folders import check_names, walk
from tfembed.formats.image_files import UnreadableImage, as_decodable, name_some
from tfembed.formats.npz import Npz
from tfembed.formats.text_columns import join_columns

IMAGES = "images:"
_BATCH = 64
_ROWS_AT_ONCE = 1 << 16
_LARGEST = 1 << 28


class Additions:
    """Rows to add, with their ids and labels in memory, their embeddings on disk.

    Attributes:
        name: Where they come from, for messages and the model card.
        ids: Strings `(n,)`, none empty and each one once.
        labels: int64 `(n,)`, -1 where unknown, or strings `(n,)`, empty where unknown.
        class_names: Tuple of strings, the names of integer labels; empty if they are
            the gallery's own numbers.
        dim: Length of an embedding.
        skipped: List of `(name, reason)` of images that were left out.
        metadata: Dictionary of a column's name to texts `(n,)`.
        resize: How pictures were resized for them; `None` if not known.
    """

    def __init__(
        self,
        name,
        ids,
        labels,
        class_names,
        dim,
        parts,
        skipped=(),
        normalize=False,
        metadata=None,
        resize=None,
    ):
        self.name, self.ids, self.labels = name, ids, labels
        self._normalize, self.resize = normalize, resize
        self.class_names, self.dim = tuple(class_names), dim
        self.skipped = list(skipped)
        self.metadata = metadata or {}
        self._parts = parts

    def parts(self):
        """Yields float arrays `(some, dim)`, all embeddings in order, some at a time.

        Rows are of length 1; where the model divides embeddings by their length, these
        are divided too.

        Raises:
            ValueError: If a row is not of length 1, or cannot be made so.
        """
        first = 0
        for part in self._parts():
            for start in range(0, len(part), _ROWS_AT_ONCE):
                rows = part[start : start + _ROWS_AT_ONCE]
                yield check_unit_rows(self.name, rows, first, self._normalize)
                first += len(rows)


def read_additions(
    source, embed=None, strict=False, say=lambda line: None, normalize=False
):
    """Reads what is to be added.

    Args:
        source: `.npz` (`embeddings`, `ids`, and `labels` as integers or strings;
            `class_names` for integers), `.parquet`, a folder that `tfembed.embed`
            wrote, a run directory; or `images:FOLDER`, a folder a class, whose ids are
            the paths below FOLDER.
        embed: For images: function of an array of `(n,)` encoded images to
            `(embeddings, valid)`.
        strict: Whether an image that does not decode is an error instead of being left
            out.
        say: Is called with lines of progress.
        normalize: Whether the model divides embeddings by their length; those of files
            then are too.

    Returns:
        `Additions`.

    Raises:
        ValueError: If it is none of these, or an id is missing, empty or repeated.
    """
    source = os.fspath(source)
    if source.startswith(IMAGES):
        found = _embed_folder(source, embed, strict, say)
    else:
        found = _read_files(source, normalize)
    _check_ids(found)
    return found


def _read_files(source, normalize):
    files = read_embeddings(source, text_labels=True)
    for path in files.paths:
        _require_ids(path)
    ids, labels, lengths, names = [], [], set(), list(files.class_names)
    columns = []
    for part in files:
        ids.append(np.asarray(part.ids))
        labels.append(part.labels)
        columns.append((part.metadata, len(part.ids)))
        if len(part.ids):
            lengths.add(part.embeddings.shape[1])
    if len(lengths) != 1:
        raise ValueError(
            f"{source!r} must hold embeddings of one length, at least one row. "
            f"Received: lengths {sorted(lengths)}. Embed all with one model."
        )
    wrong = [each.dtype for each in ids if each.dtype.kind != "U"]
    if wrong:
        raise ValueError(
            f"{source!r}: `ids` must be strings. Received: dtype {wrong[0]}. "
            "Write them as text."
        )
    kinds = {each.dtype.kind for each in labels}
    if len(kinds) > 1:
        raise ValueError(
            f"{source!r}: labels must be numbers in all files, or names in all. "
            "Received: both. Write them alike."
        )

    def parts():
        for part in files:
            yield part.embeddings

    ids, labels = np.concatenate(ids), np.concatenate(labels)
    return Additions(
        source,
        ids,
        labels,
        names,
        lengths.pop(),
        parts,
        normalize=normalize,
        metadata=join_columns(columns),
        resize=files.resize,
    )


def _require_ids(path):
    if not path.endswith(".npz"):
        return
    with Npz(path) as archive:
        names = archive.names
    if "ids" not in names:
        raise ValueError(
            f"{path!r} must hold `ids`, strings, by which its rows are added or "
            f"replaced. Received: {sorted(names)}. Add them."
        )


def _embed_folder(source, embed, strict, say):
    root = Path(source[len(IMAGES) :]).expanduser()
    if not root.is_dir():
        raise ValueError(
            "`images:FOLDER` must name a folder with a folder of images for each "
            f"class. Received: {source!r}, which is not a folder."
        )
    paths = sorted(Path(folder, name) for folder, names in walk(root) for name in names)
    if not paths:
        raise ValueError(
            "`images:FOLDER` must hold images, in a folder for each class. "
            f"Received: {source!r}, which holds no files."
        )
    check_names(
        (path.relative_to(root).as_posix() for path in paths),
        "`images:FOLDER` must hold files and folders whose names are UTF-8: they "
        f"become ids and labels. Received: {source!r}",
    )
    ids, labels, rows, skipped = [], [], [], []
    for start in range(0, len(paths), _BATCH):
        some = paths[start : start + _BATCH]
        encoded, reasons = zip(*map(_read_image, some))
        embeddings, valid = embed(np.array(encoded, object))
        for path, good, reason in zip(some, valid, reasons):
            below = path.relative_to(root)
            if good:
                ids.append(below.as_posix())
                labels.append(below.parts[0] if len(below.parts) > 1 else "")
            else:
                skipped.append((below.as_posix(), reason or "it does not decode"))
        if strict and skipped:
            raise ValueError(
                "Every file must be an image that decodes where `strict` is set. "
                f"Received: {str(root / skipped[0][0])!r}: {skipped[0][1]}. Repair or "
                "remove it, or do without `strict` to leave such files out."
            )
        rows.append(np.asarray(embeddings)[np.asarray(valid, bool)])
        if (start // _BATCH) % 50 == 49:
            say(f"embedded {start + len(some):,} of {len(paths):,} images")
    if not ids:
        raise ValueError(
            "`images:FOLDER` must hold images that decode. Received: "
            f"{source!r}, of whose {len(paths):,} files none does; the first, "
            f"{skipped[0][0]!r}: {skipped[0][1]}."
        )
    embeddings = np.concatenate(rows)
    said = f"embedded {len(ids):,} images of {root}"
    if skipped:
        said += f"; left out {len(skipped):,}: {name_some(name for name, _ in skipped)}"
        said += f" (the first: {skipped[0][1]})"
    say(said)
    ids, labels = np.array(ids, np.str_), np.array(labels, np.str_)
    dim = embeddings.shape[1]
    return Additions(source, ids, labels, (), dim, lambda: [embeddings], skipped)


def _read_image(path):
    """The bytes of a file, and what is wrong; it may have gone since it was listed."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", "it is not a file"
        if status.st_size > _LARGEST:
            return b"", "it is too large to be a picture"  # and is not even read
        data = path.read_bytes()
    except OSError as error:
        return b"", error.strerror or type(error).__name__
    try:
        return as_decodable(data, max_pixels=None), None
    except UnreadableImage as error:
        return data, str(error)


def _check_ids(additions):
    ids = additions.ids
    empty = np.flatnonzero(ids == "")
    if len(empty):
        raise ValueError(
            f"{additions.name!r}: ids must not be empty. "
            f"Received: an empty id in row {empty[0]}. Name the row."
        )
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ValueError(
            f"{additions.name!r} must hold each id once. "
            f"Received: {str(repeated[0])!r} more than once. Leave one of them."
        )
