"""Refuses arguments of a pair loss that do not fit together."""

import tensorflow as tf

from tfembed.ops import replicas
from tfembed.ops.arguments import check_count
from tfembed.ops.labels import flat_labels


def check_pairs(
    labels, embeddings, ref_labels=None, ref_embeddings=None, given=False, chunk=None
):
    """Refuses arguments of a pair loss that do not fit together."""
    shape = embeddings.shape
    if shape.rank != 2:
        raise ValueError(
            "`embeddings` must have the shape `(batch, dim)`. "
            f"Received: shape {tuple(shape)}."
        )
    _check_lengths("labels", labels.shape, "embeddings", shape)
    if (ref_labels is None) != (ref_embeddings is None) and not given:
        raise ValueError(
            "`ref_labels` and `ref_embeddings` come together, or not at all. Received: "
            f"{'ref_embeddings' if ref_labels is None else 'ref_labels'} alone."
        )
    if given and ref_labels is None and replicas.in_replica():
        raise ValueError(
            "`Similarities` of a batch in itself must stand in one place. Received: "
            "`Similarities` on one of several replicas. Give embeddings, or "
            "similarities to references with `ref_labels`."
        )
    if ref_embeddings is not None:
        refs = tf.convert_to_tensor(ref_embeddings).shape
        if refs.rank != 2 or not refs[1:].is_compatible_with(shape[1:]):
            raise ValueError(
                "`ref_embeddings` must have the shape `(refs, dim)`, dim as in "
                f"`embeddings`. Received: shapes {tuple(refs)} and {tuple(shape)}."
            )
        _check_lengths(
            "ref_labels", flat_labels(ref_labels).shape, "ref_embeddings", refs
        )
    if chunk is not None:  # for the whole batch at once
        check_count(row_chunk=chunk)


def _check_lengths(name, shape, other, other_shape):
    if not shape[:1].is_compatible_with(other_shape[:1]):
        raise ValueError(
            f"`{name}` and `{other}` must have equally many rows. "
            f"Received: {shape[0]} and {other_shape[0]}."
        )


def closed_batch(loss, ref_labels, ref_embeddings):
    """Refuses references for a loss of a closed set.

    Raises:
        ValueError: If references are given.
    """
    if ref_labels is not None or ref_embeddings is not None:
        raise ValueError(
            f"`{loss}` compares the rows of a batch with each other, and takes no "
            "references. Received: `ref_labels` or `ref_embeddings`. Leave them out, "
            "or choose a loss of pairs or triplets."
        )
