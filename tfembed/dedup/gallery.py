"""What a person calls the embeddings: a folder of shards, a file, a run, an export."""

import dataclasses
import json
import os
from typing import Any, Optional

from tfembed.backbones import check_encoder
from tfembed.data import folder_of
from tfembed.dedup.pictures import FolderPictures, NoPictures
from tfembed.dedup.rows import Rows
from tfembed.formats.embeddings import read_embeddings
from tfembed.formats.version_folders import find_versions, is_one_version
from tfembed.registry import is_findable

__all__ = [
    "RESULT",
    "Gallery",
    "KnownEncoder",
    "check_encoder_of",
    "find_gallery",
    "is_images",
]

RESULT = "dedup.json"


@dataclasses.dataclass(frozen=True)
class KnownEncoder:
    """What is known of the encoder that embeddings are from.

    Attributes:
        name: A path or a backbone's name, as for `open_encoder`.
        sha256: Its digest, as `Encoder` has it; `None` if not known.
        options: Dictionary of `weights`, `pool`, `image_size`, `channels`.
        saved_model: Whether it is a version of an export, which embeds by itself.
        resize: How pictures were resized for it; `None` where it says so itself, or
            nobody does.
    """

    name: str
    sha256: Optional[str] = None
    options: dict = dataclasses.field(default_factory=dict)
    saved_model: bool = False
    resize: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Embeddings, and what is known of where they are from.

    Attributes:
        name: What the person called it.
        path: Where the embeddings are.
        rows: `Rows`.
        pictures: What `tfembed.dedup.pictures` has.
        encoder: `KnownEncoder`, or `None`.
        threshold: That of an earlier search, or `None`.
    """

    name: str
    path: str
    rows: Any
    pictures: Any
    encoder: Optional[KnownEncoder] = None
    threshold: Optional[float] = None


def is_images(source, encoder):
    """Tells whether a source is of images that are still to be embedded.

    An `npz:FILE` is of embeddings where no encoder is named, of images else.
    """
    kind, colon, _ = str(source).partition(":")
    if colon and kind == "npz":
        return encoder is not None
    from tfembed.data import SOURCES

    names = {name.partition(":")[0] for name in SOURCES}
    plain = {name for name in SOURCES if ":" not in name}
    if str(source) in plain:
        return not os.path.exists(str(source))
    return bool(colon) and (kind in names or is_findable(source))


def check_encoder_of(source, encoder, weights=None, pool=None):
    """Checks that images come with an encoder, and embeddings without; no TensorFlow.

    Args:
        source: As of `dedup_source`.
        encoder: Likewise.
        weights: Likewise.
        pool: Likewise.

    Raises:
        ValueError: If not, or there is no such encoder.
    """
    if is_images(source, encoder):
        if encoder is None:
            raise ValueError(
                "A source of images needs --encoder: a run directory, a saved Keras "
                "model, or a backbone's name with --weights. Received: "
                f"{str(source)!r} alone. Give it, or embeddings."
            )
        if isinstance(encoder, (str, os.PathLike)):
            check_encoder(encoder, weights, pool)
    elif encoder is not None:
        raise ValueError(
            "--encoder goes with a source of images, such as folder:PATH. "
            f"Received: --encoder {encoder!r} with {str(source)!r}. Leave it out, "
            f"or give folder:{source}."
        )


def find_gallery(source, images=None, folder=None):
    """Finds embeddings that are there.

    Args:
        source: An output of `tfembed.dedup` or `tfembed.embed`, an `.npz` (also
            `npz:FILE`) or `.parquet`, a run directory, or an export: the folder of its
            versions, or of one.
        images: Folder in which an id is the path of a picture; by default the one that
            was embedded, where that is known.
        folder: Where a nameless file may be made for what cannot be read by blocks.

    Returns:
        `Gallery`.

    Raises:
        ValueError: If there are no embeddings.
    """
    path = os.path.expanduser(os.fspath(source))
    if path.startswith("npz:"):
        path = os.path.expanduser(path[len("npz:") :])
    known = _result(path)
    if known is not None:
        inner = os.path.normpath(os.path.join(path, known["embeddings"]))
        found = find_gallery(inner, images or known.get("images"), folder)
        encoder = known.get("encoder")
        if encoder:  # before there was a choice, all were squashed
            encoder = KnownEncoder(**{"resize": "squash", **encoder})
        encoder = encoder or found.encoder
        return dataclasses.replace(
            found, name=str(source), encoder=encoder, threshold=known["threshold"]
        )
    if _is_export(path):
        rows, version = _of_export(path, str(source))
        encoder = KnownEncoder(version, saved_model=True, resize=_resize_of(version))
        return Gallery(str(source), path, rows, _pictures(images), encoder)
    if os.path.isfile(os.path.join(path, "embeddings", "manifest.json")):
        raise ValueError(
            "SOURCE must be an output of tfembed.dedup that is complete. Received: "
            f"{str(source)!r}, whose command has not finished. Start it again: it "
            "goes on where it stopped."
        )
    if os.path.isdir(path) and not _has_embeddings(path):
        raise ValueError(
            "SOURCE must be embeddings (what tfembed.embed or tfembed.dedup wrote, an "
            ".npz, a .parquet, a run, an export), or a source of images with "
            f"--encoder. Received: {str(source)!r}, a folder that is none of them. If "
            f"it has pictures, give folder:{source} and --encoder."
        )
    files = read_embeddings(path, text_labels=True)
    parts = ((part.embeddings, part.ids) for part in files)
    rows = Rows(parts, f"the embeddings of {str(source)!r}", folder)
    manifest = files.manifest or {}
    if images is None:
        images = _folder_of(manifest.get("source"))
    encoder = _encoder_of(path, manifest, files.resize)
    return Gallery(str(source), path, rows, _pictures(images), encoder)


def _result(path):
    """What an output of this command says of itself; `None` if it is none."""
    file = os.path.join(path, RESULT)
    if not os.path.isfile(file):
        return None
    try:
        with open(file, encoding="utf-8") as opened:
            known = json.load(opened)
        known["embeddings"], known["threshold"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file!r} must be what tfembed.dedup wrote, but reading it says: {error}. "
            "Start its command again, or give another folder."
        ) from error
    return known


def _has_embeddings(path):
    names = ("manifest.json", "gallery.npz", "config.json")
    return any(os.path.isfile(os.path.join(path, name)) for name in names)


def _is_export(path):
    if is_one_version(path):
        return True
    return os.path.isdir(path) and any(
        map(is_one_version, find_versions(path).values())
    )


def _of_export(path, name):
    from tfembed.export import read_served_gallery

    version = path
    if not is_one_version(path):
        version = list(find_versions(path).values())[-1]
    gallery = read_served_gallery(version)
    parts = [(gallery.embeddings, gallery.ids)]
    return Rows(parts, f"the gallery of {name!r}"), version


def _resize_of(version):
    """How an export resizes pictures; `None` where it has no card to say so."""
    from tfembed.export import read_card

    try:
        return read_card(version)["encoder"].get("resize", "squash")
    except (ValueError, KeyError):
        return None


def _folder_of(source):
    """The folder that was embedded, if it was one and is there."""
    folder = folder_of(source) if source else None
    return folder if folder is not None and os.path.isdir(folder) else None


def _pictures(images):
    return NoPictures() if images is None else FolderPictures(images)


def _encoder_of(path, manifest, resize):
    """The encoder of a run, or that a manifest names."""
    model = os.path.join(path, "model.keras")
    if os.path.isfile(model):
        return KnownEncoder(path)
    name = manifest.get("model")
    if not name or name == "a keras.Model":
        return None
    identity = manifest.get("identity") or {}
    return KnownEncoder(name, identity.get("model"), resize=resize)
