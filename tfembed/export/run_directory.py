"""Reads what a finished run leaves for the exporter: an encoder and a gallery."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path

import numpy as np

from tfembed.formats.format_version import RUN, check_format
from tfembed.formats.npz import read_npz
from tfembed.formats.shards import read_manifest_inside
from tfembed.formats.text_columns import check_columns, unpack_columns
from tfembed.hints import PathLike
from tfembed.ops.arguments import as_count

NEVER_UNKNOWN = -1e30  # the threshold of a gallery that was never calibrated
_MOST_VOTERS = 2**31 - 1
_UNIT_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The images that a search finds, as embeddings.

    Attributes:
        embeddings: float32 `(n, d)`, rows of unit length.
        labels: int64 `(n,)`, -1 where unknown.
        ids: str `(n,)`, each one once.
        class_names: str `(c,)`, the name of each label; never shorter than the
            labels need.
        known_threshold: A query whose best score is below it is not known.
        vote_temperature: Temperature of the weighted vote.
        vote_k: Number of neighbours that vote.
        metadata: What else is said of each image: dictionary of a column's name to an
            object array of `str`, `(n,)`, empty where unknown.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    class_names: np.ndarray
    known_threshold: float = NEVER_UNKNOWN
    vote_temperature: float = 0.07
    vote_k: int = 200
    metadata: dict = dataclasses.field(default_factory=dict)

    @property
    def size(self):
        """Number of rows."""
        return len(self.embeddings)

    @property
    def dim(self):
        """Length of an embedding."""
        return self.embeddings.shape[1]


@dataclasses.dataclass(frozen=True)
class Queries:
    """Embeddings of held-out images: of none that the gallery holds.

    Attributes:
        embeddings: float32 `(n, d)`, rows of unit length.
        labels: Integers or names `(n,)`, or `None`.
        source: Where they are from.
    """

    embeddings: np.ndarray
    labels: np.ndarray | None
    source: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory as the exporter sees it.

    Attributes:
        path: The directory.
        encoder_path: Its `model.keras`.
        gallery: Its `gallery.npz`, checked.
        queries: Its `queries.npz`, `None` if there is none.
        config: Its `config.json`, empty if there is none.
        result: Its `result.json`, empty if there is none.
    """

    path: Path
    encoder_path: Path
    gallery: Gallery
    queries: Queries | None
    config: dict
    result: dict

    def sample_images(self, count=8):
        """Returns up to `count` encoded images to try the export with, as bytes.

        They are the first of `queries/`; a run without that folder has none.
        """
        images = []
        for path in sorted((self.path / "queries").glob("*.png")):
            if len(images) == count:
                break
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                images.append(path.read_bytes())
        return images


def read_run(run_dir: PathLike, normalize: bool = False) -> Run:
    """Reads and checks a run directory, but for the encoder itself.

    `model.keras` and `gallery.npz` must be there. A directory that a recipe made
    (it has a `config.json`) must be finished as well (have a `result.json`).

    >>> import os, tempfile
    >>> from tfembed.export import read_run
    >>> encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     encoder.save(os.path.join(folder, "model.keras"))
    ...     rows = {"embeddings": np.eye(16), "labels": [0] * 16}
    ...     rows["ids"] = [str(row) for row in range(16)]
    ...     np.savez(os.path.join(folder, "gallery.npz"), **rows)
    ...     read_run(folder).gallery.size
    16

    Args:
        run_dir: The directory.
        normalize: Divides each embedding by its length.

    Returns:
        A `Run`.

    Raises:
        ValueError: If the directory or one of its files is missing, or the gallery
            is not one.
    """
    path = Path(run_dir)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ValueError(
            "`run_dir` must be a run directory, with `model.keras` and `gallery.npz`. "
            f"Received: run_dir={str(path)!r}, which {what}. "
            "Train one with `python -m tfembed.recipes.instdisc --run-dir RUN_DIR`."
        )
    config = read_json(path / "config.json")
    check_format(config, RUN, str(path / "config.json"))
    needed = ["model.keras", "gallery.npz"] + (["result.json"] if config else [])
    missing = [name for name in needed if not (path / name).is_file()]
    if missing and config:
        raise ValueError(
            "`run_dir` must be a finished run. "
            f"Received: run_dir={str(path)!r}, without {' and '.join(missing)}. "
            "Start its command again: it resumes where it stopped."
        )
    if missing:
        raise ValueError(
            "`run_dir` must hold `model.keras` and `gallery.npz`. "
            f"Received: run_dir={str(path)!r}, without {' and '.join(missing)}. "
            "Give the directory that a recipe wrote."
        )
    gallery = read_gallery(path / "gallery.npz", normalize)
    queries = None
    if (path / "queries.npz").is_file():
        queries = read_queries(path / "queries.npz", normalize)
        if queries.embeddings.shape[1] != gallery.dim:
            raise ValueError(
                f"{path}: queries.npz and gallery.npz must have rows of one length. "
                f"Received: of {queries.embeddings.shape[1]} and {gallery.dim} numbers."
            )
    result = read_json(path / "result.json")
    return Run(path, path / "model.keras", gallery, queries, config, result)


