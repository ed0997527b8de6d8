"""How a loss weighs every pair: its derivative with respect to their similarities."""

from __future__ import annotations

import inspect
from typing import Any

import tensorflow as tf

from tfembed.hints import Labels, Rows
from tfembed.ops.distances import inner_products
from tfembed.ops.floats import widen
from tfembed.ops.pairs import Similarities
from tfembed.ops.unit_rows import unit_rows


def pair_weights(
    loss: Any,
    labels: Labels,
    embeddings: Rows | Similarities,
    ref_labels: Labels | None = None,
    ref_embeddings: Rows | None = None,
) -> tf.Tensor:
    """Computes dL / dS of a loss, the signed weight of every pair.

        weights[i, j] = d mean{loss[a] : a in the batch} / d S[i, j]

    S[i, j] is the cosine similarity of row i, as anchor, and row j. Positive weights
    push a pair apart, negative ones pull it together. In terms of embeddings E of unit
    length, the loss's gradient is `(weights + weights^T) @ E`, without its part along
    each row.

    A loss that needs the embeddings themselves (cluster centres, joint histograms,
    ...) is differentiated with respect to these. If it only depends on their inner
    products, its gradient is `(W + W^T) @ E` for some symmetric W, and where the rows
    are linearly independent that W is the only one with a zero diagonal. It takes
    `batch <= dim`, and each pair's weight is shared evenly by (i, j) and (j, i). (Of
    `AffinityProjection`, which compares what the rows span, all weights are 0 there.)
    Losses that look at single numbers of an embedding (`Matryoshka`, `VICReg`) change
    when all rows are turned together: their weights are those of this orientation,
    and do not make up the whole gradient. Of `SNR` they are those of rows that are
    centred.

    >>> from tfembed.losses import Contrastive
    >>> labels = [0, 0, 1]
    >>> embeddings = [[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]
    >>> loss = Contrastive(margin=0.9, form="cosine")
    >>> print(pair_weights(loss, labels, embeddings).numpy().round(4))
    [[ 0.     -0.1667  0.    ]
     [-0.1667  0.      0.1667]
     [ 0.      0.1667  0.    ]]

    Args:
        loss: A loss of `tfembed.losses`, or another object with `per_row`.
        labels: `(batch,)`.
        embeddings: `(batch, dim)`, float, not all zero; normalised first, whatever
            the loss does. Or `tfembed.ops.pairs.Similarities`. For a loss on
            similarities to proxies, these: `(batch, proxies)`.
        ref_labels: `(refs,)`, with `ref_embeddings`.
        ref_embeddings: `(refs, dim)`: what the anchors are compared with instead of
            the batch.

    Returns:
        `(batch, batch)`, or `(batch, refs)`, or `(batch, proxies)`: float32 or
        float64. Pairs that the loss does not look at have weight 0.

    Raises:
        ValueError: If the loss needs embeddings, and there are more rows than
            dimensions, or references, or only similarities are given.

    Reference: Wang et al., 2019, equations 1 to 4 (https://arxiv.org/abs/1904.06627).
    """
    if on_proxies(loss):
        values = widen(embeddings)
        return _derivative(lambda values: loss.per_row(labels, values), values)
    references = {}  # type: dict[str, Any]
    if isinstance(embeddings, Similarities):
        values = embeddings.values
        if ref_labels is not None:
            references = {"ref_labels": ref_labels}
    else:
        anchors = unit_rows(widen(embeddings))
        refs = anchors
        if ref_embeddings is not None:
            references = {"ref_labels": ref_labels}
            refs = tf.cast(unit_rows(widen(ref_embeddings)), anchors.dtype)
        values = inner_products(anchors, refs)
    try:
        return _derivative(
            lambda values: loss.per_row(labels, Similarities(values), **references),
            values,
        )
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(embeddings, Similarities) or references:
            raise ValueError(
                f"`loss` must be one that similarities are enough for, or be given the "
                f"embeddings of a batch alone. Received: loss={loss!r}, which says: "
                f"{error}"
            ) from error
    return _from_embeddings(loss, labels, anchors)


def on_proxies(loss):
    """Tells whether a loss is one on similarities to proxies."""
    function = getattr(type(loss), "function", loss.per_row)
    return "similarities" in inspect.signature(function).parameters


def _derivative(per_row, values):
    values = tf.convert_to_tensor(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = tf.reduce_mean(per_row(values))
    return tape.gradient(
        loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )


def _from_embeddings(loss, labels, embeddings):
    """Solves `gradient = (W + W^T) @ embeddings` for W."""
    rows, dim = embeddings.shape
    if rows is None or dim is None or rows > dim:
        raise ValueError(
            "`embeddings` must have at least as many dimensions as rows for a loss "
            "that needs more than similarities: otherwise its weights are not unique. "
            f"Received: shape {tuple(embeddings.shape)}. Take fewer rows."
        )
    gradient = _derivative(lambda x: loss.per_row(labels, x), embeddings)
    wide = tf.cast(embeddings, tf.float64)
    both = tf.matmul(tf.cast(gradient, tf.float64), tf.linalg.pinv(wide))
    weights = (both + tf.transpose(both)) / 4
    weights = tf.linalg.set_diag(weights, tf.zeros(rows, tf.float64))
    return tf.cast(weights, embeddings.dtype)
