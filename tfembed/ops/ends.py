"""Losses of positive pairs that look at the negatives of both ends."""

import tensorflow as tf

from tfembed.ops import replicas
from tfembed.ops.floats import widen
from tfembed.ops.labels import flat_labels
from tfembed.ops.pair_checks import check_pairs
from tfembed.ops.pairs import (
    References,
    Similarities,
    of_each_row,
    over_terms,
)


def over_both_ends(
    end,
    rows,
    labels,
    embeddings,
    ref_labels=None,
    ref_embeddings=None,
    *,
    row_chunk=None,
    **settings,
):
    """Computes a mean over positive pairs (i, j) of what is known of i and of j.

    Args:
        end: `end(pairs)` returns what a row's own negatives say, `(rows,)`. A
            reference's negatives are the rows of all replicas with other labels.
        rows: `rows(pairs, own, other)` returns sums and counts as for `over_terms`;
            `own` `(rows, 1)` is the row's `end`, `other` `(1, refs)` the reference's.
        labels: `labels, embeddings, ref_labels, ref_embeddings` as in `over_pairs`.
        embeddings: Likewise.
        ref_labels: Likewise.
        ref_embeddings: Likewise.
        row_chunk: As in `over_pairs`.
        **settings: Further keyword arguments of `over_pairs`.

    Returns:
        `(batch,)`, as `over_terms`.
    """
    batch = labels, embeddings, ref_labels, ref_embeddings
    settings["row_chunk"] = row_chunk
    others = []
    if ref_labels is not None or ref_embeddings is not None:
        _check(*batch)
        others = [of_each_row(end, *_swapped(*batch), **settings)]
    elif row_chunk is not None or replicas.in_replica():
        others = [of_each_row(end, *batch, **settings)]

    def both(pairs):
        own = end(pairs)
        other = tf.cast(pairs.ref_inputs[0], own.dtype) if pairs.ref_inputs else own
        return rows(pairs, own[:, None], other[None, :])

    return over_terms(both, *batch, ref_inputs=others, **settings)


def _check(labels, embeddings, ref_labels, ref_embeddings):
    given = isinstance(embeddings, Similarities)
    if isinstance(ref_embeddings, References):
        ref_embeddings = ref_embeddings.embeddings
    embeddings = embeddings.values if given else widen(embeddings)
    check_pairs(flat_labels(labels), embeddings, ref_labels, ref_embeddings, given)


def _swapped(labels, embeddings, ref_labels, ref_embeddings):
    """Returns the arguments of a loss whose anchors are the references."""
    labels = flat_labels(labels)
    if isinstance(ref_embeddings, References):
        ref_embeddings = ref_embeddings.embeddings
    if isinstance(embeddings, Similarities):
        return ref_labels, Similarities(tf.transpose(embeddings.values)), labels, None
    return ref_labels, ref_embeddings, *replicas.gather(labels, embeddings)