def read_gallery(path, normalize=False, class_names=None):
    """Reads and checks a `gallery.npz`.

    It needs `embeddings`, `labels` and `ids`; what else it may hold is optional, with
    the defaults of `Gallery`. Labels are integers, -1 where unknown, or names, empty
    where unknown; integers without class names are named by their number.

    Args:
        path: The file.
        normalize: Divides each row by its length.
        class_names: Names of the labels, in place of the file's.

    Returns:
        A `Gallery`.

    Raises:
        ValueError: If the file is not a gallery; the message says what is wrong.
    """
    arrays = read_npz(path)
    read_manifest_inside(str(path))  # refuses a newer format
    return make_gallery(arrays, str(path), normalize, class_names)


def make_gallery(arrays, source="`gallery`", normalize=False, class_names=None):
    """Checks the arrays of a gallery.

    Args:
        arrays: Mapping of names to arrays, as in a `gallery.npz`.
        source: What to call it in an error.
        normalize: Divides each row by its length.
        class_names: Names of the labels, in place of the file's.

    Returns:
        A `Gallery`; without a copy of the embeddings if they are float32 already and
        need not be divided.

    Raises:
        ValueError: If they are no gallery; the message says what is wrong.
    """
    missing = [name for name in ("embeddings", "labels", "ids") if name not in arrays]
    if missing:
        raise ValueError(
            f"{source} must hold `embeddings`, `labels` and `ids`. "
            f"Received: {sorted(arrays)}. Add {', '.join(missing)}."
        )
    embeddings, labels, ids = (
        np.asarray(arrays[name]) for name in ("embeddings", "labels", "ids")
    )
    embeddings = check_unit_rows(source, embeddings, normalize=normalize)
    names = arrays.get("class_names")
    names = np.asarray(class_names, str) if class_names is not None else names
    if labels.dtype.kind in "OU" and labels.shape == (len(embeddings),):
        labels, names = number_labels(source, labels, names)
    _check_labels(source, labels, len(embeddings))
    _check_ids(source, ids, len(embeddings))
    vote = {
        "known_threshold": float(
            _number(source, arrays, "known_threshold", NEVER_UNKNOWN)
        ),
        "vote_temperature": float(_number(source, arrays, "vote_temperature", 0.07)),
        "vote_k": int(_number(source, arrays, "vote_k", 200)),
    }
    if not vote["vote_temperature"] > 0 or vote["vote_k"] < 1:
        raise ValueError(
            f"{source}: `vote_temperature` must be positive and `vote_k` at least 1. "
            f"Received: vote_temperature={vote['vote_temperature']}, "
            f"vote_k={vote['vote_k']}."
        )
    if np.isnan(vote["known_threshold"]):
        raise ValueError(
            f"{source}: `known_threshold` must be a number. Received: nan."
        )
    return Gallery(
        embeddings=embeddings,
        labels=labels.astype(np.int64),
        ids=ids,
        class_names=_class_names(source, names, labels),
        metadata=_metadata(source, arrays, len(embeddings)),
        **vote,
    )


def _metadata(source, arrays, size):
    columns = arrays.get("metadata")
    if columns is None or isinstance(columns, np.ndarray):  # of a file: another's
        return unpack_columns(arrays, size, source)
    return check_columns(columns, size, source)


def _number(source, arrays, name, default):
    found = np.asarray(arrays.get(name, default))
    if found.size != 1 or found.dtype.kind not in "iuf":
        raise ValueError(
            f"{source}: `{name}` must be one number. Received: {found.dtype} of shape "
            f"{found.shape}."
        )
    return found.reshape(-1)[0]


def number_labels(source, labels, class_names=None):
    """Numbers labels that are names.

    Args:
        source: What to call them in an error.
        labels: Text `(n,)`, empty where unknown.
        class_names: Text `(c,)`, what the numbers are of; `None`: the names that
            occur, sorted.

    Returns:
        `(numbers, class names)`: int64 `(n,)`, -1 where unknown, and text `(c,)`.

    Raises:
        ValueError: If a label is no text, or is none of the class names.
    """
    strange = [each for each in labels if not isinstance(each, str)]
    if strange:
        raise ValueError(
            f"{source}: `labels` must be integers, or all of them names, empty where "
            f"unknown. Received: {strange[0]!r} of type {type(strange[0]).__name__}."
        )
    labels = labels.astype(str)
    if class_names is None or not len(class_names):
        class_names = np.unique(labels[labels != ""])
    number_of = {"": -1}
    for number, name in enumerate(np.asarray(class_names).tolist()):
        number_of.setdefault(name, number)
    unknown = sorted(set(labels.tolist()) - set(number_of))
    if unknown:
        raise ValueError(
            f"{source}: each label must be one of `class_names`, or empty. "
            f"Received: {unknown[0]!r}, which is not. Add it, or leave `class_names` "
            "out."
        )
    numbers = np.array([number_of[each] for each in labels.tolist()], np.int64)
    return numbers, np.asarray(class_names, str)


