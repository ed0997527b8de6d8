"""Reads a run directory, as far as it is there, and says what is missing."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from tfembed.formats.format_version import FORMAT, RUN, check_format
from tfembed.formats.npz import Npz


@dataclasses.dataclass(frozen=True)
class Images:
    """Embedded images.

    Attributes:
        embeddings: float32 `(n, d)`.
        labels: int64 `(n,)`, -1 where unknown.
        ids: str `(n,)`.
        pictures: `{id: row of thumbnails}`; empty without thumbnails.
        thumbnails: uint8 `(m, height, width, channels)`, or None.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    pictures: dict
    thumbnails: np.ndarray

    @property
    def size(self):
        """Number of images."""
        return len(self.embeddings)

    @property
    def finite(self):
        """Whether every number of the embeddings is finite."""
        return bool(np.isfinite(self.embeddings).all())

    def picture(self, row):
        """Returns an image's thumbnail, None if there is none."""
        at = self.pictures.get(str(self.ids[row]))
        return None if at is None else self.thumbnails[at]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory as the report sees it.

    Attributes:
        path: The directory.
        name: What the report calls it.
        config: The settings of `config.json`, empty if missing.
        environment: `environment.json`, empty if missing.
        result: `result.json`, empty if missing: the run is not finished.
        log: Columns of `log.csv`, `{name: float array}`.
        rounds: Columns of `rounds.csv`.
        positives: `(offsets, indices)` of `positives.npz`, or None.
        gallery: `Images`, or None.
        queries: `Images`, or None: then the gallery searches itself.
        class_names: Names by label; those of labels beyond it are the numbers.
        vote_temperature: Temperature of the neighbours' vote.
        missing: Sentences on what is not there.
    """

    path: Path
    name: str
    config: dict
    environment: dict
    result: dict
    log: dict
    rounds: dict
    positives: tuple
    gallery: Images
    queries: Images
    class_names: list
    vote_temperature: float
    missing: list

    @property
    def unseen(self):
        """Whether the run was measured on classes that it was not trained on."""
        return self.result.get("protocol") == "unseen"

    @property
    def searchable(self):
        """Whether there is a gallery of finite embeddings to search in."""
        images = [each for each in (self.gallery, self.queries) if each is not None]
        return self.gallery is not None and all(each.finite for each in images)

    @property
    def judged(self):
        """The images that are looked up: the queries, or the gallery itself."""
        return self.gallery if self.queries is None else self.queries

    @property
    def labelled(self):
        """Whether right and wrong can be told apart."""
        return (
            self.gallery is not None
            and bool((self.gallery.labels >= 0).any())
            and bool((self.judged.labels >= 0).any())
        )

    def class_name(self, label):
        """Returns a label's name, `""` where the label is unknown."""
        if label < 0:
            return ""
        known = label < len(self.class_names)
        return str(self.class_names[label]) if known else str(label)


def read_runs(paths):
    """Reads run directories, and names them so that no two are called the same.

    Raises:
        ValueError: If one is not a run directory, or one of its files is broken.
    """
    paths = [Path(path) for path in paths]
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(
            f"`RUN` must name different run directories. Received: {', '.join(names)}."
        )
    return [read_run(path, name) for path, name in zip(paths, names)]


