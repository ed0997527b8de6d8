"""What is exported, read, checked and calibrated: before anything is written."""

import dataclasses
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tfembed.export.alikeness import describe_alikeness
from tfembed.export.encoder import ExportedEncoder
from tfembed.export.run_directory import (
    Gallery,
    Queries,
    make_gallery,
    make_queries,
    read_gallery,
    read_queries,
)
from tfembed.export.samples import encode_samples
from tfembed.export.threshold import Threshold, choose_threshold
from tfembed.ops.images import decode_image


@dataclasses.dataclass
class Prepared:
    """An encoder and a gallery that fit each other.

    Attributes:
        encoder: `ExportedEncoder`.
        gallery: `Gallery`, with its threshold.
        queries: `Queries`, or `None`.
        images: Encoded images that the export is tried with.
        threshold: `Threshold`.
        source: What the gallery is from, for the card.
        mean_cosine: Of two rows of the gallery, as `describe_alikeness` measures it.
        warnings: Sentences for the card.
    """

    encoder: ExportedEncoder
    gallery: Gallery
    queries: Optional[Queries]
    images: list
    threshold: Threshold
    source: str
    mean_cosine: Any
    warnings: list


def prepare(
    encoder,
    gallery,
    say,
    *,
    source,
    class_names,
    vote_k,
    queries,
    threshold,
    false_rejection,
    image_shape,
    resize,
    normalize,
    samples,
    silent,
):
    """Reads and checks what `tfembed.export.export` is given, by its names.

    Args:
        encoder: As of `export`, as most of the others.
        gallery: See there.
        say: Is called with a line of progress at a time.
        source: What the card says that the gallery is from; `None`: its path.
        class_names: See there.
        vote_k: See there.
        queries: See there.
        threshold: See there.
        false_rejection: See there.
        image_shape: See there.
        resize: See there.
        normalize: See there.
        samples: See there.
        silent: Whether nobody reads what `say` is told.

    Returns:
        `Prepared`.

    Raises:
        TypeError: If the encoder is no Keras model.
        ValueError: If the parts do not fit together.
    """
    source = source or _source(gallery)
    gallery = _as_gallery(gallery, class_names, normalize)
    if vote_k is not None:
        gallery = _with(gallery, vote_k=int(vote_k))
    queries = _as_queries(queries, gallery.dim, normalize)
    say(f"gallery of {gallery.size:,} images, {gallery.dim} dimensions")
    mean, warning = describe_alikeness(gallery, say, silent)
    encoder = ExportedEncoder(encoder, image_shape, normalize, resize)
    if encoder.dim != gallery.dim:
        raise ValueError(
            f"The encoder must give embeddings (batch, {gallery.dim}), as long as the "
            f"gallery's. Received: outputs (batch, {encoder.dim}). "
            "Embed the gallery with this encoder again."
        )
    images = encode_samples(samples, encoder.image_shape)
    encoder.check_unit(_decoded(images, encoder))
    say(
        f"loaded the encoder: images {encoder.image_shape}, {encoder.resize}, "
        f"{encoder.precision}"
    )
    chosen = choose_threshold(gallery, queries, threshold, false_rejection)
    say(_said_of(chosen))
    return Prepared(
        encoder,
        _with(gallery, known_threshold=chosen.value),
        queries,
        images,
        chosen,
        source,
        mean,
        [] if warning is None else [warning],
    )


def _as_gallery(gallery, class_names, normalize):
    if isinstance(gallery, (str, Path)):
        gallery = read_gallery(gallery, normalize, class_names)
    elif isinstance(gallery, Gallery):
        gallery = make_gallery(vars(gallery), normalize=normalize)
    elif hasattr(gallery, "keys"):
        gallery = make_gallery(gallery, "`gallery`", normalize, class_names)
    else:
        raise TypeError(
            "`gallery` must be a Gallery, the path of a .npz file, or a mapping of "
            f"`embeddings`, `labels` and `ids`. Received: {type(gallery).__name__}."
        )
    if class_names is not None:
        arrays = {**vars(gallery), "class_names": np.asarray(class_names, str)}
        gallery = make_gallery(arrays, "`class_names`")
    return gallery


def _as_queries(queries, dim, normalize):
    if queries is None:
        return None
    if isinstance(queries, (str, Path)):
        queries = read_queries(queries, normalize)
    elif not isinstance(queries, Queries):
        queries = make_queries(queries, normalize=normalize)
    if queries.embeddings.shape[1] != dim:
        raise ValueError(
            f"`queries` must be embeddings of {dim} numbers, as the gallery's. "
            f"Received: {queries.embeddings.shape[1]}."
        )
    return queries


def _source(gallery):
    return str(gallery) if isinstance(gallery, (str, Path)) else "arrays"


def _with(gallery, **changes):
    return Gallery(**{**vars(gallery), **changes})


def _decoded(encoded_images, encoder):
    try:
        return np.stack(
            [
                decode_image(each, encoder.image_shape, resize=encoder.resize)
                for each in encoded_images
            ]
        )
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            "`samples` must be JPEG, PNG, GIF or BMP images. Received: one that does "
            f"not decode: {error.message}"
        ) from error


def _said_of(chosen):
    if chosen.false_rejection is None:
        return f"threshold {chosen.value:.4g}: {chosen.calibrated_on}"
    return (
        f"threshold {chosen.value:.4g}: {chosen.calibrated_on}; it rejects "
        f"{100 * chosen.false_rejection:.2g} % of {chosen.queries:,} genuine queries"
    )