def check_vote_k(vote_k):
    """Returns the number of neighbours that vote, an integer from 1; `None` stays.

    Raises:
        ValueError: If it is none.
    """
    return None if vote_k is None else as_count("vote_k", vote_k, 1, _MOST_VOTERS)


def read_queries(path, normalize=False):
    """Reads held-out queries, such as a run's `queries.npz`.

    Args:
        path: A `.npz` file with `embeddings`, and `labels` if they are known.
        normalize: Divides each row by its length.

    Returns:
        `Queries`.

    Raises:
        ValueError: If the file holds none.
    """
    arrays = read_npz(path)
    read_manifest_inside(str(path))  # refuses a newer format
    return make_queries(arrays, str(path), normalize)


def make_queries(arrays, source="`queries`", normalize=False):
    """Checks held-out queries.

    Args:
        arrays: Mapping with `embeddings`, and `labels` if they are known, or only
            the embeddings.
        source: What to call them in an error, and on the model card.
        normalize: Divides each row by its length.

    Returns:
        `Queries`.

    Raises:
        ValueError: If they are none.
    """
    if not hasattr(arrays, "keys"):
        arrays = {"embeddings": np.asarray(arrays)}
    if "embeddings" not in arrays:
        raise ValueError(
            f"{source} must hold `embeddings`. Received: {sorted(arrays)}."
        )
    embeddings = check_unit_rows(
        source, np.asarray(arrays["embeddings"]), normalize=normalize
    )
    labels = arrays.get("labels")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.dtype.kind not in "OU" or labels.shape != (len(embeddings),):
            _check_labels(source, labels, len(embeddings))
    return Queries(embeddings, labels, source)


def read_json(path):
    """Returns the dictionary in a JSON file; an empty one if there is none.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, but it says: {error}.") from error
    return config if isinstance(config, dict) else {}


def check_unit_rows(source, embeddings, first=0, normalize=False):
    """Checks that rows are finite and of length 1, or makes them so.

    Args:
        source: What to call them in an error.
        embeddings: Float array `(n, d)`.
        first: Number of the first row, for an error.
        normalize: Divides each row by its length.

    Returns:
        The rows as float32; without a copy if they are that already and need not be
        divided.

    Raises:
        ValueError: Naming the first row that is wrong.
    """
    if embeddings.ndim != 2 or not len(embeddings) or embeddings.dtype.kind != "f":
        raise ValueError(
            f"{source}: `embeddings` must be a float array (n, d) with at least one "
            f"row. Received: shape {embeddings.shape}, dtype {embeddings.dtype}."
        )
    convert = np.array if normalize else np.ascontiguousarray
    embeddings = convert(embeddings, np.float32)
    chunk = 1 << 16  # norms of a few rows at a time: no second copy of the gallery
    for start in range(0, len(embeddings), chunk):
        part = embeddings[start : start + chunk]
        norms = np.sqrt(np.einsum("ij,ij->i", part, part))
        if normalize:
            right = (norms > 0) & np.isfinite(norms)
        else:
            right = np.abs(norms - 1) < _UNIT_TOLERANCE
        wrong = np.flatnonzero(~right)
        if len(wrong):
            what, advice = "of length 1", "Divide each row by its norm"
            if normalize:
                what, advice = "that are not zero", "Leave the row out"
            raise ValueError(
                f"{source}: `embeddings` must be finite rows {what}, because scores "
                f"are cosines. Received: row {first + start + wrong[0]} of length "
                f"{norms[wrong[0]]:.4g}. {advice}."
            )
        if normalize:
            part /= norms[:, None]
    return embeddings


def _check_labels(path, labels, size):
    if labels.shape != (size,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: `labels` must be integers or names, one for each of the {size} "
            "rows. "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )


def _check_ids(path, ids, size):
    if ids.shape != (size,) or ids.dtype.kind != "U":
        raise ValueError(
            f"{path}: `ids` must be strings, one for each of the {size} rows. "
            f"Received: shape {ids.shape}, dtype {ids.dtype}."
        )
    empty = np.flatnonzero(ids == "")
    if len(empty):
        raise ValueError(
            f"{path}: `ids` must not be empty, because requests pad their lists of ids "
            f"with empty strings. Received: an empty id in row {empty[0]}. Name it."
        )
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ValueError(
            f"{path}: each id must stand in the gallery once. "
            f"Received: {str(repeated[0])!r} more than once. Leave one of them."
        )


def _class_names(path, names, labels):
    count = int(labels.max()) + 1
    if names is None or not len(names):
        return np.array([str(label) for label in range(count)], dtype=str)
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < count:
        raise ValueError(
            f"{path}: `class_names` must be strings, one for each label. "
            f"Received: {len(names)} names of dtype {names.dtype} for labels up to "
            f"{count - 1}."
        )
    return names
