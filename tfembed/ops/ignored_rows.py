"""A loss of the batch without the rows of one label."""

import tensorflow as tf

from tfembed.ops.floats import widen
from tfembed.ops.ignored_labels import kept_rows
from tfembed.ops.labels import one_column
from tfembed.ops.pair_checks import check_pairs
from tfembed.ops.pair_types import References, Similarities


def without_rows(
    loss, ignore_label, labels, embeddings, ref_labels=None, ref_embeddings=None
):
    """Computes a loss of the rows of other labels.

    Args:
        loss: A pure function of `tfembed.losses`, its hyperparameters given.
        ignore_label: The label of rows, and of references, that are left out.
        labels: As in that function.
        embeddings: Likewise.
        ref_labels: Likewise.
        ref_embeddings: Likewise.

    Returns:
        `(batch,)`: the function's value of what remains; 0 for a row left out.
    """
    kept = kept_rows(labels, ignore_label)
    closed = ref_labels is None and ref_embeddings is None
    given = isinstance(embeddings, Similarities)
    values = embeddings.values if given else widen(embeddings)
    refs = ref_embeddings
    refs = refs.embeddings if isinstance(refs, References) else refs
    check_pairs(one_column(labels), values, ref_labels, refs, given)
    remaining = tf.boolean_mask(values, kept)
    arguments = {}
    if not closed:
        kept_refs = kept_rows(ref_labels, ignore_label)
        ref_labels, ref_embeddings, columns = _kept_references(
            ref_labels, ref_embeddings, kept, kept_refs
        )
        arguments = {"ref_labels": ref_labels, "ref_embeddings": ref_embeddings}
    if given:
        columns = kept if closed else columns
        remaining = tf.boolean_mask(remaining, columns, axis=1)
        of = embeddings.of
        remaining = Similarities(
            remaining, None if of is None else tf.boolean_mask(of, kept)
        )
    losses = loss(tf.boolean_mask(one_column(labels), kept), remaining, **arguments)
    where = tf.cast(tf.where(kept), tf.int32)
    return tf.scatter_nd(where, losses, tf.shape(kept))


def _kept_references(ref_labels, ref_embeddings, kept, kept_refs):
    """Returns the references that remain, and which of them do."""
    if isinstance(ref_embeddings, References):
        present, own = ref_embeddings.present, ref_embeddings.own
        present = kept_refs if present is None else present & kept_refs
        own = None if own is None else tf.boolean_mask(own, kept)
        references = References(ref_embeddings.embeddings, present, own)
        return ref_labels, references, tf.ones_like(kept_refs)
    labels = tf.boolean_mask(one_column(ref_labels), kept_refs)
    if ref_embeddings is not None:
        ref_embeddings = tf.boolean_mask(
            tf.convert_to_tensor(ref_embeddings), kept_refs
        )
    return labels, ref_embeddings, kept_refs
