"""New pictures asked against embeddings that are there: which are near duplicates."""

import os
import pathlib

import numpy as np

from tfembed.formats.image_files import UnreadableImage, as_decodable
from tfembed.formats.run_config import agreed_resize

__all__ = ["ask_gallery", "open_asking"]

BLOCK = 1 << 14
_PICTURES_AT_ONCE = 32


def ask_gallery(paths, gallery, threshold, embed, block=BLOCK):
    """Finds the rows of a gallery that are near duplicates of pictures.

    Args:
        paths: Files of pictures.
        gallery: `tfembed.dedup.gallery.Gallery`.
        threshold: The lowest cosine.
        embed: Function of a list of encoded images to float `[b, d]` and bool `[b]`:
            whether each could be read; see `open_asking`.
        block: Rows of the gallery in memory at a time.

    Returns:
        A list with, for each picture, a list of `(id, cosine)`, the most alike first,
        equal ones in the gallery's order; `None` for one that cannot be read.

    Raises:
        ValueError: If the encoder's embeddings are of another length than the
            gallery's.
    """
    rows, found = gallery.rows, []
    for start in range(0, len(paths), _PICTURES_AT_ONCE):
        some = paths[start : start + _PICTURES_AT_ONCE]
        read = [_encoded(path) for path in some]
        there = [data for data in read if data is not None]
        queries, valid = np.zeros((0, rows.dim), np.float32), np.zeros(0, bool)
        if there:
            queries, valid = embed(there)
        if queries.shape[1] != rows.dim:
            raise ValueError(
                "The encoder must be the one that the gallery is of. Received: one "
                f"whose embeddings have {queries.shape[1]} numbers, and a gallery of "
                f"{rows.dim}. Give the right one with --encoder."
            )
        hits = _search(_unit(queries), rows, threshold, block)
        answers = iter([hit if good else None for hit, good in zip(hits, valid)])
        found += [None if data is None else next(answers) for data in read]
    return found


def _search(queries, rows, threshold, block):
    """Returns for each query its `(id, cosine)`."""
    hits = [[] for _ in queries]
    if not len(queries):
        return hits
    for start in range(0, rows.size, block):
        stop = min(start + block, rows.size)
        scores = np.clip(queries @ rows.block(start, stop).T, -1, 1)
        for query, row in zip(*np.nonzero(scores >= np.float32(threshold))):
            hits[query].append((start + int(row), float(scores[query, row])))
    for hit in hits:
        hit.sort(key=lambda pair: (-pair[1], pair[0]))
    names = [rows.ids([row for row, _ in hit]) for hit in hits]
    return [
        [(name, score) for name, (_, score) in zip(named, hit)]
        for named, hit in zip(names, hits)
    ]


def _encoded(path):
    """The bytes of a picture as the graph decodes them; `None` if it is none."""
    try:
        return as_decodable(pathlib.Path(path).read_bytes())
    except (OSError, UnreadableImage):
        return None


def _unit(values):
    values = np.asarray(values, np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", values, values))
    return values / np.where(length > 0, length, 1)[:, None]


def open_asking(known, name=None, options=None):
    """Opens the encoder that embeddings are from.

    Args:
        known: `tfembed.dedup.gallery.KnownEncoder` of the gallery, or `None`.
        name: A run, a saved model or a backbone's name to take instead.
        options: Dictionary of `weights`, `pool`, `image_size` and `channels` that goes
            with `name`, and of `resize`, which must be the gallery's.

    Returns:
        Function of a list of encoded images (bytes) to embeddings, float `[b, d]`, and
        bool `[b]`, whether each could be decoded.

    Raises:
        ValueError: If there is no such encoder, or it is not that of the gallery.
    """
    if name is None and known is None:
        raise ValueError(
            "The gallery must say which encoder it is of, or --encoder must. Received: "
            "neither. Give the run, the saved model or the backbone with --encoder."
        )
    options = dict(options or {})
    resize = options.pop("resize", None)
    if known is not None:
        resize = agreed_resize(resize, known.resize, "the gallery")
    if name is None and known.saved_model:
        return _of_saved_model(known.name)
    if name is None:
        name, options = known.name, known.options
        if not options and not os.path.exists(name):
            raise ValueError(
                "The encoder of the gallery must be there, or be named by --encoder. "
                f"Received: a gallery of {name!r}. Give --encoder, and --weights with "
                "a backbone's name."
            )
    from tfembed.backbones import open_encoder

    encoder = open_encoder(name, **options, resize=resize)
    if known is not None and known.sha256 not in (None, encoder.sha256):
        raise ValueError(
            "The encoder must be the one that the gallery is of. Received: "
            f"{name!r}, whose digest is {encoder.sha256[:12]}, and a gallery of "
            f"{known.name!r}, {known.sha256[:12]}. Give the right one with --encoder."
        )
    return _of_encoder(encoder)


def _of_encoder(encoder):
    import tensorflow as tf

    from tfembed.ops.images import decode_image

    shape, resize = encoder.image_shape, encoder.resize or "squash"

    def embed(encoded):
        pixels = []
        for data in encoded:
            try:
                with tf.device("CPU:0"):
                    pixels.append(decode_image(data, shape, resize=resize).numpy())
            except tf.errors.OpError:
                pixels.append(None)
        valid = np.array([each is not None for each in pixels], bool)
        values = np.zeros((len(encoded), encoder.dim), np.float32)
        if valid.any():
            values[valid] = encoder(np.stack([p for p in pixels if p is not None]))
        return values, valid & np.isfinite(values).all(axis=1)

    return embed


def _of_saved_model(path):
    import tensorflow as tf

    model = tf.saved_model.load(path)
    signature = model.signatures["embed_bytes"]

    def embed(encoded):
        answer = signature(image_bytes=tf.constant(encoded))
        answer = {name: value.numpy() for name, value in answer.items()}
        return answer["embeddings"], answer["valid"]

    embed.model = model  # its variables live as long as it does
    return embed