def read_run(path, name=None):
    """Reads one run directory.

    Args:
        path: The directory; has a `config.json` or a `gallery.npz` at least.
        name: What the report calls it; its last part by default.

    Returns:
        A `Run`.

    Raises:
        ValueError: If it is not a run directory, or one of its files is broken.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ValueError(
            "`RUN` must be a run directory, as a recipe writes it. "
            f"Received: {str(path)!r}, which {what}."
        )
    if not (path / "config.json").exists() and not (path / "gallery.npz").exists():
        raise ValueError(
            "`RUN` must be a run directory, with a `config.json` or a `gallery.npz`. "
            f"Received: {str(path)!r}, which has neither."
        )
    missing = []
    config = _json(path / "config.json", missing, "the settings are not known")
    check_format(config, RUN, str(path / "config.json"))
    config.pop(FORMAT, None)  # which is no setting
    result = _json(
        path / "result.json",
        missing,
        "the run is not finished; repeat its command to go on with it",
    )
    environment = _json(
        path / "environment.json", missing, "versions and command are not known"
    )
    if not (path / "log.csv").exists():
        missing.append("`log.csv` is missing: there are no learning curves.")
    content = _npz(path / "gallery.npz", ("embeddings", "labels", "ids"))
    gallery = queries = None
    if content is None:
        missing.append(
            "`gallery.npz` is missing: there are no neighbours, no map, and no health."
        )
    else:
        gallery = _images(path, "gallery.npz", content, "thumbnails.npz", missing)
        found = _npz(path / "queries.npz", ("embeddings", "labels", "ids"))
        if found is not None:
            queries = _images(
                path, "queries.npz", found, "query_thumbnails.npz", missing
            )
            if queries.embeddings.shape[1] != gallery.embeddings.shape[1]:
                raise ValueError(
                    f"{str(path / 'queries.npz')!r} must have embeddings as long as "
                    "the gallery's. Received: "
                    f"{queries.embeddings.shape[1]} and {gallery.embeddings.shape[1]}."
                )
        elif result.get("protocol") != "unseen":
            missing.append(
                "`queries.npz` is missing, the embeddings of the images held out: the "
                "images of the gallery are looked up among each other instead. The "
                "encoder was trained on them, which flatters it."
            )
    content = content or {}
    return Run(
        path=path,
        name=name or path.resolve().name,
        config=config,
        environment=environment,
        result=result,
        log=_csv(path / "log.csv"),
        rounds=_csv(path / "rounds.csv"),
        positives=_positives(path / "positives.npz", gallery, missing),
        gallery=gallery,
        queries=None if queries is None or not queries.size else queries,
        class_names=[str(each) for each in np.ravel(content.get("class_names", []))],
        vote_temperature=_temperature(path / "gallery.npz", content),
        missing=missing,
    )


def _temperature(path, content):
    found = np.asarray(content.get("vote_temperature", 0.07))
    if found.size != 1 or found.dtype.kind not in "iuf":
        raise ValueError(
            f"{str(path)!r} must hold `vote_temperature` as one number. Received: "
            f"{found.dtype} of shape {list(found.shape)}."
        )
    return float(found.reshape(-1)[0])


def _json(path, missing, consequence):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing.append(f"`{path.name}` is missing: {consequence}.")
        return {}
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{str(path)!r} must hold a JSON object. Received: {type(content)}."
        )
    return content


def _csv(path):
    """Returns `{column: float array}`; what is not a number is NaN."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return {}
    columns = {}
    for name in rows[0] if rows else []:
        if name is not None:
            columns[name] = np.array([_number(row[name]) for row in rows])
    return columns


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def _npz(path, required):
    """Returns the arrays of a file, None if it is not there."""
    if not os.path.lexists(path):
        return None
    with Npz(path) as archive:
        archive.require(*required)
        return {name: archive[name] for name in archive.names}


def _images(path, name, content, thumbnails, missing):
    embeddings = content["embeddings"]
    labels, ids = content["labels"].reshape(-1), content["ids"].reshape(-1)
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        raise ValueError(
            f"{str(path / name)!r} must hold `embeddings` as floats of shape [n, d]. "
            f"Received: {embeddings.dtype} of shape {list(embeddings.shape)}."
        )
    if labels.dtype.kind not in "iu" or ids.dtype.kind not in "SU":
        raise ValueError(
            f"{str(path / name)!r} must hold `labels` as integers, -1 where unknown, "
            f"and `ids` as strings. Received: {labels.dtype} and {ids.dtype}."
        )
    if not len(embeddings) == len(labels) == len(ids):
        raise ValueError(
            f"{str(path / name)!r} must have one label and one id for each row of "
            f"`embeddings`. Received: embeddings of shape {embeddings.shape}, "
            f"{len(labels)} labels, {len(ids)} ids."
        )
    embeddings, ids = embeddings.astype(np.float32), ids.astype(np.str_)
    pictures, images = {}, None
    found = _npz(path / thumbnails, ("images", "ids"))
    if found is not None:
        images, names = found["images"], found["ids"]
        right = images.ndim == 4 and images.dtype == np.uint8
        right = right and names.ndim == 1 and names.dtype.kind in "SU"
        if not right or len(images) < len(names):
            raise ValueError(
                f"{str(path / thumbnails)!r} must have `images` uint8 (size, height, "
                "width, channels), one for each of its `ids`. Received: "
                f"{images.dtype} {images.shape}, and {names.dtype} {names.shape}."
            )
        pictures = {str(each): row for row, each in enumerate(names)}
    else:
        missing.append(
            f"`{thumbnails}` is missing: the images of `{name}` are shown by their "
            "names. Recipes leave it out for folders and large data sets."
        )
    return Images(embeddings, labels.astype(np.int64), ids, pictures, images)


def _positives(path, gallery, missing):
    content = _npz(path, ("offsets", "indices"))
    if content is None or gallery is None:
        return None
    offsets, indices = content["offsets"].reshape(-1), content["indices"].reshape(-1)
    if offsets.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise ValueError(
            f"{str(path)!r} must hold `offsets` and `indices` as integers. Received: "
            f"{offsets.dtype} and {indices.dtype}."
        )
    if (
        len(offsets) != gallery.size + 1
        or not len(offsets)
        or offsets[-1] != len(indices)
    ):
        missing.append(
            f"`{path.name}` has sets of {len(offsets) - 1} images, and the gallery has "
            f"{gallery.size}: the sets are of other images and are not shown."
        )
        return None
    return offsets, indices
