"""Embeddings into an index of TensorFlow Similarity."""

import numpy as np

from tfembed.interop.index_files import check_embeddings

__all__ = ["to_tensorflow_similarity"]


def to_tensorflow_similarity(embeddings, ids, labels=None, distance="cosine"):
    """Puts embeddings into a TensorFlow Similarity `Indexer`.

    Its lookups then give the id as `data` and the label as `label`; its calibration,
    its viewers and its matching work on embeddings that tfembed has trained.

    Args:
        embeddings: Float array `[n, d]`.
        ids: Strings `[n]`, each once.
        labels: Integers `[n]`; `None` or -1 where unknown.
        distance: A distance that TensorFlow Similarity knows by name.

    Returns:
        A `tensorflow_similarity.indexer.Indexer`, built, in memory; its own `save`
        writes it.

    Raises:
        ValueError: If an argument is wrong.
        ImportError: If TensorFlow Similarity is missing, or cannot work with this
            Keras.
    """
    Indexer = _indexer()
    ids = check_embeddings(embeddings, ids, "cosine")
    labels = np.full(len(ids), -1) if labels is None else np.asarray(labels)
    if labels.shape != ids.shape or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be integers, one for each of the {len(ids)} rows. "
            f"Received: {labels.dtype} of shape {labels.shape}."
        )
    indexer = Indexer(embedding_size=embeddings.shape[1], distance=distance)
    indexer.batch_add(
        np.asarray(embeddings, np.float32),
        labels=[int(label) if label >= 0 else None for label in labels],
        data=[str(each) for each in ids],
        verbose=0,
    )
    return indexer


def _indexer():
    try:
        from tensorflow_similarity.indexer import Indexer
    except ImportError as error:
        raise ImportError(
            "TensorFlow Similarity could not be imported "
            f"({(str(error).splitlines() or ['no reason given'])[0]}). Install it with "
            "`pip install 'tfembed[similarity]'`; from TensorFlow 2.16 on set "
            "TF_USE_LEGACY_KERAS=1 before Python starts."
        ) from error
    return Indexer
